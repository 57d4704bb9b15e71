"""Every metric through the one table: published values, closed forms, bad input."""

import math
import re
import sys
import types
from pathlib import Path

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from seqdistill.errors import UserError
from seqdistill.metrics.metric import joined_references
from seqdistill.metrics.scores import METRICS, MULTIPLE, create_metric, sentence_bleu, sentence_chrf
from seqdistill.options import MetricOptions

SIMPLE = ["bleu", "chrf", "chrf++", "ter", "rouge1", "rouge2", "rougeL", "ribes"]
REFERENCES = ["the cat sat on the mat today", "a second sentence with enough words"]
HYPOTHESES = ["the cat sat on a mat", "a second sentence of enough words here"]


def test_bleu_of_two_published_systems(multi30k):
    first, second, references = multi30k
    metric = create_metric("bleu", MetricOptions(tokenize="none"))
    assert [round(metric.corpus(system, references).value, 2) for system in (first, second)] == [39.48, 38.59]


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter"])
def test_aggregated_statistics_are_sacrebleus_scores(name, multi30k):
    """Our array formula against sacreBLEU's own corpus and sentence scores, also where n-grams have no match."""
    hypotheses, _, references = (column[:200] for column in multi30k)
    metric = create_metric(name, MetricOptions(tokenize="none"))
    rows = metric.statistics(hypotheses, references)
    for size in (1, 2, 5, 200):
        program = metric.metric.program.corpus_score(hypotheses[:size], [references[:size]]).score
        assert metric.aggregate(rows[:size].sum(axis=0, keepdims=True))[0] == pytest.approx(program)
    programs = {"bleu": sacrebleu.BLEU(tokenize="none", effective_order=True)}
    program = programs.get(name, metric.metric.program)
    expected = [program.sentence_score(h, [r]).score for h, r in zip(hypotheses, references, strict=True)]
    assert metric.sentences(hypotheses, references) == pytest.approx(expected)


HARD = [
    ("", "a b"),
    ("a", "a"),
    ("a", "b"),
    ("a b", "a c b"),
    ("b a", "a b"),
    ("x y z", "a b c d"),
    ("a", ""),
    ("", ""),
]


@pytest.mark.parametrize(("hypothesis", "reference"), HARD)
@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_short_and_empty_lines_score_as_in_sacrebleu(name, hypothesis, reference):
    program = {
        "bleu": sacrebleu.BLEU(effective_order=True),
        "chrf": sacrebleu.CHRF(),
        "ter": sacrebleu.TER(),
    }[name]
    expected = program.sentence_score(hypothesis, [reference]).score
    assert create_metric(name).sentences([hypothesis], [reference]) == pytest.approx([expected])
    if name == "bleu":
        assert sentence_bleu(hypothesis, reference) == pytest.approx(expected)
    if name == "chrf":
        assert sentence_chrf(hypothesis, reference) == pytest.approx(expected)


def test_selection_scores_equal_sacrebleus(multi30k):
    hypotheses, _, references = (column[:300] for column in multi30k)
    bleu, chrf = sacrebleu.BLEU(effective_order=True), sacrebleu.CHRF()
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        assert sentence_bleu(hypothesis, reference) == pytest.approx(bleu.sentence_score(hypothesis, [reference]).score)
        assert sentence_chrf(hypothesis, reference) == pytest.approx(chrf.sentence_score(hypothesis, [reference]).score)


def test_sentence_bleu_by_hand():
    """Five words, precisions 4/5, 2/4, 1/3 and 0 of 2, which counts as half a match; brevity exp(1 - 6/5)."""
    value = sentence_bleu("a b c x d", "a b c d e f", tokenize="none")
    assert value == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2) ** 0.25 * math.exp(1 - 6 / 5))


@pytest.mark.parametrize("name", SIMPLE)
def test_perfect_output_has_the_best_score(name):
    metric = create_metric(name)
    best = {"ter": 0.0, "ribes": 1.0}.get(name, 100.0)
    assert metric.corpus(REFERENCES, REFERENCES).value == pytest.approx(best)
    assert metric.sentences(REFERENCES, REFERENCES) == pytest.approx([best, best])
    worse = metric.corpus(HYPOTHESES, REFERENCES).value
    assert (worse < best) == metric.higher_is_better


@pytest.mark.parametrize("name", SIMPLE)
def test_every_number_carries_its_signature(name):
    score = create_metric(name).corpus(HYPOTHESES, REFERENCES)
    assert score.metric == name
    assert "version:" in score.signature
    assert score.signature in str(score)


MANY = [["the cat sat", "a cat was sitting there"], ["it rains", "it is raining", "rain falls"], ["yes", "yes"]]
"""References of three lines; the last has two that are alike."""
WRITTEN = ["the cat was sitting", "it is raining now", "no"]


@pytest.mark.parametrize("name", MULTIPLE)
def test_several_references_score_as_in_sacrebleu(name):
    metric = create_metric(name, num_references=3)
    lines = [joined_references(references) for references in MANY]
    padded = [[*references, None, None][:3] for references in MANY]
    program = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF(), "ter": sacrebleu.TER()}
    program["chrf++"] = sacrebleu.CHRF(word_order=2)
    expected = program[name].corpus_score(WRITTEN, [list(stream) for stream in zip(*padded, strict=True)]).score
    assert metric.corpus(WRITTEN, lines).value == pytest.approx(expected)
    sums = metric.statistics(WRITTEN, lines).sum(axis=0, keepdims=True)
    assert metric.aggregate(sums)[0] == pytest.approx(expected)
    assert metric.corpus(WRITTEN, lines).signature.startswith("nrefs:3|")
    first = create_metric(name).corpus(WRITTEN, [references[0] for references in MANY]).value
    assert (expected > first) == metric.higher_is_better
    single = [references[0] for references in MANY]
    assert metric.corpus(WRITTEN, single).value == create_metric(name).corpus(WRITTEN, single).value


def test_references_are_joined_by_tabs():
    assert joined_references(["a b", "c\td", ""]) == "a b\tc d"
    assert joined_references([" ", ""]) == " "
    assert joined_references(["a"]) == "a"


@pytest.mark.parametrize("name", ["rouge1", "ribes", "meteor", "comet"])
def test_metrics_of_one_reference_refuse_more(name):
    with pytest.raises(
        UserError, match=rf"{name} compares with one reference a line, but there are up to 3; take bleu"
    ):
        create_metric(name, MetricOptions(target_language="en"), num_references=3)


def test_ter_counts_edits():
    """One substitution and one insertion in seven reference words."""
    assert create_metric("ter").corpus(["the cat sat on a mat"], [REFERENCES[0]]).value == pytest.approx(100 * 2 / 7)


def test_rouge_by_hand():
    """Five of six words and of seven match; four bigrams' worth of three; the longest common subsequence has five."""
    options = MetricOptions(target_language="en")
    hypothesis, reference = ["the cat sat on a mat"], [REFERENCES[0]]
    assert create_metric("rouge1", options).sentences(hypothesis, reference) == pytest.approx([100 * 2 * 5 / 13])
    assert create_metric("rouge2", options).sentences(hypothesis, reference) == pytest.approx([100 * 2 * 3 / 11])
    assert create_metric("rougeL", options).sentences(hypothesis, reference) == pytest.approx([100 * 2 * 5 / 13])


def test_rouge_of_english_is_rouge_scores_own():
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    expected = 100 * scorer.score("two dogs were running", "a dog runs")["rouge1"].fmeasure
    metric = create_metric("rouge1", MetricOptions(target_language="en", stem=True))
    assert metric.sentences(["a dog runs"], ["two dogs were running"]) == pytest.approx([expected])
    assert expected > 0


def test_rouge_keeps_words_of_other_alphabets_whole():
    """rouge-score's tokeniser turns `größe` into `gr` and `e`, and Russian into nothing."""
    metric = create_metric("rouge1", MetricOptions(target_language="de"))
    assert metric.sentences(["die größe"], ["die grüße"]) == pytest.approx([50.0])
    assert metric.sentences(["кошка"], ["кошка"]) == pytest.approx([100.0])


def test_rouge_stems_english_only():
    with pytest.raises(UserError, match="stemmer is for English, but the language is 'de'"):
        create_metric("rouge1", MetricOptions(target_language="de", stem=True))


def test_lowercase_and_tokenize_change_bleu():
    mixed, lower = create_metric("bleu"), create_metric("bleu", MetricOptions(lowercase=True))
    assert "case:mixed" in mixed.signature
    assert "case:lc" in lower.signature
    upper = [line.upper() for line in REFERENCES]
    assert mixed.corpus(upper, REFERENCES).value == 0
    assert lower.corpus(upper, REFERENCES).value == pytest.approx(100)
    assert "tok:char" in create_metric("bleu", MetricOptions(tokenize="char")).signature


@pytest.mark.parametrize("name", SIMPLE)
def test_unequal_counts_are_named(name):
    metric = create_metric(name)
    for method in (metric.corpus, metric.sentences, metric.statistics):
        with pytest.raises(UserError, match=r"3 hypotheses but 2 references"):
            method(["a", "b", "c"], ["a", "b"])
        with pytest.raises(UserError, match="nothing to score"):
            method([], [])


def test_unknown_names_bring_the_nearest():
    with pytest.raises(UserError, match=r"unknown metric 'blue', did you mean 'bleu'\?; choose from bleu, chrf"):
        create_metric("blue")
    with pytest.raises(UserError, match=r"did you mean 'rougeL'"):
        create_metric("rouge-l")
    with pytest.raises(UserError, match=r"unknown tokeniser '13b', did you mean '13a'"):
        create_metric("bleu", MetricOptions(tokenize="13b"))


def test_the_table_is_the_promised_one():
    assert list(METRICS) == [*SIMPLE, "meteor", "beer", "comet"]


def beer_home(folder: Path, script: str) -> Path:
    program = folder / "beer"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def test_beer_runs_the_users_program(tmp_path):
    """A stand-in that prints what BEER 2.0 prints: the share of the line's number, from the files it is given."""
    script = 'test "$1 $3 $5" = "-s -r --printSentScores" && cat "$2" "$4" > "$0.seen"; '
    script += 'n=0; while read line; do n=$((n+1)); echo "sent $n score is 0.$n"; done < "$2"; echo "total BEER 0.1"'
    metric = create_metric("beer", MetricOptions(beer_home=beer_home(tmp_path, script), lowercase=True))
    assert metric.sentences(["A", "b"], ["C", "d"]) == [0.1, 0.2]
    assert metric.corpus(["A", "b"], ["C", "d"]).value == pytest.approx(0.15)
    assert (tmp_path / "beer.seen").read_text() == "a\nb\nc\nd\n"


def test_beer_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="give its folder as --beer-home"):
        create_metric("beer")
    with pytest.raises(UserError, match="no such program; --beer-home must name the folder"):
        create_metric("beer", MetricOptions(beer_home=tmp_path))
    broken = create_metric("beer", MetricOptions(beer_home=beer_home(tmp_path, "echo no model >&2; exit 3")))
    with pytest.raises(UserError, match=r"expected 1 lines.*found 0, exit code 3: no model"):
        broken.sentences(["a"], ["a"])


class FakeModel:
    """Scores a line by the letters its three texts have in common."""

    def predict(self, rows, *, batch_size, gpus, progress_bar):
        assert gpus == 0
        scores = [float(len(set(row["src"]) & set(row["mt"]) & set(row["ref"]))) for row in rows]
        return types.SimpleNamespace(scores=scores, system_score=sum(scores) / len(scores))


@pytest.fixture
def fake_comet(monkeypatch) -> types.ModuleType:
    module = types.ModuleType("comet")
    module.loaded = []
    module.download_model = lambda name: f"/cache/{name}.ckpt" if "/" in name else module.missing()
    module.load_from_checkpoint = lambda path: module.loaded.append(path) or FakeModel()
    monkeypatch.setitem(sys.modules, "comet", module)
    return module


def test_comet_loads_its_model_the_ordinary_way(fake_comet, tmp_path):
    metric = create_metric("comet", sources=["ab", "cd"])
    assert fake_comet.loaded == ["/cache/Unbabel/wmt22-comet-da.ckpt"]
    assert metric.sentences(["ab", "c"], ["abc", "cd"]) == [2.0, 1.0]
    assert metric.corpus(["ab", "c"], ["abc", "cd"]).value == 1.5
    assert "model:Unbabel/wmt22-comet-da" in metric.signature
    checkpoint = tmp_path / "mine.ckpt"
    checkpoint.touch()
    create_metric("comet", MetricOptions(comet_model=str(checkpoint)), sources=["ab"])
    assert fake_comet.loaded[-1] == str(checkpoint)


def test_comet_says_what_is_missing(fake_comet, monkeypatch):
    with pytest.raises(UserError, match="give the source lines"):
        create_metric("comet")
    with pytest.raises(UserError, match="1 source lines but 2 hypotheses"):
        create_metric("comet", sources=["a"]).sentences(["a", "b"], ["a", "b"])
    with pytest.raises(UserError, match=r"'nonsense' could not be downloaded"):
        create_metric("comet", MetricOptions(comet_model="nonsense"), sources=["a"])
    with pytest.raises(UserError, match=r"gone\.ckpt: no such checkpoint"):
        create_metric("comet", MetricOptions(comet_model="gone.ckpt"), sources=["a"])
    monkeypatch.setitem(sys.modules, "comet", None)
    with pytest.raises(UserError, match=re.escape("pip install 'seqdistill[comet]'")):
        create_metric("comet", sources=["a"])
