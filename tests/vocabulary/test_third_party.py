"""Vocabularies of others through the whole way: prepare, train, distill, translate on both engines."""

from __future__ import annotations

import re
from pathlib import Path

import foreign
import pytest
import torch

from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.options import DecodingOptions, DistillOptions, PrepareOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.runtime.engines import load_engine
from seqdistill.verbs.distill import distill
from seqdistill.verbs.prepare import prepare
from seqdistill.verbs.train import train
from seqdistill.vocabulary.vocabularies import taken_from

SMALL = {"dim": 32, "ffn_dim": 48, "heads": 4, "encoder_layers": 1, "decoder_layers": 2}
LANGUAGES = {"nllb": ("eng_Latn", "deu_Latn")}
FOLDERS = {"marian": foreign.marian_folder, "nllb": foreign.nllb_folder, "gpt": foreign.gpt_folder}
LINES = [source for source, _ in foreign.pairs(30, seed=9)] + [""]


@pytest.mark.parametrize("kind", FOLDERS)
def test_prepare_train_distill_translate(kind: str, tmp_path: Path) -> None:
    for number, side in enumerate(("source", "target")):
        text = "\n".join(pair[number] for pair in foreign.pairs(120))
        (tmp_path / side).write_text(text + "\n", encoding="utf-8")
    languages = dict(zip(("from_language", "to_language"), LANGUAGES.get(kind, ("", "")), strict=True))
    text = {"source": tmp_path / "source", "target": tmp_path / "target", "keep_duplicates": True, "valid_size": 5}
    data, teacher = tmp_path / "data", tmp_path / "teacher"
    folder = FOLDERS[kind](tmp_path / "folder")
    prepare(PrepareOptions(tokenizer_from=folder, **text, **languages), data, Silent())
    brief = {"max_updates": 6, "validate_every": 6, "batch_tokens": 256, "metric": "loss", "precision": "float32"}
    train(TrainOptions(data=data, model="transformer", set=SMALL, **brief), teacher, Silent())
    distilled = tmp_path / "distilled"
    distill(DistillOptions(teacher=teacher, data=data, beam=2, max_length=8), distilled, Silent())
    student = tmp_path / "student"
    train(TrainOptions(data=distilled, model="cmlm", set=SMALL, **brief), student, Silent())
    loaded = load_model(student)
    ids, size = loaded.model.target_ids, len(loaded.tokenizers.target)
    assert loaded.config.target_vocab == size + (kind != "nllb") and ids.mask is not None
    options = DecodingOptions(beam=1, max_length=8)
    written = load_engine("torch", student).decode(LINES, options)
    assert all("<" not in found.text for (found,) in written)
    engines = [load_engine("torch", teacher), load_engine("ctranslate2", teacher, compute_type="float32", workers=1)]
    one, other = (engine.decode(LINES, options) for engine in engines)
    assert [found[0].text for found in one] == [found[0].text for found in other]


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("length_penalty", [0.7, 1.0])
def test_engines_agree_with_bias_and_scale(kind: str, length_penalty: float, tmp_path: Path) -> None:
    """Random weights, whose outputs vary; forced codes count for nothing in either engine's scores."""
    source, target = LANGUAGES.get(kind, ("", ""))
    taken = taken_from(FOLDERS[kind](tmp_path / "folder"), source_language=source, target_language=target)
    torch.manual_seed(3)
    model = create_model("transformer", taken, **SMALL, output_bias=True, output_scale=0.7).eval()
    torch.nn.init.normal_(model.get_parameter("output.bias"))
    save_model(model, taken, tmp_path / "model")
    options = DecodingOptions(beam=1, max_length=12, length_penalty=length_penalty)
    ours = load_engine("torch", tmp_path / "model").decode(LINES, options)
    theirs = load_engine("ctranslate2", tmp_path / "model", compute_type="float32", workers=1).decode(LINES, options)
    assert [found[0].text for found in ours] == [found[0].text for found in theirs]
    for (one,), (other,) in zip(ours, theirs, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-3)
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_no_constants_outside() -> None:
    """Special ids come from a vocabulary object: no module but those in vocabulary/ imports one by name."""
    package = Path(__file__).parents[2] / "src" / "seqdistill"
    constant = re.compile(r"^from seqdistill\.vocabulary\S* import .*\b(PAD|BOS|EOS|UNK|MASK)\b", re.MULTILINE)
    modules = [path for path in package.rglob("*.py") if path.parent.name != "vocabulary"]
    assert len(modules) > 100
    assert not [path.name for path in modules if constant.search(path.read_text(encoding="utf-8"))]
