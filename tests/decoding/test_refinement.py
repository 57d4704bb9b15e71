"""The decoder of models that write all positions at once, and mixed decoding."""

import pytest
import torch
from toy_inserter import BEST, ToyConfig, ToyInserter
from toy_models import ToyRefiner, ToyWriter, random_sources

from seqdistill.decoding.decode import decode, mixed
from seqdistill.errors import UserError
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import EOS, PAD


def test_single_pass_ranks_lengths_by_mean_log_probability() -> None:
    """By hand: position i of n tokens has log-probability -1 / (1 + i + n), so the longest candidate wins."""
    source = random_sources(12, rows=10)
    found = decode(ToyRefiner(iterations=1, speed=100), source, DecodingOptions(beam=3, n_best=3))
    for row, candidates in enumerate(found):
        shortest = int((source[row] != PAD).sum()) - 1
        lengths = [shortest + 2, shortest + 1, shortest]
        assert [len(candidate.tokens) for candidate in candidates] == lengths
        for length, candidate in zip(lengths, candidates, strict=True):
            total = -sum(1 / (1 + place + length) for place in range(length))
            assert candidate.tokens == tuple(5 + (int(source[row, 0]) + i + length) % 20 for i in range(length))
            assert candidate.log_prob == pytest.approx(total, abs=1e-5)
            assert candidate.score == pytest.approx(total / length, abs=1e-5)
    unnormalised = decode(ToyRefiner(iterations=1), source, DecodingOptions(beam=3, n_best=1, length_penalty=0.0))
    assert [h.log_prob for (h,) in unnormalised] == [h.score for (h,) in unnormalised]


def test_rows_leave_at_their_fixed_point() -> None:
    """A row of n tokens is final after ceil(n / 2) iterations and leaves one later, when nothing changed."""
    source = random_sources(12, rows=20)
    model = ToyRefiner(iterations=10, speed=2)
    found = decode(model, source, DecodingOptions(beam=1))
    lengths = [len(hypothesis.tokens) for (hypothesis,) in found]
    assert lengths == ((source != PAD).sum(1) - 1).tolist()
    needed = [-(-length // 2) + 1 for length in lengths]
    assert model.rows_of_iteration == [sum(count > done for count in needed) for done in range(max(needed))]
    assert [hypothesis.iterations for (hypothesis,) in found] == needed
    assert [hypothesis.passes for (hypothesis,) in found] == needed
    final = decode(ToyRefiner(iterations=1, speed=100), source, DecodingOptions(beam=1))
    assert [hypothesis[:3] for (hypothesis,) in found] == [hypothesis[:3] for (hypothesis,) in final]
    assert {hypothesis[3:] for (hypothesis,) in final} == {(1, 1)}


def test_a_sentence_waits_for_its_slowest_candidate() -> None:
    """Lengths n, n + 1, n + 2 at two words an iteration: every hypothesis tells the effort of the longest."""
    source = random_sources(12, rows=20)
    found = decode(ToyRefiner(iterations=10, speed=2, words=99), source, DecodingOptions(beam=3, n_best=3))
    lengths = ((source != PAD).sum(1) - 1).tolist()
    for length, group in zip(lengths, found, strict=True):
        assert {(hypothesis.passes, hypothesis.iterations) for hypothesis in group} == {((length + 3) // 2 + 1,) * 2}


@pytest.mark.parametrize(("own", "asked", "expected"), [(2, None, 2), (5, 3, 3), (2, 4, 4)])
def test_iterations_are_the_models_own_or_those_asked_for(own: int, asked: int | None, expected: int) -> None:
    """Counted from one: "max iterations 9" of public code means 10."""
    model = ToyRefiner(iterations=own, speed=1)
    found = decode(model, random_sources(12, rows=9), DecodingOptions(beam=1, iterations=asked))
    assert len(model.rows_of_iteration) == expected
    assert max(hypothesis.iterations for (hypothesis,) in found) == expected


def test_models_that_insert_stop_at_the_length_limit() -> None:
    source = random_sources(12, rows=20)
    complete = decode(ToyInserter(ToyConfig(12, 12)), source, DecodingOptions(beam=1, penalty=BEST))
    for words, (hypothesis,) in zip(source.tolist(), complete, strict=True):
        length = words.index(EOS)
        assert list(hypothesis.tokens) == words[:length]
        assert (hypothesis.passes, hypothesis.iterations) == (2 * (-(-length // 2) + 1), -(-length // 2) + 1)
    cut = decode(ToyInserter(ToyConfig(12, 12)), source, DecodingOptions(beam=1, penalty=BEST, max_length=3))
    assert [h.tokens for (h,) in cut] == [h.tokens[:3] for (h,) in complete]


def test_a_row_may_stay_empty() -> None:
    """Half of one word is nothing: a canvas of no columns is finished at once."""
    source = torch.tensor([[7, EOS, PAD], [8, 9, EOS]])
    found = decode(ToyInserter(ToyConfig(12, 12)), source, DecodingOptions(beam=1))
    assert [(h.tokens, h.iterations) for (h,) in found] == [((), 1), ((8,), 2)]
    assert decode(ToyInserter(ToyConfig(12, 12)), source[:1, :2], DecodingOptions(beam=1))[0] == found[0]


class TestOptionsThatAModelDoesNotHave:
    SOURCE = random_sources(12, rows=2)

    @pytest.mark.parametrize("option", [{"iterations": 3}, {"penalty": 0.5}])
    def test_of_a_model_that_writes_left_to_right(self, option: dict) -> None:
        with pytest.raises(
            UserError, match=r"is for a model that .* \(.*(inst|flowseq).*\), not for this one: leave it out"
        ):
            decode(ToyWriter(30), self.SOURCE, DecodingOptions(**option))
        with pytest.raises(UserError, match="not for this one: leave it out"):
            mixed(ToyWriter(30), ToyWriter(30), self.SOURCE, first_tokens=2, options=DecodingOptions(**option))

    def test_several_iterations_of_a_single_pass(self) -> None:
        with pytest.raises(
            UserError, match=r"iterations 3 is for a model that is refined .* \(inat, cmlm, inst, levt\), not"
        ):
            decode(ToyRefiner(iterations=1), self.SOURCE, DecodingOptions(beam=1, iterations=3))

    def test_a_penalty_where_nothing_is_inserted(self) -> None:
        with pytest.raises(UserError, match=r"penalty 0\.5 is for a model that inserts words \(inst, levt\), not for"):
            decode(ToyRefiner(iterations=2), self.SOURCE, DecodingOptions(beam=1, penalty=0.5))

    def test_several_lengths_where_none_is_predicted(self) -> None:
        with pytest.raises(UserError, match="decode with beam 1"):
            decode(ToyInserter(ToyConfig(12, 12)), self.SOURCE, DecodingOptions(beam=2))

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"iterations": 0}, "'iterations': .*greater than or equal to 1"),
            ({"penalty": float("nan")}, "'penalty': Input should be a finite number, but it is nan"),
        ],
    )
    def test_of_no_model(self, option: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            DecodingOptions(**option)


@pytest.mark.parametrize("iterations", [1, 5])
def test_refinement_of_one_equals_refinement_of_many(iterations: int) -> None:
    source = random_sources(12, rows=16)
    options = DecodingOptions(beam=4, n_best=2)
    together = decode(ToyRefiner(iterations=iterations), source, options)
    assert together == [decode(ToyRefiner(iterations=iterations), row[None], options)[0] for row in source]


def test_candidates_are_cut_at_the_limit() -> None:
    found = decode(ToyRefiner(iterations=1), random_sources(12, rows=16), DecodingOptions(beam=4, max_length=2))
    assert max(len(hypothesis.tokens) for (hypothesis,) in found) == 2


def test_sampling_needs_an_autoregressive_model() -> None:
    with pytest.raises(UserError, match="sampling True is for a model that is autoregressive"):
        decode(ToyRefiner(iterations=1), random_sources(12, rows=2), DecodingOptions(sampling=True))


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(beam=1, max_length=12),
        DecodingOptions(beam=4, n_best=2, max_length=12),
        DecodingOptions(sampling=True),
    ],
)
def test_mixed_decoding_has_the_pure_models_at_its_ends(options: DecodingOptions) -> None:
    source = random_sources(30, rows=20)
    first, second = ToyWriter(30, seed=1), ToyWriter(30, seed=2)
    assert mixed(first, second, source, first_tokens=0, options=options) == decode(second, source, options)
    assert mixed(first, second, source, first_tokens=1000, options=options) == decode(first, source, options)


def test_mixed_greedy_is_a_prefix_of_one_and_the_others_completion() -> None:
    source, n = random_sources(30, rows=30), 4
    first, second = ToyWriter(30, seed=1), ToyWriter(30, seed=2)
    options = DecodingOptions(beam=1, max_length=12)
    alone = decode(first, source, options)
    for row, (pair,) in enumerate(mixed(first, second, source, first_tokens=n, options=options)):
        assert pair.tokens[:n] == alone[row][0].tokens[:n]
        words = list(pair.tokens)
        logits = second(source[row : row + 1], torch.tensor([[*words, 3]]))[0]
        logits[:, [0, 1, 2, 4]] = -torch.inf
        assert logits.argmax(1).tolist()[n : len(words)] == words[n:]


def test_mixed_decoding_needs_two_autoregressive_models() -> None:
    source, options = random_sources(30, rows=2), DecodingOptions(beam=1)
    with pytest.raises(UserError, match="two autoregressive models"):
        mixed(ToyRefiner(iterations=1), ToyWriter(30), source, first_tokens=2, options=options)
    with pytest.raises(UserError, match="0 or more tokens, but -1"):
        mixed(ToyWriter(30), ToyWriter(30), source, first_tokens=-1, options=options)
