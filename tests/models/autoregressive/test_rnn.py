"""The recurrent encoder-decoder: its two ways of computing agree, its sizes are the paper's, and it learns."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqdistill.data.batches import collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import RNNConfig
from seqdistill.models.autoregressive.rnn import CELLS, RNN, SharedDropout
from seqdistill.models.interface import AutoregressiveModel, State
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import BOS, EOS, PAD

VOCAB = 20
SENTENCES = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14], [15]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(cell: str, **sizes) -> RNN:
    sizes = {"dim": 16, "embedding_dim": 8, "tied": True, **sizes}
    return RNN(RNNConfig(VOCAB, VOCAB, cell=cell, **sizes)).eval()


def test_a_seed_gives_the_same_weights_each_time() -> None:
    models = []
    for _ in range(8):
        torch.manual_seed(1)
        models.append(small("sru", tied=False))
    for name, tensor in models[0].state_dict().items():
        assert all(torch.equal(tensor, model.state_dict()[name]) for model in models), name


@pytest.mark.parametrize("cell", CELLS)
class TestEveryCell:
    def test_meets_the_protocols(self, cell: str) -> None:
        model = small(cell)
        assert isinstance(model, AutoregressiveModel) and not model.traits.non_autoregressive
        assert isinstance(model.encode(collate_sources(SENTENCES)), State)

    @pytest.mark.parametrize("projection", [0, 6])
    def test_steps_give_what_teacher_forcing_gives(self, cell: str, projection: int) -> None:
        model = small(cell, projection=projection, layers=3)
        source = collate_sources(SENTENCES)
        context = torch.cat([torch.full((4, 1), BOS), torch.randint(5, VOCAB, (4, 6))], 1)
        log_probs = model(source, context.roll(-1, 1)).log_softmax(-1)
        state = model.encode(source)
        for position, tokens in enumerate(context.unbind(1)):
            step, state = model.step(tokens, state)
            torch.testing.assert_close(step, log_probs[:, position])

    def test_groups_share_a_sentence_and_may_leave(self, cell: str) -> None:
        """Rows of a beam go through repeat and select, and score as they would alone."""
        model = small(cell)
        state = model.encode(collate_sources(SENTENCES)).repeat(2)
        written = torch.tensor([[BOS]] * 8)
        for rows in ([1, 1, 2, 3, 5, 4, 6, 6], [2, 3, 4, 4, 7, 6], [4, 5, 0, 1]):
            _, state = model.step(written[:, -1], state)
            written = torch.cat([written, torch.randint(5, VOCAB, (len(written), 1))], 1)
            state, written = state.select(torch.tensor(rows)), written[rows]
        step, _ = model.step(written[:, -1], state)
        survivors = [SENTENCES[3], SENTENCES[3], SENTENCES[1], SENTENCES[1]]  # groups 0-3, then 1-3, then 3 and 1
        alone = model(collate_sources(survivors), written.roll(-1, 1))[:, -1].log_softmax(-1)
        torch.testing.assert_close(step, alone)

    def test_batch_of_one_is_batch_of_many(self, cell: str) -> None:
        model = small(cell)
        together = model.loss(collate([(words, words[::-1]) for words in SENTENCES]))
        alone = [model.loss(collate([(words, words[::-1])])) for words in SENTENCES]
        torch.testing.assert_close(together.total, torch.stack([loss.total for loss in alone]).sum())
        assert together.count == sum(loss.count for loss in alone) == 15

    def test_amount_of_padding_changes_nothing(self, cell: str) -> None:
        model = small(cell)
        batch = collate([(words, words) for words in SENTENCES])
        wider = batch._replace(source=F.pad(batch.source, (0, 9)), target=F.pad(batch.target, (0, 5)))
        torch.testing.assert_close(model.loss(wider).total, model.loss(batch).total)

    def test_loss_is_the_cross_entropy_of_the_logits(self, cell: str) -> None:
        model = small(cell, tied=False)
        batch = collate([(words, words) for words in SENTENCES])
        logits = model(batch.source, batch.target).flatten(0, 1)
        expected = F.cross_entropy(
            logits, batch.target.flatten(), ignore_index=PAD, reduction="sum", label_smoothing=0.1
        )
        torch.testing.assert_close(model.loss(batch, label_smoothing=0.1).total, expected)

    def test_gradient_reaches_every_parameter(self, cell: str) -> None:
        model = small(cell, tied=False, projection=6, layers=3)
        model.loss(collate([(words, words) for words in SENTENCES])).total.backward()
        without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert without == []

    def test_trains_in_half_precision(self, cell: str) -> None:
        model = small(cell).train()
        batch = collate([(words, words) for words in SENTENCES])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(batch)
        loss.total.backward()
        exact = model.eval().loss(batch).total.item()
        assert loss.total.item() == pytest.approx(exact, rel=0.05)

    def test_learns_to_copy(self, cell: str) -> None:
        pairs = [(words, words) for words in sentences(40)]
        batch, model = collate(pairs), small(cell, dim=48, embedding_dim=24, dropout=0.0).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            loss = model.loss(batch)
            (loss.total / loss.count).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        decoded = decode(model.eval(), batch.source, DecodingOptions(beam=3))
        right = sum(hypotheses[0].tokens == tuple(words) for hypotheses, (words, _) in zip(decoded, pairs, strict=True))
        assert right >= 38


def sentences(count: int) -> list[list[int]]:
    lengths = torch.randint(1, 7, (count,)).tolist()
    return [torch.randint(5, VOCAB, (length,)).tolist() for length in lengths]


def test_decoder_layer_starts_where_its_encoder_layer_ended() -> None:
    """Both directions side by side; read with torch's own GRU, layer by layer."""
    model = small("gru")
    source = collate_sources(SENTENCES[:1])
    inputs = model.source_embedding(source.T)
    for depth, layer in enumerate(model.encoder.layers):
        inputs, final = layer.gru(inputs)
        torch.testing.assert_close(model.encode(source).cells[depth, 0, 0], final[:, 0].flatten())


def test_attention_by_hand() -> None:
    """tanh(W [h; context]) with one query, written out in plain sums."""
    model = small("sru", layers=1).double()
    source = collate_sources([[5, 6]])
    state = model.encode(source)
    decoded, _ = model.decoder(model.target_embedding(torch.tensor([[BOS]])), state.cells)
    query, memory = decoded[0, 0], state.values[0]
    weights = [math.exp((query @ (model.key.weight @ word)).item() / math.sqrt(16)) for word in memory]
    context = sum(weight / sum(weights) * word for weight, word in zip(weights, memory, strict=True))
    attentional = torch.tanh(model.attentional.weight @ torch.cat([query, context]) + model.attentional.bias)
    expected = model.output.weight @ attentional + model.output.bias
    torch.testing.assert_close(model.states(source, torch.tensor([[EOS]]))[0, 0], expected)


def parameters(config: RNNConfig) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in RNN(config).parameters())


class TestSizesOfThePaper:
    """Closed forms; an SRU layer of width d reading i has (3 if i = d else 4) i d + 4 d parameters a direction."""

    def test_two_layers_of_512(self) -> None:
        top = 512 * 512 + (1024 * 512 + 512) + (512 * 256 + 256)
        embedding = 14_000 * 256
        sru = 2 * (3 * 256 * 256 + 1024) + 2 * (4 * 512 * 256 + 1024) + (4 * 256 * 512 + 2048) + (3 * 512 * 512 + 2048)
        assert parameters(RNNConfig(14_000, 14_000, tied=True)) == embedding + sru + top == 7_262_976

        def gated(gates: int) -> int:
            def layer(read: int, width: int) -> int:
                return gates * (read * width + width * width + 2 * width)

            return 2 * layer(256, 256) + 2 * layer(512, 256) + layer(256, 512) + layer(512, 512)

        assert parameters(RNNConfig(14_000, 14_000, cell="gru", tied=True)) == embedding + gated(3) + top
        assert parameters(RNNConfig(14_000, 14_000, cell="lstm", tied=True)) == embedding + gated(4) + top

    @pytest.mark.parametrize(("layers", "vocab"), [(3, 14_000), (4, 32_000)])
    def test_layers_of_1024_with_projection_256(self, layers: int, vocab: int) -> None:
        encoder, decoder = 2 * (4 * 256 * 512 + 2048), 4 * 256 * 1024 + 4096
        projections = 2 * (layers - 1) * 1024 * 256
        top = 1024 * 1024 + (2048 * 1024 + 1024) + (1024 * 256 + 256)
        config = RNNConfig(vocab, vocab, dim=1024, layers=layers, projection=256, tied=True)
        assert parameters(config) == vocab * 256 + layers * (encoder + decoder) + projections + top

    def test_separate_vocabularies(self) -> None:
        difference = parameters(RNNConfig(9_000, 14_000)) - parameters(RNNConfig(14_000, 14_000, tied=True))
        assert difference == 9_000 * 256


def test_dropout_keeps_one_mask_over_time() -> None:
    dropped = SharedDropout(0.5)(torch.ones(7, 4, 50))
    assert (dropped == dropped[0]).all() and set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped[0, 0] != dropped[0, 1]).any()
    inputs = torch.randn(3, 2, 4)
    assert SharedDropout(0.5).eval()(inputs) is inputs


def test_special_words_are_ordinary_to_the_network() -> None:
    """Only PAD has a meaning: every other id is a word, and its embedding is trained."""
    model = small("sru")
    model.loss(collate([([1], [1])])).total.backward()
    gradient: Tensor = model.target_embedding.weight.grad  # pyright: ignore[reportAssignmentType]
    assert gradient[[1, BOS, EOS]].any(1).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 5}, "must be even, but is 5"),
        ({"layers": 0}, "must be 1 or more"),
        ({"projection": -1}, "projection 0 or more"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), but is 1.0"),
        ({"cell": "gru", "rescale": True}, "belong to the SRU, but cell is 'gru'"),
        ({"tied": True, "target_vocab": 30}, "source has 20 tokens and target 30: prepare the data with a joint"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RNNConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **sizes})
