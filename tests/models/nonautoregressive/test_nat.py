"""The vanilla NAT: copying, lengths, one pass, and that padding and neighbours change nothing."""

import pytest
import torch
import torch.nn.functional as F

from seqdistill.data.batches import collate, collate_sources
from seqdistill.errors import UserError
from seqdistill.models.nonautoregressive.configs import NATConfig
from seqdistill.models.nonautoregressive.nat import NAT
from seqdistill.models.nonautoregressive.shared.copying import copy_positions
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [UNK, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes) -> NAT:
    return NAT(NATConfig(VOCAB, VOCAB, **{**SMALL, **sizes})).eval()


class TestCopying:
    @pytest.mark.parametrize(
        ("source", "target", "expected"),
        [
            (5, 5, [0, 1, 2, 3, 4]),
            (5, 3, [0, 2, 4]),
            (3, 5, [0, 1, 1, 2, 2]),  # 0, .5, 1, 1.5, 2
            (4, 8, [0, 0, 1, 1, 2, 2, 3, 3]),  # multiples of 3/7
            (7, 4, [0, 2, 4, 6]),
            (6, 4, [0, 2, 3, 5]),  # multiples of 5/3
            (5, 1, [0]),
            (1, 4, [0, 0, 0, 0]),
            (0, 2, [0, 0]),  # an empty source has its EOS
        ],
    )
    def test_positions_by_hand(self, source: int, target: int, expected: list[int]) -> None:
        assert copy_positions(torch.tensor([source]), torch.tensor([target])).tolist() == [expected]

    def test_rows_do_not_mix_and_padding_stays_inside_the_source(self) -> None:
        positions = copy_positions(torch.tensor([5, 2]), torch.tensor([3, 6]))
        assert positions[0, :3].tolist() == [0, 2, 4] and positions[1].tolist() == [0, 0, 0, 1, 1, 1]
        assert (positions < torch.tensor([[5], [2]])).all()

    def test_decoder_reads_copies_with_target_positions(self) -> None:
        """A decoder without layers shows its input: the word vectors of the source, stretched."""
        model = small()
        model.decoder.layers, model.decoder.norm = torch.nn.ModuleList(), torch.nn.Identity()
        embedding = model.source_embedding
        logits = model(collate_sources([[7, 8, 9]]), torch.tensor([5]))
        expected = embedding.weight[[7, 8, 8, 9, 9]] * 4 + embedding.positions_to(5)
        torch.testing.assert_close(logits[0], expected @ embedding.weight.T)


class TestLoss:
    def test_is_the_words_cross_entropy_and_a_tenth_of_the_lengths(self) -> None:
        model = small(length="absolute")
        source, target = collate_sources([[5, 6, 7]]), [8, 9, 8, 9]
        loss = model.loss(collate([([5, 6, 7], target)]), label_smoothing=0.1)
        logits = model(source, torch.tensor([4]))[0]
        words = F.cross_entropy(logits, torch.tensor(target), reduction="sum", label_smoothing=0.1)
        length = F.cross_entropy(model.length(*model.encode(source)[::2]), torch.tensor([4]))
        torch.testing.assert_close(loss.total, words + 0.1 * length * 4)
        assert loss.count == 4

    def test_unknown_words_are_no_masks(self) -> None:
        """Public code reuses one id for both: then a target's unknown words are taken for masks."""
        model = small()
        assert UNK != MASK
        batch = collate([([5, 6], [UNK, 7])])
        loss = model.loss(batch)
        logits = model(batch.source, torch.tensor([2]))[0].log_softmax(-1)
        length = model.length(*model.encode(batch.source)[::2]).log_softmax(-1)[0, 128]
        torch.testing.assert_close(loss.total, -logits[0, UNK] - logits[1, 7] - 0.1 * 2 * length)


class TestDecoding:
    def test_one_pass_is_the_argmax_of_the_logits(self) -> None:
        model, source = small(), collate_sources([source for source, _ in PAIRS])
        canvas = model.start(model.encode(source), candidates=1)
        limits = torch.full((len(PAIRS),), 99)
        written = model.refine(canvas, model.encode(source), step=0, iterations=1, limits=limits, penalty=0.0)
        assert written.passes.tolist() == [1] * len(PAIRS)
        lengths = (canvas.tokens != PAD).sum(1)
        log_probs = (
            model(source, lengths).index_fill(2, torch.tensor([PAD, UNK, BOS, EOS, MASK]), -torch.inf).log_softmax(-1)
        )
        for row, length in enumerate(lengths.tolist()):
            best = log_probs[row, :length].max(-1)
            assert written.tokens[row, :length].tolist() == best.indices.tolist()
            torch.testing.assert_close(written.log_probs[row, :length], best.values)
            assert not written.tokens[row, length:].any() and not written.log_probs[row, length:].any()

    def test_memory_follows_its_rows(self) -> None:
        model = small()
        memory = model.encode(collate_sources([[5, 6], [7], [8, 9, 10]]))
        chosen = memory.select(torch.tensor([2, 0, 0]))
        assert chosen.lengths.tolist() == [3, 2, 2]
        torch.testing.assert_close(chosen.states, memory.states[[2, 0, 0]])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 3}, "divisible by heads, but dim is 512 and heads 3"),
        ({"decoder_layers": 0}, "decoder_layers must be 1 or more, but is 0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, but is -0.1"),
        ({"target_vocab": 30}, "the source has 20 tokens and the target 30: prepare the data with a joint vocabulary"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NATConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **sizes})
