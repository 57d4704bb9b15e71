"""Iterative refinement: what is read in which iteration, the pooled loss, and corruption by hand."""

import pytest
import torch
import torch.nn.functional as F

from seqdistill.data.batches import collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive import inat
from seqdistill.models.nonautoregressive.configs import INATConfig
from seqdistill.models.nonautoregressive.inat import INAT, corrupt
from seqdistill.models.nonautoregressive.shared.canvas import masks
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [16, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**options) -> INAT:
    return INAT(INATConfig(VOCAB, VOCAB, **{**SMALL, **options})).eval()


def logits_of(model: INAT, vectors: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Of one sentence whose decoder reads these word vectors, written out."""
    memory = model.encode(source)
    inputs = vectors + model.target_embedding.positions_to(vectors.shape[1])
    states = model.decoder(
        inputs, torch.ones(1, vectors.shape[1], dtype=torch.bool), memory.states, memory.mask, causal=False
    )
    return states @ model.target_embedding.weight.T


class TestIterations:
    def test_the_first_reads_the_source_and_the_others_the_canvas(self) -> None:
        model, source = small(), collate_sources([[7, 8, 9]])
        vectors = model.source_embedding.weight * 4
        copied = logits_of(model, vectors[[7, 8, 8, 9, 9]][None], source)
        written = [11, 12, 13, 14, 15]
        reread = logits_of(model, vectors[written][None], source)
        for step, logits, tokens in ((0, copied, masks(torch.tensor([5]), OURS)), (1, reread, torch.tensor([written]))):
            logits[..., [PAD, UNK, BOS, EOS, MASK]] = -torch.inf
            canvas = Canvas(tokens, torch.zeros(1, 5), torch.zeros(1), torch.tensor([step]))
            limits = torch.tensor([9])
            found = model.refine(canvas, model.encode(source), step=step, iterations=9, limits=limits, penalty=0.0)
            best = logits[0].log_softmax(-1).max(-1)
            assert found.tokens[0].tolist() == best.indices.tolist()
            torch.testing.assert_close(found.log_probs[0], best.values)
            assert found.passes.tolist() == [step + 1]

    def test_decoding_stops_when_an_output_comes_back(self) -> None:
        """By hand: the output of iteration t is refined once more, until it is its own refinement."""
        model, source = small(), collate_sources([[7, 8, 9]])
        (found,) = decode(model, source, DecodingOptions(beam=1, max_ratio=99.0))
        memory = model.encode(source)
        canvas, outputs = model.start(memory, candidates=1), []
        for step in range(10):
            canvas = model.refine(canvas, memory, step=step, iterations=10, limits=torch.tensor([99]), penalty=0.0)
            outputs.append(canvas.tokens[0].tolist())
            if outputs[-2:-1] == outputs[-1:]:
                break
        assert found[0].iterations == found[0].passes == len(outputs)
        assert list(found[0].tokens) == outputs[-1]


class TestLoss:
    def test_of_one_iteration_is_that_of_copies(self) -> None:
        model, target = small(train_iterations=1, length="absolute"), [8, 9, 8, 9, 10]
        batch = collate([([7, 8, 9], target)])
        loss = model.loss(batch, label_smoothing=0.1)
        vectors = model.source_embedding.weight[[7, 8, 8, 9, 9]][None] * 4
        logits = logits_of(model, vectors, batch.source)[0]
        words = F.cross_entropy(logits, torch.tensor(target), reduction="sum", label_smoothing=0.1)
        states = model.encode(batch.source).states.mean(1)
        length = F.cross_entropy(states @ model.length.weight.T + model.length.bias, torch.tensor([5]))
        torch.testing.assert_close(loss.total, words + 0.1 * length * 5)
        assert loss.count == 5

    def test_pools_iterations_on_predictions(self) -> None:
        """Without denoising: each iteration reads the argmax of the one before."""
        model, target = small(train_iterations=3, denoising=0.0), [8, 9, 8]
        batch = collate([([7, 8, 9], target)])
        loss = model.loss(batch)
        total, tokens = torch.zeros(()), [7, 8, 9]
        for _ in range(3):
            logits = logits_of(model, model.source_embedding.weight[tokens][None] * 4, batch.source)[0]
            total = total + F.cross_entropy(logits, torch.tensor(target), reduction="sum")
            logits[..., [PAD, UNK, BOS, EOS, MASK]] = -torch.inf
            tokens = logits.argmax(-1).tolist()
        length = model.length(*model.encode(batch.source)[::2]).log_softmax(-1)[0, 128]
        torch.testing.assert_close(loss.total, total - 0.1 * length * 9)
        assert loss.count == 9

    def test_denoising_reads_the_target_where_nothing_is_corrupted(self) -> None:
        model, target = small(train_iterations=2, denoising=1.0, corruption=0.0), [8, 9, 8]
        batch = collate([([7, 8, 9], target)])
        both, first = model.loss(batch), small(train_iterations=1)
        first.load_state_dict(model.state_dict())
        logits = logits_of(model, model.source_embedding.weight[target][None] * 4, batch.source)[0]
        second = F.cross_entropy(logits, torch.tensor(target), reduction="sum")
        length = model.length(*model.encode(batch.source)[::2]).log_softmax(-1)[0, 128]
        torch.testing.assert_close(both.total, first.loss(batch).total + second - 0.1 * length * 3)

    def test_batch_of_one_is_batch_of_many(self) -> None:
        model = small(denoising=0.0)
        together, alone = model.loss(collate(PAIRS)), [model.loss(collate([pair])) for pair in PAIRS]
        torch.testing.assert_close(together.total, torch.stack([loss.total for loss in alone]).sum())
        assert together.count == sum(loss.count for loss in alone) == 40

    def test_half_of_the_sentences_are_denoised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = small()
        monkeypatch.setattr(inat, "corrupt", lambda words, **_: torch.full_like(words, 19))
        words = torch.full((2000, 3), 7)
        inputs = model._next_input(words, torch.randn(2000, 1, 16).expand(-1, 3, -1))
        chosen = (inputs == 19).all(1)
        assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.05)
        assert not inputs.requires_grad


class TestCorruption:
    WORDS = torch.tensor([[5, 6, 7, 8], [9, 10, PAD, PAD], [11, PAD, PAD, PAD]])

    @pytest.mark.parametrize(
        ("draw", "expected"),
        [
            (0.99, [[5, 6, 7, 8], [9, 10, 0, 0], [11, 0, 0, 0]]),  # left alone
            (0.2, [[5, 5, 5, 5], [9, 9, 0, 0], [11, 0, 0, 0]]),  # each repeated over the next
            (0.3, [[6, 7, 8, 5], [10, 9, 0, 0], [11, 0, 0, 0]]),  # each swapped with the next: the first goes last
        ],
    )
    def test_by_hand(self, monkeypatch: pytest.MonkeyPatch, draw: float, expected: list[list[int]]) -> None:
        monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, draw))
        assert corrupt(self.WORDS, share=0.33, vocab=torch.arange(5, VOCAB), padding=PAD).tolist() == expected

    def test_replaces_by_words_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
        found = corrupt(self.WORDS.repeat(200, 1), share=0.33, vocab=torch.arange(5, VOCAB), padding=PAD)
        assert ((found == PAD) == (self.WORDS.repeat(200, 1) == PAD)).all()
        assert set(found[found != PAD].tolist()) == set(range(5, VOCAB))

    def test_about_a_ninth_each(self) -> None:
        """Of words that have a neighbour; pairs, so that nothing follows the second word."""
        words = torch.tensor([[5, 6]]).repeat(60_000, 1)
        found = corrupt(words, share=0.33, vocab=torch.arange(5, 10_000), padding=PAD)
        repeated, swapped = (found == torch.tensor([5, 5])).all(1), (found == torch.tensor([6, 5])).all(1)
        kept = (found == words).all(1)
        alone = 1 - 0.11
        assert repeated.float().mean().item() == pytest.approx(0.11 * alone, abs=0.005)
        assert swapped.float().mean().item() == pytest.approx(0.11 * alone, abs=0.005)
        assert kept.float().mean().item() == pytest.approx(0.67 * alone, abs=0.01)

    def test_length_stays(self) -> None:
        words = torch.where(torch.arange(9) < torch.randint(1, 10, (500, 1)), torch.randint(5, VOCAB, (500, 9)), PAD)
        assert ((corrupt(words, share=1.0, vocab=torch.arange(5, VOCAB), padding=PAD) == PAD) == (words == PAD)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_iterations": 0}, "train_iterations must be 1 or more, but is 0"),
        ({"denoising": 1.5}, "denoising must be a probability from 0 to 1, but is 1.5"),
        ({"corruption": -0.1}, "corruption must be a probability from 0 to 1, but is -0.1"),
        ({"heads": 3}, "divisible by heads, but dim is 512 and heads 3"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        INATConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **options})
