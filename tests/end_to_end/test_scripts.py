"""Ten scripts: prepared, trained, distilled, evaluated and measured, by the words of their language."""

import json
from pathlib import Path

import pytest

from seqdistill.data.directory import DataDirectory
from seqdistill.models.saved import load_model
from tests.conftest import Call
from tests.scripts import LANGUAGES, UNSPACED, sentence

TOKENIZE = {"ja": "char", "ko": "13a"}
"""Of the languages whose tokeniser need not be installed."""
TINY = [f"--set={value}" for value in ("dim=32", "ffn_dim=32", "encoder_layers=1", "decoder_layers=1", "heads=2")]
SPEED = ["--max-updates=6", "--validate-every=2", "--warmup=1", "--batch-tokens=256", "--no-tensorboard", "--threads=1"]


def write_text(folder: Path, script: str) -> None:
    """Sources are numbers in letters, targets the same words of the script; validation text has other pairs."""
    rows = {"train": [[n % 15, (n * 7) % 15, (n * 3) % 15, n // 15] for n in range(60)]}
    rows |= {"valid": [[14, n, 3 * n] for n in range(6)], "test": [[13, n, 5 * n] for n in range(6)]}
    for part, numbers in rows.items():
        sources = [" ".join(chr(97 + number % 26) * 3 for number in row) for row in numbers]
        (folder / f"{part}.src").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
        targets = [sentence(script, row) for row in numbers]
        (folder / f"{part}.tgt").write_text("".join(f"{line}\n" for line in targets), encoding="utf-8")


@pytest.mark.parametrize("script", LANGUAGES)
def test_a_script_from_text_to_measures(script, call: Call, tmp_path, monkeypatch):
    language = LANGUAGES[script]
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path, script)
    files = [
        f"--{part}{side}={(part or 'train-')[:-1]}.{end}" for part in ("", "valid-", "test-") for side, end in SIDES
    ]
    words = [f"--tokenize={TOKENIZE[language]}"] if language in TOKENIZE else []
    run(call, "prepare", *files, "--vocab-size=120", f"--target-language={language}", *words, "--out=data")
    data = DataDirectory.open(Path("data"))
    assert data.languages.target == language
    assert data.train.counts.target_altered == 0, "the targets' own characters are learned"
    decoded = [data.tokenizers.target.decode(data.train.target_ids(pair).tolist()) for pair in range(len(data.train))]
    assert decoded == [*data.train.targets()]
    assert len(data.train) == 60 - json.loads(Path("data/data.json").read_text())["filters"]["test_overlap"] > 50

    run(call, "train", "--data=data", "--model=transformer-base", *TINY, *SPEED, "--out=model")
    rows = [json.loads(line) for line in Path("model/log.jsonl").read_text().splitlines()]
    tokenizer = {"th": "char", "zh": "zh", **TOKENIZE}.get(language, "13a")
    assert f"|tok:{tokenizer}|" in rows[0]["signature"]
    assert load_model(Path("model")).languages == data.languages

    run(call, "distill", "--teacher=model", "--data=data", *SELECT, "--out=distilled")
    assert DataDirectory.open(Path("distilled")).languages == data.languages
    run(call, "evaluate", "--model=model", "--data=data", "--metrics=bleu,ter,chrf,rouge1", *SHORT, "--out=scores")
    scores = json.loads(Path("scores/scores.json").read_text())
    assert scores["tokenize"] == tokenizer
    assert (script in UNSPACED) == ("asian:yes" in scores["signatures"]["ter"] or "char" in scores["signatures"]["ter"])
    if script == "han":
        files = ["--source=test.src", "--reference=test.tgt", "--metrics=bleu"]
        run(call, "evaluate", "--model=model", *files, *SHORT, "--out=from-files")
        again = json.loads(Path("from-files/scores.json").read_text())
        assert (again["tokenize"], again["bleu"]) == ("zh", scores["bleu"]), "a model knows its language"
    Path("perfect").write_text(Path("test.tgt").read_text(encoding="utf-8"), encoding="utf-8")
    options = [f"--target-language={language}", *words, "--metrics=bleu,ter,rouge1"]
    _, shown, _ = call("compare", "scores/hypotheses.txt", "perfect", "--reference=test.tgt", *options)
    assert shown.count("100.00") >= 2, shown
    run(call, "measure", "data", "distilled", "--real=data", "--samples=40", "--workers=1", "--out=measured")


SIDES = (("source", "src"), ("target", "tgt"))
SELECT = ["--beam=2", "--n-best=2", "--select=bleu", "--max-length=12", "--workers=1"]
SHORT = ["--beam=1", "--max-length=12", "--speed-lines=0"]


def run(call: Call, *words: str) -> None:
    """The verb, which must succeed."""
    code, _, said = call(*words)
    assert code == 0, said
