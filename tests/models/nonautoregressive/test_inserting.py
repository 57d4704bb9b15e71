"""What both models that insert words must fulfil: protocol, batches, padding, bad input, resuming, saving."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqdistill.data.batches import Batch, Batches, collate, collate_sources
from seqdistill.data.store import Store, build_store
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES, family_named, resolved
from seqdistill.models.interface import Canvas, Memory, RefinementModel
from seqdistill.models.nonautoregressive import insertion, levenshtein
from seqdistill.models.saved import create_model, load_model, save_model, stored_weights
from seqdistill.options import DecodingOptions, TrainingOptions
from seqdistill.training.loop import train
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK
from seqdistill.vocabulary.vocabularies import train_vocabularies

NAMES = ("inst", "levt")
VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8, 9]), ([10, 11], [11, 10, 12]), ([12], [13]), ([], [14, 14]), ([14, 15], [UNK, 17])]
SOURCES = [source for source, _ in PAIRS]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(name: str, **sizes: Any) -> Any:
    model_class, config_class = resolved(FAMILIES[name].model), FAMILIES[name].config
    vocabularies = {"source_vocab": VOCAB, "target_vocab": VOCAB}
    return model_class(config_class(**{**vocabularies, **SMALL, **sizes})).eval()


def lively(name: str) -> Any:
    """A model that inserts and deletes for several iterations: large weights in its heads."""
    model = small(name)
    with torch.no_grad():
        for head in (getattr(model, part) for part in ("slot", "deletion", "placeholders") if hasattr(model, part)):
            head.weight.mul_(20)
        if name == "levt":
            model.placeholders.bias[4:] = -1e3
    return model


def written(model: Any, source: Tensor, *, start: Canvas | None = None, limit: int = 12) -> Canvas:
    """After all iterations."""
    memory = model.encode(source)
    canvas = model.start(memory, candidates=1) if start is None else start
    limits = torch.full((len(source),), limit)
    with torch.no_grad():
        for step in range(model.iterations):
            canvas = model.refine(canvas, memory, step=step, iterations=model.iterations, limits=limits, penalty=0.0)
            assert (canvas.tokens != PAD).sum(1).max() <= limit
    return canvas


@pytest.mark.parametrize("name", NAMES)
class TestBoth:
    def test_meets_the_protocols(self, name: str) -> None:
        model = small(name)
        assert (
            isinstance(model, RefinementModel)
            and model.traits.non_autoregressive
            and model.traits.inserts
            and model.iterations == 10
        )
        assert isinstance(model.encode(collate_sources([[5]])), Memory)

    def test_start_is_empty(self, name: str) -> None:
        model = small(name)
        canvas = model.start(model.encode(collate_sources([[5], [6, 7]])), candidates=1)
        assert canvas.tokens.shape == canvas.log_probs.shape == (2, 0)
        assert canvas.passes.tolist() == canvas.length_log_probs.tolist() == [0, 0]
        with pytest.raises(UserError, match=r"finds the length while it inserts.*but beam is 5: decode with beam 1"):
            decode(model, collate_sources([[5]]), DecodingOptions(beam=5))

    def test_loss_of_one_is_loss_of_many(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the parts that are kept fixed: every second word."""
        module = {"inst": insertion, "levt": levenshtein}[name]
        odd = torch.arange(9) % 2 == 1
        monkeypatch.setattr(module, "random_part", lambda words, *, padding: (words != PAD) & odd[: words.shape[1]])
        model = small(name)
        together, alone = model.loss(collate(PAIRS)), [model.loss(collate([pair])) for pair in PAIRS]
        torch.testing.assert_close(together.total, torch.stack([loss.total for loss in alone]).sum())
        assert together.count == sum(loss.count for loss in alone) == sum(len(target) for _, target in PAIRS)

    def test_padding_changes_nothing(self, name: str) -> None:
        """Neither in the loss, where equal seeds draw the same, nor in the output."""
        model, batch = lively(name), collate(PAIRS)
        wider = batch._replace(source=F.pad(batch.source, (0, 9)), target=F.pad(batch.target, (0, 5)))
        losses = []
        for each in (batch, wider):
            torch.manual_seed(3)
            losses.append(model.loss(each, label_smoothing=0.1))
        torch.testing.assert_close(losses[0].total, losses[1].total)
        assert losses[0].count == losses[1].count
        narrow, wide = written(model, batch.source), written(model, wider.source)
        assert torch.equal(narrow.tokens, wide.tokens) and torch.equal(narrow.passes, wide.passes)
        start = narrow._replace(tokens=F.pad(narrow.tokens, (0, 3)), log_probs=F.pad(narrow.log_probs, (0, 3)))
        again, padded = (written(model, batch.source, start=canvas) for canvas in (narrow, start))
        assert torch.equal(again.tokens, padded.tokens[:, : again.tokens.shape[1]])

    def test_output_of_one_is_output_of_many(self, name: str) -> None:
        model = lively(name)
        together = written(model, collate_sources(SOURCES))
        lengths = (together.tokens != PAD).sum(1).tolist()
        assert len(set(lengths)) > 1 and len(set(together.passes.tolist())) >= (2 if name == "levt" else 1)
        for row, (source, length) in enumerate(zip(SOURCES, lengths, strict=True)):
            alone = written(model, collate_sources([source]))
            assert alone.tokens[0].tolist() == together.tokens[row, :length].tolist()
            assert alone.passes[0] == together.passes[row]
            torch.testing.assert_close(alone.log_probs[0], together.log_probs[row, :length], rtol=1e-3, atol=1e-3)

    def test_never_writes_a_special_symbol(self, name: str) -> None:
        model = lively(name)
        with torch.no_grad():
            model.target_embedding.weight[[PAD, UNK, BOS, MASK]] *= 30
        canvas = written(model, collate_sources(SOURCES))
        assert canvas.tokens.any()
        mask = torch.arange(canvas.tokens.shape[1]) < (canvas.tokens != PAD).sum(1, keepdim=True)
        assert not torch.isin(canvas.tokens[mask], torch.tensor([PAD, UNK, BOS, EOS, MASK])).any()
        assert (canvas.log_probs[mask] <= 0).all() and not canvas.log_probs[~mask].any()

    def test_gradient_reaches_every_parameter(self, name: str) -> None:
        model = small(name, tied=False)
        torch.manual_seed(1)
        model.loss(collate(PAIRS)).total.backward()
        without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert without == []

    def test_sources_and_targets_of_one_token_or_none(self, name: str) -> None:
        model = small(name)
        for pairs in ([([], [5])], [([5], [6])], [([5], [])], [([], [])]):
            loss = model.loss(collate(pairs))
            assert loss.total.isfinite() and loss.count == len(pairs[0][1])
        assert len(decode(model, collate_sources([[], [5]]), DecodingOptions(beam=1))) == 2

    def test_under_bfloat16(self, name: str) -> None:
        """Autocast, as training does it: a loss near that of float32."""
        model, losses = small(name), []
        for enabled in (False, True):
            torch.manual_seed(3)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                losses.append(model.loss(collate(PAIRS), label_smoothing=0.1))
        assert losses[1].total.item() == pytest.approx(losses[0].total.item(), rel=0.05)
        losses[1].total.backward()

    def test_sizes_that_do_not_fit(self, name: str) -> None:
        with pytest.raises(UserError, match="divisible by heads, but dim is 16 and heads 3"):
            small(name, heads=3)
        with pytest.raises(UserError, match="the source has 20 tokens and the target 30: prepare the data"):
            small(name, target_vocab=30)


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_continued_is_never_killed_and_what_is_saved_comes_back(name: str, tmp_path: Path) -> None:
    """With dropout and the random parts of targets: the same bytes of weights; loaded, they write the same."""
    pairs = [("ba do ke", "ke do ba"), ("lu mi", "mi lu"), ("no ra su ba", "ba su ra no"), ("do lu", "lu do")] * 5
    tokenizers = train_vocabularies(pairs, vocab_size=26)
    build_store(pairs, tokenizers, tmp_path / "train.arrow")
    options = TrainingOptions(
        tensorboard=False, max_updates=9, warmup=2, learning_rate=5e-3, validate_every=4, metric="loss", threads=1
    )

    def run(out: Path, *, die_at: int = 0) -> nn.Module:
        torch.manual_seed(7)
        model: Any = create_model(name, tokenizers, **{**SMALL, "dropout": 0.2})
        done = 0

        def objective(batch: Batch) -> Any:
            nonlocal done
            done += 1
            if done == die_at:
                raise KeyboardInterrupt
            return model.loss(batch, label_smoothing=0.1)

        def validate() -> Mapping[str, float]:
            torch.manual_seed(1)
            return {"loss": float(model.loss(collate([([5, 6], [7, 8])])).total)}

        batches = Batches(Store.open(tmp_path / "train.arrow"), max_tokens=40, seed=3)
        return train(model, objective, batches, options=options, validate=validate, out=out).model

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", die_at=7)
    parts = run(tmp_path / "parts")
    for ours, theirs in zip(stored_weights(whole).values(), stored_weights(parts).values(), strict=True):
        assert torch.equal(ours, theirs)
    save_model(whole, tokenizers, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.config == whole.config
    sources = collate_sources([[5, 6, 7], [8]])
    assert decode(loaded.model, sources, DecodingOptions(beam=1)) == decode(whole, sources, DecodingOptions(beam=1))


def test_presets_have_the_sizes_of_zhou_et_al() -> None:
    base, big = (512, 2048, 6, 6, 8, 0.3), (1024, 4096, 6, 6, 16, 0.3)
    for name, sizes in (("inst", base), ("levt", base), ("levt-big", big)):
        family = family_named(name)
        config: Any = family.config(100, 100, **family.presets[name].sizes)
        found = (config.dim, config.ffn_dim, config.encoder_layers, config.decoder_layers, config.heads, config.dropout)
        assert found == sizes
