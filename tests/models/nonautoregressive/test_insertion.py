"""The Insertion Transformer: what slots miss, the loss by its definition, and what an iteration inserts."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqdistill.data.batches import collate, collate_sources
from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive import insertion
from seqdistill.models.nonautoregressive.configs import InsertionTransformerConfig
from seqdistill.models.nonautoregressive.insertion import (
    InsertionTransformer,
    slot_loss,
    slot_targets,
)
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

VOCAB = 20
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
A, B, C = 5, 6, 7


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes) -> InsertionTransformer:
    return InsertionTransformer(InsertionTransformerConfig(VOCAB, VOCAB, **{**SMALL, **sizes})).eval()


def test_base_size_of_the_paper() -> None:
    """A base Transformer and a map of two states to one; 4 d^2 + 2 d f weights in an encoder layer, 8 d^2 + 2 d f in a
    decoder's."""
    with torch.device("meta"):
        model = InsertionTransformer(InsertionTransformerConfig(37_009, 37_009))
    d, f = 512, 2048
    attention, feed_forward, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    layers = 6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm)
    expected = 37_009 * d + layers + 2 * norm + (2 * d * d + d)
    assert sum(weight.numel() for weight in model.parameters()) == expected


class TestSlots:
    def test_what_is_missing_where_by_hand(self) -> None:
        words = torch.tensor([[A, B, A, A, C], [A, B, PAD, PAD, PAD], [A, B, PAD, PAD, PAD], [PAD] * 5])
        part = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
        missing, slot, counts, there = slot_targets(words, part, padding=PAD)
        assert missing.long().tolist() == [[1, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5, [0] * 5]
        assert slot[missing].tolist() == [0, 1, 1, 1, 0, 0]
        assert counts.tolist() == [[1, 3, 0], [2, 0, 0], [0, 0, 0], [0, 0, 0]]
        assert there.long().tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]]

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_loss_is_the_definition_also_with_repeated_words(self, smoothing: float) -> None:
        """Slot by slot, with a distribution written out. In b [a a c] the word a has probability 2/3, not 1/3."""
        words, part, gaps = examples()
        hidden = torch.randn(4, 3, 8, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(VOCAB, 8, dtype=torch.float64, requires_grad=True)
        found = slot_loss(hidden, weight, words, part, OURS, label_smoothing=smoothing)
        expected = torch.zeros((), dtype=torch.float64)
        for row, sentence in enumerate(gaps):
            mean = torch.zeros((), dtype=torch.float64)
            for slot, missing in enumerate(sentence):
                wanted = torch.zeros(VOCAB, dtype=torch.float64)
                for word in missing or [EOS]:
                    wanted[word] += 1 / max(len(missing), 1)
                wanted = (1 - smoothing) * wanted + smoothing / VOCAB
                mean = mean - wanted @ F.linear(hidden[row, slot], weight).log_softmax(-1) / len(sentence)
            expected = expected + mean * int((words[row] != PAD).sum())
        torch.testing.assert_close(found, expected)
        for ours, definition in zip(
            torch.autograd.grad(found, (hidden, weight)), torch.autograd.grad(expected, (hidden, weight)), strict=True
        ):
            torch.testing.assert_close(ours, definition)

    def test_the_best_distribution_is_uniform_over_what_is_missing(self) -> None:
        """Its loss is the entropy: log 3 - 2/3 log 2 for [a a c]; that of the other slots is 0 or log 2."""
        words, part, _ = examples()
        logits = torch.full((4, 3, VOCAB), -60.0, dtype=torch.float64)
        logits[0, 0, A] = logits[1, 0, A] = logits[1, 0, B] = 0
        logits[0, 1, A], logits[0, 1, C] = math.log(2), 0
        logits[2, :, EOS] = 0
        found = slot_loss(logits, torch.eye(VOCAB, dtype=torch.float64), words, part, OURS, label_smoothing=0.0)
        assert found.item() == pytest.approx(5 * (math.log(3) - 2 / 3 * math.log(2)) / 2 + 2 * math.log(2))


def examples() -> tuple[Tensor, Tensor, list[list[list[int]]]]:
    """Words, which are there, and what each slot misses."""
    words = torch.tensor([[A, B, A, A, C], [A, B, PAD, PAD, PAD], [A, B, PAD, PAD, PAD], [PAD] * 5])
    part = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    return words, part, [[[A], [A, A, C]], [[A, B]], [[], [], []], [[]]]


def test_loss_reads_the_kept_words_and_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `forward`, which gives the logits of every slot."""
    model = small()
    part = torch.tensor([[False, True, False, True], [True, False, False, False]])
    monkeypatch.setattr(insertion, "random_part", lambda words, *, padding: part)
    batch = collate([([8, 9], [A, B, C, A]), ([10], [B, C])])
    loss = model.loss(batch)
    assert loss.count == 6
    first, second = (
        model(collate_sources([source]), torch.tensor([kept]))[0].log_softmax(-1)
        for source, kept in (([8, 9], [B, A]), ([10], [B]))
    )
    expected = -4 / 3 * (first[0, A] + first[1, C] + first[2, EOS]) - (second[0, EOS] + second[1, C])
    torch.testing.assert_close(loss.total, expected)


class TestRefinement:
    """With logits that are set: the slot's map returns zeros, so every slot's logits are those of its bias."""

    def test_every_slot_inserts_its_best_word(self) -> None:
        """The canvas after an iteration, from the logits of `forward` one slot at a time."""
        model, source = small(), collate_sources([[8, 9, 10], [11]])
        canvas = canvas_of([[A, B], [C]])
        with torch.no_grad():
            after = step(model, source, canvas, penalty=1.0)
            for row, words in enumerate(([A, B], [C])):
                log_probs = model(source[row, : 4 - 2 * row][None], torch.tensor([words]))[0]
                log_probs[:, [PAD, UNK, BOS, MASK]] = -torch.inf
                log_probs = log_probs.log_softmax(-1)
                log_probs[:, EOS] -= 1.0
                expected, scores = [], []
                for slot, best in enumerate(log_probs.argmax(-1).tolist()):
                    if best != EOS:
                        expected.append(best)
                        scores.append(float(log_probs[slot, best]))
                    expected += words[slot : slot + 1]
                    scores += [-0.25] * len(words[slot : slot + 1])
                assert after.tokens[row, : len(expected)].tolist() == expected
                assert after.log_probs[row, : len(expected)].tolist() == pytest.approx(scores, abs=1e-5)
                assert not after.tokens[row, len(expected) :].any()
        assert after.passes.tolist() == [4, 4]

    def test_the_penalty_is_what_the_end_of_a_slot_must_win_by(self) -> None:
        model = constant({EOS: 3.0, A: 2.0})
        canvas, source = canvas_of([[B]]), collate_sources([[8]])
        assert step(model, source, canvas, penalty=0.9).tokens.tolist() == [[B]]
        assert step(model, source, canvas, penalty=1.1).tokens.tolist() == [[A, B, A]]

    def test_a_finished_sentence_stays(self) -> None:
        """All slots end: nothing changes, whatever the room."""
        canvas = canvas_of([[A, B], []])
        after = step(constant({EOS: 1.0}), collate_sources([[8], [9]]), canvas)
        assert torch.equal(after.tokens, canvas.tokens) and torch.equal(after.log_probs, canvas.log_probs)

    def test_never_longer_than_its_limit(self) -> None:
        """Doubles and adds one until the limit cuts it; each row has its own."""
        model, source = constant({A: 1.0}), collate_sources([[8], [8], [8]])
        canvas, limits = canvas_of([[], [], []]), torch.tensor([100, 5, 3])
        for lengths in ([1, 1, 1], [3, 3, 3], [7, 5, 3], [15, 5, 3]):
            canvas = step(model, source, canvas, limits=limits)
            assert (canvas.tokens != PAD).sum(1).tolist() == lengths

    def test_room_is_for_the_most_probable_words(self) -> None:
        model, source, canvas = small(), collate_sources([[8, 9, 10]]), canvas_of([[A, B, C]])
        with torch.no_grad():
            everything = step(model, source, canvas, penalty=99.0)
            assert everything.tokens.shape[1] == 7
            best = everything.log_probs[0, ::2].argsort(descending=True)[:2]
            some = step(model, source, canvas, penalty=99.0, limits=torch.tensor([5]))
        kept = sorted([1, 3, 5, *(2 * best).tolist()])
        assert some.tokens[0].tolist() == everything.tokens[0, kept].tolist()


def canvas_of(rows: list[list[int]]) -> Canvas:
    """Written with a log-probability of -0.25 a word, in three passes."""
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows], dtype=torch.int64)
    return Canvas(tokens, -0.25 * (tokens != PAD), torch.zeros(len(rows)), torch.full((len(rows),), 3))


def step(
    model: InsertionTransformer, source: Tensor, canvas: Canvas, *, limits: Tensor | None = None, penalty: float = 0.0
) -> Canvas:
    limits = torch.full((len(source),), 99) if limits is None else limits
    return model.refine(canvas, model.encode(source), step=0, iterations=10, limits=limits, penalty=penalty)


def constant(logits: dict[int, float]) -> InsertionTransformer:
    """Predicts the same for every slot: these logits, and much less for all other words."""
    model = small(tied=False)
    with torch.no_grad():
        model.slot.weight.zero_()
        model.slot.bias.copy_(F.one_hot(torch.tensor(0), model.config.dim))
        model.target_embedding.weight[:, 0] = -50
        for word, logit in logits.items():
            model.target_embedding.weight[word, 0] = logit
    return model
