"""What `export` refuses, what it proves, and the table of every line it leaves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import sacrebleu
import torch
from native.compiled import engine_sets

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.exported import exported_for
from seqdistill.files import sha256_file
from seqdistill.manifest import fingerprint, recorded
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.native.student import Student
from seqdistill.options import DecodingOptions, ExportOptions, TrainOptions, TranslateOptions
from seqdistill.progress import Silent
from seqdistill.runtime.deployed import disk_mb
from seqdistill.runtime.engines import create_engine
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.runtime.exporting import verification
from seqdistill.runtime.exporting.verification import Text, verified
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair

WORDS = ["a", "dog", "runs", "on", "and", "cat", "sees", "red", "trees"]
SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
GREEDY = DecodingOptions(beam=1)


def pairs(count: int, seed: int) -> list[SentencePair]:
    draw = random.Random(seed)
    lines = [draw.choices(WORDS, k=draw.randint(2, 6)) for _ in range(count)]
    return [SentencePair(" ".join(line), " ".join(word[::-1] for word in line)) for line in lines]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory and models with random weights."""
    engine_sets()
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", pairs(20, seed=2))
    train = ParallelCorpus.from_pairs("train", pairs(200, seed=1))
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=50)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    (folder / "s").write_text("a dog\n")
    for name in ("transformer", "nat"):
        torch.manual_seed(1)
        model = create_model(name, tokenizers, **SIZES)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn(parameter.shape)
        save_model(model, tokenizers, folder / name)
    return folder


def export(world: Path, out: Path, **options: Any) -> dict[str, Any]:
    settings = ExportOptions(**{"model": world / "transformer", **options})
    return run_stage("export", settings, out, Silent(), title="export").results


def valid_lines(world: Path) -> list[str]:
    data = DataDirectory.open(world / "data").valid
    assert data is not None
    return list(data.sources())


def test_each_line_with_its_scores_is_left_beside_the_export(world: Path, tmp_path: Path) -> None:
    """Against sacreBLEU; the loader and the stage's fingerprint do not mind it."""
    found = export(world, tmp_path / "out", shortlist=world / "data")["verified"]
    rows = [line.split("\t") for line in (tmp_path / "out" / "verified.tsv").read_text().splitlines()]
    systems = ["torch", "int8", "int8 with shortlist"]
    assert rows[0] == ["line", "source", *(f"{name}{end}" for name in systems for end in ("", " bleu", " chrf"))]
    lines = valid_lines(world)
    references = [" ".join(word[::-1] for word in line.split()) for line in lines]
    assert [row[:2] for row in rows[1:]] == [[str(number), line] for number, line in enumerate(lines, 1)]
    loaded = load_model(world / "transformer")
    written = {
        "torch": [row[0].text for row in create_engine("torch", loaded).decode(lines, GREEDY)],
        "int8": Student(tmp_path / "out", shortlist=False).translate(lines, beam=1),
        "int8 with shortlist": Student(tmp_path / "out").translate(lines, beam=1),
    }
    bleu, chrf = sacrebleu.BLEU(effective_order=True), sacrebleu.CHRF()
    for number, name in enumerate(systems):
        cells = [row[2 + 3 * number : 5 + 3 * number] for row in rows[1:]]
        assert [row[0] for row in cells] == written[name]
        for row, reference in zip(cells, references, strict=True):
            assert float(row[1]) == pytest.approx(bleu.sentence_score(row[0], [reference]).score, abs=0.006)
            assert float(row[2]) == pytest.approx(chrf.sentence_score(row[0], [reference]).score, abs=0.006)
    assert found["lines"] == len(lines)
    manifest = recorded(tmp_path / "out")
    assert manifest["others"] == {"verified.tsv": sha256_file(tmp_path / "out" / "verified.tsv")}
    before, size = fingerprint(tmp_path / "out"), disk_mb(tmp_path / "out")
    (tmp_path / "out" / "verified.tsv").unlink()
    assert fingerprint(tmp_path / "out") == before and disk_mb(tmp_path / "out") == size


@pytest.mark.parametrize("name", ["transformer", "nat"])
def test_an_export_that_writes_something_else_is_no_export(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In float32; an engine that writes the words backwards is caught, whichever lines are the same backwards."""
    honest = CompiledEngine.decode_ids

    def backwards(self: CompiledEngine, *given: Any) -> Any:
        return [[one._replace(tokens=one.tokens[::-1]) for one in row] for row in honest(self, *given)]

    model = world / name
    loaded = load_model(model)
    sources = loaded.tokenizers.source.encode_batch(valid_lines(world))
    expected = create_engine("torch", loaded).decode_ids(sources, GREEDY)  # type: ignore[attr-defined]
    differing = [line for line, row in enumerate(expected, 1) if row[0].tokens != row[0].tokens[::-1]]
    assert len(differing) > 2
    monkeypatch.setattr(CompiledEngine, "decode_ids", backwards)
    shared = {"model": model, "data": world / "data"}
    if name == "nat":  # its log-probabilities are those of ties, as nothing but the order differs
        monkeypatch.setattr(verification, "TIE", -1)
    message = rf"float32 .* lines are not what PyTorch writes, and not by ties: .*{differing[0]}.*; .* a fault of seqd"
    with pytest.raises(UserError, match=message):
        export(world, tmp_path / "out", precision="float32", **shared)
    assert exported_for(tmp_path / "out") is None and not (tmp_path / "out" / "manifest.json").exists()
    assert export(world, tmp_path / "int8", **shared)["verified"]["int8"]["equal_lines"] < 20
    monkeypatch.undo()
    found = export(world, tmp_path / "out", precision="float32", **shared)["verified"]["float32"]
    assert found["equal_lines"] + found["ties"] == 20 and exported_for(tmp_path / "out") == "compiled"


def test_what_rounding_decides_is_a_tie_of_models_that_write_at_once(world: Path) -> None:
    """A model all whose words have nearly the same vector: an engine that writes others of them is right."""
    loaded = load_model(world / "nat")
    model: Any = loaded.model
    sources = loaded.tokenizers.source.encode_batch(valid_lines(world))
    written = create_engine("torch", loaded).decode_ids(sources, GREEDY)  # type: ignore[attr-defined]
    word = max(token for row in written for token in row[0].tokens)
    with torch.no_grad():
        weight = model.target_embedding.weight
        noise = torch.randn(weight[5:].shape, generator=torch.Generator().manual_seed(1))
        weight[5:] = weight[word] + 1e-6 * noise
    expected = create_engine("torch", loaded).decode_ids(sources, GREEDY)  # type: ignore[attr-defined]
    assert sum(len(set(row[0].tokens) - set(range(5))) > 0 for row in expected) > 10
    others = [
        [row[0]._replace(tokens=tuple(token - 1 if token > 5 else token for token in row[0].tokens), log_prob=-1e9)]
        for row in expected
    ]
    text = Text(valid_lines(world), valid_lines(world))
    found = verified(loaded, {"float32": lambda *_: others}, text, {}, Silent()).results["float32"]
    assert found["ties"] > 10 and found["equal_lines"] + found["ties"] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortlist_best": 20}, "shortlist_best says how large a shortlist is made, but none is: give --shortlist"),
        ({"shortlist": "small", "shortlist_frequent": 9}, r"shortlist_frequent .*: that of .*small is taken as it is"),
        ({"data": "data", "verify_lines": 0}, "data gives text to compare with, but verify_lines 0 compares nothing"),
        ({"valid_source": "s", "valid_target": ["s"], "verify_lines": 0}, "valid_source gives text to compare with"),
        ({"workers": 2}, "workers 2: nothing is aligned or compared here"),
        ({"to": "ctranslate2", "shortlist": "small", "workers": 2}, "workers 2: nothing is aligned or compared here"),
        ({"verify_lines": 50}, "verify_lines 50: there is no validation text to translate: give --data"),
    ],
)
def test_no_option_is_accepted_and_ignored(world: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    if not (world / "small").exists():
        export(world, world / "small", shortlist=world / "data", verify_lines=0, shortlist_best=5, workers=1)
    paths = ("shortlist", "data", "valid_source")
    given = {key: world / value if key in paths else value for key, value in options.items()}
    given |= {"valid_target": [world / "s"]} if "valid_target" in options else {}
    with pytest.raises(UserError, match=message):
        export(world, tmp_path / "out", **given)
    assert not (tmp_path / "out" / "export.json").exists() and not (tmp_path / "out" / "unfinished.json").exists()


def test_a_precision_that_cannot_be_compared_here_is_refused_first(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda device: {"float32", "int8_float32", "int8"})
    shared = {"to": "ctranslate2", "precision": "bfloat16"}
    with pytest.raises(UserError, match=r"bfloat16 on this processor, .*verify-lines 0.* \(int8, float32\)"):
        export(world, tmp_path / "out", data=world / "data", **shared)
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    export(world, tmp_path / "out", **shared)
    assert exported_for(tmp_path / "out") == "ctranslate2"


def test_help_is_of_the_verb() -> None:
    """Options that verbs share are described for each of them."""
    helps = {
        kind: {name: option.help for name, option in kind.offered().items()} for kind in (ExportOptions, TrainOptions)
    }
    assert helps[ExportOptions]["model"] == "Directory of the trained model."
    assert "int8" in helps[ExportOptions]["precision"] and "training" not in helps[ExportOptions]["precision"]
    assert "transformer-base" in helps[TrainOptions]["model"] and "export" not in helps[TrainOptions]["precision"]
    assert "transformer-base" not in TranslateOptions.offered()["model"].help
    assert "verified.tsv" in helps[ExportOptions]["verify_lines"]
    for kind in helps:
        assert kind.helps.keys() <= kind.model_fields.keys()
