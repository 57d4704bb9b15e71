"""The vanilla NAT: copying, lengths, one pass, and that padding and neighbours change nothing."""

import pytest
import torch
import torch.nn.functional as F

from seqdistill.data.batches import Batch, collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.errors import UserError
from seqdistill.models.interface import Memory, RefinementModel
from seqdistill.models.nat import NAT, NATConfig, copy_positions, masks
from seqdistill.text.tokenizer import BOS, EOS, MASK, PAD, UNK

VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [UNK, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes) -> NAT:
    return NAT(NATConfig(VOCAB, VOCAB, **{**SMALL, **sizes})).eval()


def test_meets_the_protocols() -> None:
    model = small()
    assert isinstance(model, RefinementModel) and model.parallel and model.iterations == 1
    assert isinstance(model.encode(collate_sources([[5]])), Memory)


def test_base_size_of_the_paper() -> None:
    """Vaswani et al.'s base: 4 d^2 + 2 d f weights in an encoder layer, 8 d^2 + 2 d f in a decoder's."""
    with torch.device("meta"):
        model = NAT(NATConfig(37_009, 37_009))
    d, f = 512, 2048
    attention, feed_forward, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    layers = 6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm)
    expected = 37_009 * d + layers + 2 * norm + (d * 256 + 256)
    assert sum(weight.numel() for weight in model.parameters()) == expected


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
        states = model.encode(source).states
        length = F.cross_entropy(model.length(states.mean(1)), torch.tensor([4]))
        torch.testing.assert_close(loss.total, words + 0.1 * length * 4)
        assert loss.count == 4

    @pytest.mark.parametrize("length", ["offset", "absolute"])
    def test_batch_of_one_is_batch_of_many(self, length: str) -> None:
        model = small(length=length)
        together, alone = model.loss(collate(PAIRS)), [model.loss(collate([pair])) for pair in PAIRS]
        torch.testing.assert_close(together.total, torch.stack([loss.total for loss in alone]).sum())
        assert together.count == sum(loss.count for loss in alone) == 10

    def test_amount_of_padding_changes_nothing(self) -> None:
        model, batch = small(), collate(PAIRS)
        wider = batch._replace(source=F.pad(batch.source, (0, 9)), target=F.pad(batch.target, (0, 5)))
        torch.testing.assert_close(model.loss(wider).total, model.loss(batch).total)

    def test_unknown_words_are_no_masks(self) -> None:
        """Public code reuses one id for both: then a target's unknown words are taken for masks."""
        model = small()
        assert UNK != MASK
        batch = collate([([5, 6], [UNK, 7])])
        loss = model.loss(batch)
        logits = model(batch.source, torch.tensor([2]))[0].log_softmax(-1)
        length = model.length(model.encode(batch.source).states.mean(1)).log_softmax(-1)[0, 128]
        torch.testing.assert_close(loss.total, -logits[0, UNK] - logits[1, 7] - 0.1 * 2 * length)

    def test_gradient_reaches_every_parameter(self) -> None:
        model = small(tied=False)
        model.loss(collate(PAIRS)).total.backward()
        without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert without == []

    def test_length_without_a_class(self) -> None:
        with pytest.raises(UserError, match=r"line 8 .*: 256 target tokens.* allow at most 255"):
            small(length="absolute").loss(collate([([5], [6]), ([5] * 10, [6] * 256)], index=[2, 7]))

    @pytest.mark.parametrize(
        ("source", "target", "nearest"), [(10, 300, 255), (10, 137, 255), (200, 1, 0), (129, 1, 0)]
    )
    def test_lengths_beyond_the_offsets_count_as_the_outermost(self, source: int, target: int, nearest: int) -> None:
        model = small(length="offset")
        found = model._length_classes(torch.tensor([source]), torch.tensor([target]), torch.tensor([0]))
        assert found.tolist() == [nearest]
        assert model.loss(collate([([5] * source, [6] * target)])).total.isfinite()

    @pytest.mark.parametrize(
        ("length", "source", "target"), [("absolute", 3, 255), ("offset", 10, 137), ("offset", 129, 1)]
    )
    def test_longest_length_with_a_class(self, length: str, source: int, target: int) -> None:
        assert small(length=length).loss(collate([([5] * source, [6] * target)])).total.isfinite()


class TestDecoding:
    @pytest.mark.parametrize(("length", "shift"), [("absolute", 0), ("offset", 3 - 128)])
    def test_start_has_the_most_probable_lengths(self, length: str, shift: int) -> None:
        model = small(length=length)
        memory = model.encode(collate_sources([[5, 6, 7]]))
        with torch.no_grad():
            model.length.weight.zero_()
            model.length.bias.zero_()
            model.length.bias[torch.tensor([2, 5, 1, 0]) - shift] = torch.tensor([3.0, 2.0, 1.0, 9.0])
        canvas = model.start(memory, candidates=3)
        assert (canvas.tokens == MASK).sum(1).tolist() == [2, 5, 1]  # and never 0
        assert canvas.tokens[0].tolist() == [MASK, MASK, PAD, PAD, PAD]
        assert canvas.length_log_probs.diff().tolist() == pytest.approx([-1, -1])
        assert not canvas.log_probs.any()

    def test_one_pass_is_the_argmax_of_the_logits(self) -> None:
        model, source = small(), collate_sources([source for source, _ in PAIRS])
        canvas = model.start(model.encode(source), candidates=1)
        limits = torch.full((len(PAIRS),), 99)
        written = model.refine(canvas, model.encode(source), step=0, iterations=1, limits=limits, penalty=0.0)
        assert written.passes.tolist() == [1] * len(PAIRS)
        lengths = (canvas.tokens != PAD).sum(1)
        log_probs = (
            model(source, lengths).index_fill(2, torch.tensor([PAD, BOS, EOS, MASK]), -torch.inf).log_softmax(-1)
        )
        for row, length in enumerate(lengths.tolist()):
            best = log_probs[row, :length].max(-1)
            assert written.tokens[row, :length].tolist() == best.indices.tolist()
            torch.testing.assert_close(written.log_probs[row, :length], best.values)
            assert not written.tokens[row, length:].any() and not written.log_probs[row, length:].any()

    def test_never_writes_a_special_symbol_but_unknown(self) -> None:
        model = small()
        with torch.no_grad():
            model.source_embedding.weight[[PAD, BOS, EOS, MASK]] *= 30
        hypotheses = decode(model, collate_sources([source for source, _ in PAIRS]), DecodingOptions())
        assert all(token not in (PAD, BOS, EOS, MASK) for group in hypotheses for token in group[0].tokens)

    @pytest.mark.parametrize("beam", [1, 3])
    def test_batch_of_one_is_batch_of_many(self, beam: int) -> None:
        model, sources = small(), [source for source, _ in PAIRS]
        options = DecodingOptions(beam=beam)
        together = decode(model, collate_sources(sources), options)
        for source, hypotheses in zip(sources, together, strict=True):
            (alone,) = decode(model, collate_sources([source]), options)
            assert alone[0].tokens == hypotheses[0].tokens
            assert alone[0].score == pytest.approx(hypotheses[0].score, abs=1e-4)

    def test_memory_follows_its_rows(self) -> None:
        model = small()
        memory = model.encode(collate_sources([[5, 6], [7], [8, 9, 10]]))
        chosen = memory.select(torch.tensor([2, 0, 0]))
        assert chosen.lengths.tolist() == [3, 2, 2]
        torch.testing.assert_close(chosen.states, memory.states[[2, 0, 0]])

    @pytest.mark.parametrize("candidates", [0, 128])
    def test_more_lengths_than_there_are(self, candidates: int) -> None:
        model = small()
        with pytest.raises(UserError, match=f"tries 1 to 127 lengths, but beam is {candidates}"):
            model.start(model.encode(collate_sources([[5]])), candidates=candidates)

    def test_every_length_there_is(self) -> None:
        canvas = small().start(small().encode(collate_sources([[], [5]])), candidates=127)
        assert canvas.length_log_probs.isfinite().all() and (canvas.tokens[:, 0] == MASK).all()


@pytest.mark.parametrize("length", ["offset", "absolute"])
def test_learns_to_copy_in_a_single_pass(length: str) -> None:
    model = small(dim=32, ffn_dim=64, encoder_layers=1, decoder_layers=1, length=length).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.loss(copies(48))
        (loss.total / loss.count).backward()
        optimizer.step()
    unseen = copies(48)
    hypotheses = decode(model.eval(), unseen.source, DecodingOptions())
    targets = [tuple(row[: row.index(EOS)]) for row in unseen.target.tolist()]
    right = sum(group[0].tokens == target for group, target in zip(hypotheses, targets, strict=True))
    assert right >= 43


def copies(count: int) -> Batch:
    lengths = torch.randint(1, 9, (count,)).tolist()
    sentences = [torch.randint(5, VOCAB, (length,)).tolist() for length in lengths]
    return collate([(words, words) for words in sentences])


def test_masks_by_hand() -> None:
    assert masks(torch.tensor([1, 3])).tolist() == [[MASK, PAD, PAD], [MASK, MASK, MASK]]


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
