"""The paired bootstrap against sacreBLEU's own and a closed form; BLEU by length against BLEU of the parts."""

import math

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest

from seqdistill.errors import UserError
from seqdistill.metrics import significance
from seqdistill.metrics.metric import SentenceMean
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import bleu_by_length, compare, compare_runs, share
from seqdistill.options import MetricOptions


@pytest.mark.parametrize(("name", "key"), [("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")])
def test_p_values_equal_sacrebleus(name, key, multi30k):
    system, baseline, references = (column[:300] for column in multi30k)
    metric = create_metric(name, MetricOptions(tokenize="none"))
    ours = compare(metric, baseline, system, references)
    test = PairedTest([("baseline", baseline), ("system", system)], {key: metric.metric.program}, [references], "bs")
    theirs = dict(test()[1])[key][1]
    assert ours.p_value == pytest.approx(theirs.p_value, abs=0.003)
    assert ours.system == pytest.approx(theirs.score)
    assert ours.low < ours.delta < ours.high
    assert ours.signature.endswith("|bs:1000|seed:12345")


def test_identical_systems_do_not_differ(multi30k):
    system, _, references = (column[:50] for column in multi30k)
    for name in ("bleu", "ter", "ribes"):
        comparison = compare(create_metric(name), system, system, references, num_samples=100)
        assert (comparison.delta, comparison.low, comparison.high, comparison.p_value) == (0, 0, 0, 1)


def lengths_metric() -> SentenceMean:
    return SentenceMean("length", "version:test", lambda hypotheses, _: [float(len(line)) for line in hypotheses])


def test_interval_of_a_mean_is_the_normal_one():
    """The difference of means over n lines has standard error s / sqrt(n), so 1.96 of it each way."""
    baseline = ["x"] * 400
    system = ["x" * (1 + i % 5) for i in range(400)]
    comparison = compare(lengths_metric(), baseline, system, baseline, num_samples=4000, seed=1)
    error = np.std([i % 5 for i in range(400)]) / math.sqrt(400)
    assert comparison.delta == 2
    assert comparison.low == pytest.approx(2 - 1.96 * error, abs=0.15 * error)
    assert comparison.high == pytest.approx(2 + 1.96 * error, abs=0.15 * error)
    assert comparison.p_value == pytest.approx(1 / 4001)


def test_several_runs_are_one_corpus_whose_sentences_are_drawn_together(multi30k):
    one, other, references = (column[:80] for column in multi30k)
    metric = create_metric("bleu")
    both = compare_runs(metric, [one, other], [other, other], references, num_samples=200)
    assert both.baseline == pytest.approx(metric.corpus([*one, *other], [*references, *references]).value)
    single = compare(metric, one, other, references, num_samples=200)
    again = compare_runs(metric, [one] * 3, [other] * 2, references, num_samples=200)
    assert (again.delta, again.low, again.high) == pytest.approx((single.delta, single.low, single.high))
    with pytest.raises(UserError, match="79"):
        compare_runs(metric, [one, other[:79]], [other, other], references)


def test_a_seed_fixes_the_samples_whatever_the_memory(multi30k, monkeypatch):
    system, baseline, references = (column[:60] for column in multi30k)
    metric = create_metric("chrf")
    whole = compare(metric, baseline, system, references, num_samples=200, seed=3)
    monkeypatch.setattr(significance, "CHUNK_NUMBERS", 7 * 60 * 18)
    assert compare(metric, baseline, system, references, num_samples=200, seed=3) == whole
    assert compare(metric, baseline, system, references, num_samples=200, seed=4).low != whole.low


def test_bad_comparisons():
    with pytest.raises(UserError, match="2 hypotheses but 1 references"):
        compare(lengths_metric(), ["a", "b"], ["a"], ["a"])
    with pytest.raises(UserError, match="2 hypotheses but 1 references"):
        compare(lengths_metric(), ["a"], ["a", "b"], ["a"])
    with pytest.raises(UserError, match="at least 40"):
        compare(lengths_metric(), ["a"], ["a"], ["a"], num_samples=39)


def test_bleu_by_length_is_bleu_of_each_part(multi30k):
    hypotheses, _, references = multi30k
    lengths = [len(line.split()) for line in references]
    buckets = bleu_by_length(hypotheses, references, lengths, (10, 15), tokenize="none")
    assert [bucket.label for bucket in buckets] == ["0-9", "10-14", "15+"]
    assert sum(bucket.num_sentences for bucket in buckets) == len(hypotheses)
    for bucket in buckets:
        part = [i for i, length in enumerate(lengths) if bucket.low <= length < bucket.high]
        score = sacrebleu.corpus_bleu([hypotheses[i] for i in part], [[references[i] for i in part]], tokenize="none")
        assert bucket.bleu == pytest.approx(score.score)


def test_bad_buckets():
    assert bleu_by_length(["a"], ["a"], [50], (10, 20))[0].label == "20+"
    with pytest.raises(UserError, match="2 lengths but 1 hypotheses"):
        bleu_by_length(["a"], ["a"], [1, 2], (10,))
    with pytest.raises(UserError, match=r"must ascend from above 0, found \[20, 10\]"):
        bleu_by_length(["a"], ["a"], [1], (20, 10))


def test_a_share_has_the_interval_of_wilson():
    """Both ends are where the observed share is 1.96 standard errors of the end away from it (Wilson 1927)."""
    for successes, trials in ((49, 50), (1, 7), (440, 450), (3, 6)):
        percent, low, high = share(successes, trials)
        p = successes / trials
        assert percent == pytest.approx(100 * p) and 0 < low < percent < high < 100
        for end in (low / 100, high / 100):
            assert abs(p - end) == pytest.approx(1.959964 * (end * (1 - end) / trials) ** 0.5, rel=1e-5)
    assert share(0, 50)[:2] == (0, 0) and share(50, 50)[::2] == (100, 100)
    assert share(50, 50).low == pytest.approx(100 - share(0, 50).high) == pytest.approx(92.865, abs=1e-3)


def test_bad_shares():
    with pytest.raises(ValueError, match="0 of 0"):
        share(0, 0)
    with pytest.raises(ValueError, match="3 of 2"):
        share(3, 2)
