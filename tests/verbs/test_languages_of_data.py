"""Languages and normalisation, given to `prepare` once, and what the other verbs make of them."""

import json
from pathlib import Path

import pytest

from seqdistill.data.directory import DataDirectory
from seqdistill.metrics import tokenizers as metric_tokenizers
from seqdistill.options import CompareOptions, PrepareOptions
from seqdistill.text.languages import Languages
from seqdistill.verbs.compare import compare_files
from seqdistill.verbs.prepare import languages_of
from tests.scripts import sentence

RAW = ["你好，{}！", "（{}）：真的？", "m²　{}；", "½ {} ™。"]
NFKC = ["你好,{}!", "({}):真的?", "m2 {};", "1⁄2 {} TM。"]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Chinese targets with full-width characters, as they are and in NFKC, and tables of both."""
    monkeypatch.chdir(tmp_path)
    words = [sentence("han", [n, 2 * n + 1, 5 * n])[:-1] for n in range(48)]
    sources = [f"word{n} number{n % 7}" for n in range(48)]
    for name, frames in (("raw", RAW), ("nfkc", NFKC)):
        lines = [frames[n % 4].format(word) for n, word in enumerate(words)]
        Path(f"{name}.zh").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        rows = "".join(f"{source}\t{line}\n" for source, line in zip(sources, lines, strict=True))
        Path(f"{name}.tsv").write_text(f"source\ttarget\n{rows}", encoding="utf-8")
    Path("src.en").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    return tmp_path


def prepare(call, *more: str, out: str = "data") -> dict:
    code, _, said = call("prepare", "--source=src.en", "--target=raw.zh", "--vocab-size=140", *more, f"--out={out}")
    assert code == 0, said
    return json.loads(Path(out, "data.json").read_text(encoding="utf-8"))


def test_what_nobody_named_is_guessed_recorded_and_shown(text, call):
    found = prepare(call)
    assert found["languages"] == {"source": "", "target": "", "tokenize": "zh"}
    shown = json.loads(Path("data/manifest.json").read_text())["results"]["scored_by"]
    assert "|tok:zh|" in shown
    assert prepare(call, "--target-language=zh-Hant", out="named")["languages"]["target"] == "zh-Hant"
    assert DataDirectory.open(Path("named")).fingerprint != DataDirectory.open(Path("data")).fingerprint
    assert prepare(call, "--tokenize=char", out="char")["languages"]["tokenize"] == "char"


def test_targets_keep_their_characters_unless_asked(text, call):
    assert prepare(call)["splits"]["train"]["target_altered"] == 0
    found = prepare(call, "--normalization=nfkc", out="nfkc")
    assert found["splits"]["train"]["target_altered"] == 48
    code, _, said = call(
        "prepare", "--source=src.en", "--target=raw.zh", "--tokenizer-from=data", "--normalization=nfc", "--out=x"
    )
    assert code == 2 and "is for a vocabulary that is trained here" in said


def test_a_language_whose_tokeniser_is_missing_is_refused_before_any_work(text, call, monkeypatch):
    metric_tokenizers.tokenizer.cache_clear()
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None, raising=False)
    code, _, said = call("prepare", "--source=src.en", "--target=raw.zh", "--target-language=ja", "--out=data")
    assert code == 2 and "pip install 'sacrebleu[ja]'" in said and "Traceback" not in said
    assert not Path("data", "data.json").exists()


def test_measure_brings_both_corpora_to_the_same_characters(text, call):
    """F of the same text, once in NFKC, was 0.7."""
    languages = ["--source-language=en", "--target-language=zh", "--samples=40", "--workers=1"]
    assert call("measure", "nfkc.tsv", "--real=raw.tsv", *languages, "--out=m")[0] == 0
    row = json.loads(Path("m/manifest.json").read_text())["results"]["corpora"][1]
    assert row["faithfulness"] == pytest.approx(0, abs=1e-9) and row["bleu"] == pytest.approx(100)
    assert "norm:nmt_nfkc" in row["faithfulness_signature"]
    call("measure", "nfkc.tsv", "--real=raw.tsv", *languages, "--normalization=identity", "--out=n")
    assert json.loads(Path("n/manifest.json").read_text())["results"]["corpora"][1]["faithfulness"] > 0.05


def test_corpora_of_other_languages_are_not_measured_together(text, call):
    prepare(call, "--target-language=zh")
    prepare(call, "--target-language=de", out="other")
    code, _, said = call("measure", "data", "other", "--samples=40", "--out=m")
    assert code == 2 and "corpora of other languages (other: ? to de; data: ? to zh)" in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"corpus": "multi30k", "languages": "en-de"}, Languages("en", "de")),
        ({"corpus": "home-assistant", "languages": "en-zh-Hans"}, Languages("en", "zh-Hans")),
        ({"corpus": "home-assistant", "languages": "en-de+fr"}, Languages()),
        ({"corpus": "debian-descriptions", "languages": "summary"}, Languages()),
        ({"corpus": "hub:x/y", "languages": "article:highlights"}, Languages()),
        ({"corpus": "multi30k", "languages": "en-de", "target_language": "fr"}, Languages("en", "fr")),
        ({"target_language": "th", "tokenize": "char"}, Languages("", "th", "char")),
    ],
)
def test_languages_of_a_public_corpus_need_not_be_repeated(given, expected):
    assert languages_of(PrepareOptions(**given)) == expected


def test_compared_outputs_are_scored_in_the_words_of_their_letters(tmp_path):
    """Nobody named a language: 13a would take a Chinese line for one word, and find 0 BLEU in what is right."""
    right = ["我们今天去公园散步。", "他在厨房里做饭。"] * 30
    wrong = ["我们今天去学校上课。", "她在花园里看书。"] * 30
    for name, lines in {"right": right, "wrong": wrong}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    options = CompareOptions(reference=[tmp_path / "right"], metrics="bleu,ter")
    bleu, ter = compare_files(options, tmp_path / "wrong", tmp_path / "right")
    assert bleu.system == 100 and 0 < bleu.baseline < 60 and "tok:zh" in bleu.signature
    assert ter.system == 0 and "asian:yes" in ter.signature
    named = compare_files(options.replaced(tokenize="char", metrics="bleu"), tmp_path / "wrong", tmp_path / "right")
    assert "tok:char" in named[0].signature


@pytest.mark.parametrize("more", [[], ["--tokenize=zh"]])
def test_measures_count_the_words_of_their_letters_where_no_language_is_named(text, call, more):
    prepare(call, *more)
    assert measured(call, "data", out="m")["complexity_signature"].split("target:")[1].startswith("tok:zh|")
    assert measured(call, "raw.tsv", out="t")["complexity_signature"].split("target:")[1].startswith("tok:zh|")
    named = measured(call, "raw.tsv", "--target-tokenizer=char", out="c")
    assert named["complexity_signature"].startswith("source:tok:moses-en|") and "target:tok:char" in str(named)


def measured(call, *words: str, out: str) -> dict:
    code, _, said = call("measure", *words, "--samples=40", f"--out={out}")
    assert code == 0, said
    return json.loads(Path(out, "manifest.json").read_text())["results"]["corpora"][0]
