"""What may be written next: every decoder against enumeration by the rules' own words."""

import pickle

import pytest
import torch
from toy_models import ToyRefiner, ToyWriter, random_sources

from seqdistill.decoding.autoregressive import greedy
from seqdistill.decoding.beam import beam_search
from seqdistill.decoding.decode import decode
from seqdistill.decoding.given import Given
from seqdistill.decoding.processors import NoRepeatNgram, Rows, processors_of
from seqdistill.errors import UserError
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from tests.enumerated import EOS, RULES, VOCAB, every_output, may_follow


@pytest.mark.parametrize("rules, given", RULES)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_wide_enough_is_exhaustive(rules, given: Given, length_penalty: float) -> None:
    source, model = random_sources(VOCAB, rows=6), ToyWriter(VOCAB, scale=1.5)
    options = DecodingOptions(beam=3**4 + 3**3, n_best=5, length_penalty=length_penalty, max_length=4, **rules)
    for row, hypotheses in enumerate(decode(model, source, options, given)):
        best = every_output(model, source, options, given, row)[:5]
        assert [found.tokens for found in hypotheses] == [words for _, words in best]
        assert [found.score for found in hypotheses] == pytest.approx([score for score, _ in best], abs=1e-5)


@pytest.mark.parametrize("rules, given", RULES)
def test_beam_of_one_is_greedy_and_the_batch_decides_nothing(rules, given: Given) -> None:
    source, model = random_sources(VOCAB, rows=6), ToyWriter(VOCAB)
    narrow, wide = (DecodingOptions(beam=beam, n_best=beam, max_length=9, **rules) for beam in (1, 4))
    together = greedy(model, source, narrow, given)
    for one, other in zip(together, beam_search(model, source, narrow, given), strict=True):
        assert one[0].tokens == other[0].tokens
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-5)
    for options in (narrow, wide):
        for row, hypotheses in enumerate(decode(model, source, options, given)):
            (alone,) = decode(model, source[row : row + 1], options, given.of([row]))
            assert [found.tokens for found in alone] == [found.tokens for found in hypotheses]
            assert [h.score for h in alone] == pytest.approx([h.score for h in hypotheses], abs=1e-5)


@pytest.mark.parametrize("rules, given", RULES)
@pytest.mark.parametrize("how", [{"sampling": True, "n_best": 40, "top_k": 6}, {"beam": 5, "n_best": 5}])
def test_nothing_breaks_the_rules(rules, given: Given, how) -> None:
    source, model = random_sources(VOCAB, rows=6), ToyWriter(VOCAB, scale=0.3)
    options = DecodingOptions(max_length=7, **how, **rules)
    for row, hypotheses in enumerate(decode(model, source, options, given)):
        prefix = given.prefixes[row] if given.prefixes else ()
        allowed = given.allowed[row] if given.allowed else None
        for found in hypotheses:
            labels = [*found.tokens, EOS][:7]
            for place, token in enumerate(labels):
                assert token in may_follow(labels[:place], options, prefix, allowed)


def test_ngrams_that_are_there_already_are_forbidden() -> None:
    generator = torch.Generator().manual_seed(1)
    for size in (1, 2, 3, 4):
        for length in range(12):
            written = torch.randint(0, 3, (20, length), generator=generator)
            log_probs = torch.zeros(20, 3)
            NoRepeatNgram(size).forbid(log_probs, Rows(written, torch.arange(20)))
            for row, words in enumerate(written.tolist()):
                seen = {tuple(words[at : at + size]) for at in range(length - size + 1)}
                expected = [(*words, token)[-size:] in seen for token in range(3)]
                assert log_probs[row].isinf().tolist() == expected


def test_a_prefix_may_hold_what_is_never_written_and_ends_at_the_limit() -> None:
    """Language codes are such prefixes: no output holds one but where it is forced."""
    source, model = random_sources(VOCAB, rows=2), ToyWriter(VOCAB)
    given = Given(prefixes=[[OURS.mask, 5], [6, 6, 6, 6, 6]])
    for beam in (1, 3):
        coded, cut = decode(model, source, DecodingOptions(beam=beam, max_length=4), given)
        assert coded[0].tokens[:2] == (OURS.mask, 5) and OURS.mask not in coded[0].tokens[1:]
        assert (cut[0].tokens, cut[0].log_prob) == ((6, 6, 6, 6), 0.0)


def test_rules_are_values() -> None:
    options = DecodingOptions(beam=1, no_repeat_ngram=2, min_length=3)
    rules = processors_of(OURS, options, Given(prefixes=[[5]], allowed=[[5, 6]]), torch.device("cpu"))
    again = pickle.loads(pickle.dumps(rules))
    log_probs = torch.randn(1, VOCAB).log_softmax(1)
    rows = Rows(torch.tensor([[5]]), torch.tensor([0]))
    one, other = log_probs.clone(), log_probs.clone()
    assert rules(one, rows).equal(again(other, rows)) and one.equal(other)


@pytest.mark.parametrize("rules", [{"no_repeat_ngram": 3}, {"min_length": 2}])
def test_models_that_write_all_positions_at_once_refuse_rules(rules) -> None:
    (name,) = rules
    with pytest.raises(UserError, match=f"{name} {rules[name]} is for a model that is autoregressive"):
        decode(ToyRefiner(iterations=1), random_sources(VOCAB, rows=1), DecodingOptions(**rules))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"no_repeat_ngram": -1}, r"'no_repeat_ngram': .*greater than or equal to 0, but it is -1"),
        ({"min_length": 256}, "min_length 256 leaves no room under max_length 256, in which EOS counts"),
        ({"min_length": -1}, r"'min_length': .*greater than or equal to 0, but it is -1"),
    ],
)
def test_values_out_of_range(rules, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DecodingOptions(**rules)
