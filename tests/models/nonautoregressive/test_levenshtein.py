"""The Levenshtein Transformer: its labels and losses, what an iteration does, and how many decoder runs it takes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqdistill.data.batches import collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive import levenshtein
from seqdistill.models.nonautoregressive.configs import LevenshteinTransformerConfig
from seqdistill.models.nonautoregressive.levenshtein import LevenshteinTransformer
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

VOCAB = 20
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
A, B, C, D = 5, 6, 7, 8
KEEP, DELETE = 0, 1


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes) -> LevenshteinTransformer:
    return LevenshteinTransformer(LevenshteinTransformerConfig(VOCAB, VOCAB, **{**SMALL, **sizes})).eval()


@pytest.mark.parametrize(("d", "f", "sizes"), [(512, 2048, {}), (1024, 4096, {"dim": 1024, "ffn_dim": 4096})])
def test_sizes_of_the_paper(d: int, f: int, sizes: dict[str, int]) -> None:
    """A Transformer, base or big, and two heads; 4 d^2 + 2 d f weights in an encoder layer, 8 d^2 + 2 d f in a
    decoder's."""
    with torch.device("meta"):
        model = LevenshteinTransformer(LevenshteinTransformerConfig(37_009, 37_009, **sizes))
    attention, feed_forward, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    layers = 6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm)
    expected = 37_009 * d + layers + 2 * norm + (d + 1) * 2 + (2 * d + 1) * 256
    assert sum(weight.numel() for weight in model.parameters()) == expected


class TestLoss:
    def test_of_all_heads_by_hand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a b c d the words b and d are left, and the word head guesses d a for the missing a and c.

        Placeholders before b, d and at the end: 1, 1, 0; words: a, c. Of d b a d either b or a can be kept besides the
        last d; a stands earlier in the target.
        """
        model = small()
        monkeypatch.setattr(
            levenshtein, "random_part", lambda words, *, padding: torch.tensor([[False, True, False, True]])
        )
        guess_words(monkeypatch, [D, A])
        batch = collate([([9, 10], [A, B, C, D])])
        loss = model.loss(batch, label_smoothing=0.1)
        assert loss.count == 4
        memory = model.encode(batch.source)

        def states(*tokens: int) -> Tensor:
            ends = torch.tensor([[BOS, *tokens, EOS]])
            mask = torch.ones_like(ends).bool()
            return model.decoder(model.target_embedding(ends), mask, memory.states, memory.mask, causal=False)[0]

        pairs = states(B, D)
        counts = model.placeholders(torch.cat([pairs[:-1], pairs[1:]], dim=1)).log_softmax(-1)
        words = F.linear(states(MASK, B, MASK, D)[[1, 3]], model.target_embedding.weight)
        fates = model.deletion(states(D, B, A, D)[1:-1]).log_softmax(-1)
        torch.testing.assert_close(
            loss.total,
            F.cross_entropy(words, torch.tensor([A, C]), reduction="sum", label_smoothing=0.1)
            - (counts[0, 1] + counts[1, 1] + counts[2, 0])
            - (fates[0, DELETE] + fates[1, DELETE] + fates[2, KEEP] + fates[3, KEEP]),
        )

    def test_deletions_are_learned_from_the_words_the_model_would_write(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The guesses are those of a fill pass, and no gradient flows through them."""
        model, batch = small(), collate([([9, 10], [A, B, C, D]), ([11], [B, A])])
        nothing = torch.zeros(2, 4, dtype=torch.bool)
        monkeypatch.setattr(levenshtein, "random_part", lambda words, *, padding: nothing)
        tokens = torch.tensor([[MASK] * 4, [MASK] * 2 + [PAD] * 2])
        canvas = Canvas(tokens, torch.zeros(2, 4), torch.zeros(2), torch.zeros(2).long())
        with torch.no_grad():
            written = model._fill(canvas, model.encode(batch.source))
        gradients = []
        for _ in range(2):
            model.zero_grad()
            model.loss(batch).total.backward()
            gradients.append([weight.grad for weight in model.parameters()])
            guess_words(monkeypatch, written.tokens[tokens == MASK].tolist())
        for found, with_constants in zip(*gradients, strict=True):
            torch.testing.assert_close(found, with_constants)

    def test_a_whole_target_teaches_to_leave_it_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No word is missing: all placeholder counts are 0, and all words are kept."""
        model, batch = small(), collate([([9], [A, B])])
        monkeypatch.setattr(levenshtein, "random_part", lambda words, *, padding: words != PAD)
        with torch.no_grad():
            model.placeholders.weight.zero_()
            model.deletion.weight.zero_()
        counts, fates = model.placeholders.bias.log_softmax(0)[0], model.deletion.bias.log_softmax(0)[KEEP]
        torch.testing.assert_close(model.loss(batch).total, -3 * counts - 2 * fates)

    def test_target_that_placeholders_cannot_express(self) -> None:
        batch = collate([([9], [A]), ([9], [A] * 256)], index=[2, 7])
        with pytest.raises(UserError, match=r"line 8 .*: 256 target tokens.*255 at a place; leave such pairs out"):
            small().loss(batch)
        assert small().loss(collate([([9], [A] * 255)])).total.isfinite()


def guess_words(monkeypatch: pytest.MonkeyPatch, words: list[int]) -> None:
    """Replaces what the word head finds most probable."""
    answer = torch.tensor(words), torch.zeros(len(words))
    monkeypatch.setattr(levenshtein, "most_probable", lambda states, weight, *, forbidden: answer)


class TestIteration:
    """With heads that always say the same, unless told otherwise."""

    def test_deletes_then_inserts_then_fills(self) -> None:
        """By the heads' own predictions, taken apart: the words that stay keep their log-probabilities."""
        model, source = small(), collate_sources([[9, 10], [11]])
        memory, canvas = model.encode(source), canvas_of([[A, B, C], [D]])
        with torch.no_grad():
            after = step(model, source, canvas, penalty=2.0)
            for row, words in enumerate(([A, B, C], [D])):
                mine = memory.select(torch.tensor([row]))
                fates = model.deletion(model._states(torch.tensor([words]), mine)[0, 1:-1]).argmax(-1).tolist()
                left = [word for word, fate in zip(words, fates, strict=True) if fate == KEEP]
                states = model._states(torch.tensor([left], dtype=torch.int64), mine)[0]
                counts = model.placeholders(torch.cat([states[:-1], states[1:]], dim=1))
                counts[:, 0] -= 2.0
                masked, kept = [], []
                for slot, count in enumerate(counts.argmax(-1).tolist()):
                    masked += [MASK] * count + left[slot : slot + 1]
                    kept += [False] * count + [True] * len(left[slot : slot + 1])
                words_there = F.linear(
                    model._states(torch.tensor([masked]), mine)[0, 1:-1], model.target_embedding.weight
                )
                words_there[:, [PAD, UNK, BOS, EOS, MASK]] = -torch.inf
                best = words_there.log_softmax(-1).max(-1)
                expected = torch.where(torch.tensor(kept), torch.tensor(masked), best.indices)
                assert after.tokens[row, : len(masked)].tolist() == expected.tolist()
                scores = torch.where(torch.tensor(kept), -0.25, best.values)
                torch.testing.assert_close(after.log_probs[row, : len(masked)], scores, rtol=1e-4, atol=1e-4)
                assert not after.tokens[row, len(masked) :].any()

    def test_runs_are_counted_for_the_rows_they_concern(self) -> None:
        """Nothing there to delete: 2; no room: 1; otherwise 3; and one less where no placeholder is inserted."""
        source = collate_sources([[9], [9], [9]])
        canvas, limits = canvas_of([[], [A, B, C], [A]]), torch.tensor([9, 3, 9])
        after = step(heads(delete=False, placeholders=1), source, canvas, limits=limits)
        assert (after.passes - canvas.passes).tolist() == [2, 1, 3]
        assert (after.tokens != PAD).sum(1).tolist() == [1, 3, 3]
        after = step(heads(delete=False, placeholders=0), source, canvas, limits=limits)
        assert (after.passes - canvas.passes).tolist() == [1, 1, 2]
        assert torch.equal(after.tokens, canvas.tokens) and torch.equal(after.log_probs, canvas.log_probs)
        after = step(heads(delete=True, placeholders=2), source, canvas, limits=limits)
        assert (after.passes - canvas.passes).tolist() == [2, 3, 3]
        assert (after.tokens != PAD).sum(1).tolist() == [2, 2, 2]

    def test_everything_deleted_and_nothing_inserted(self) -> None:
        after = step(heads(delete=True, placeholders=0), collate_sources([[9], [9]]), canvas_of([[A], [B, C]]))
        assert after.tokens.shape == (2, 0) and after.passes.tolist() == [5, 5]

    def test_never_longer_than_its_limit_although_each_slot_may_be(self) -> None:
        """255 in each of four slots would be a thousand words; the limit is on the whole sentence."""
        model, source = heads(delete=False, placeholders=255), collate_sources([[9], [9], [9]])
        canvas = step(model, source, canvas_of([[], [A, B, C], [A]]), limits=torch.tensor([1, 7, 300]))
        assert (canvas.tokens != PAD).sum(1).tolist() == [1, 7, 300]
        found = decode(model, collate_sources([[9] * 30, [9]]), DecodingOptions(beam=1, max_length=40))
        assert [len(hypotheses[0].tokens) for hypotheses in found] == [40, 13]

    def test_the_penalty_is_what_no_placeholder_must_win_by(self) -> None:
        model, source, canvas = heads(delete=False, placeholders=0), collate_sources([[9]]), canvas_of([[A]])
        with torch.no_grad():
            model.placeholders.bias[2] = 49
        assert step(model, source, canvas, penalty=0.9).tokens.tolist() == [[A]]
        assert step(model, source, canvas, penalty=1.1).tokens.shape == (1, 5)


def canvas_of(rows: list[list[int]]) -> Canvas:
    """Written with a log-probability of -0.25 a word, in three passes."""
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows], dtype=torch.int64)
    return Canvas(tokens, -0.25 * (tokens != PAD), torch.zeros(len(rows)), torch.full((len(rows),), 3))


def step(
    model: LevenshteinTransformer, source: Tensor, canvas: Canvas, *, limits: Tensor | None = None, penalty: float = 0.0
) -> Canvas:
    limits = torch.full((len(source),), 999) if limits is None else limits
    return model.refine(canvas, model.encode(source), step=0, iterations=10, limits=limits, penalty=penalty)


def heads(*, delete: bool, placeholders: int) -> LevenshteinTransformer:
    """Deletes every word or none, and finds so many missing everywhere."""
    model = small()
    with torch.no_grad():
        for head, answer in ((model.deletion, int(delete)), (model.placeholders, placeholders)):
            head.weight.zero_()
            head.bias.zero_()
            head.bias[answer] = 50
    return model
