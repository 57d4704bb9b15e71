"""Presets have the papers' sizes; what is saved comes back bit by bit; everything that is wrong is said."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seqdistill.errors import UserError
from seqdistill.models.family import family_named, preset_names, resolved
from seqdistill.models.saved import (
    create_model,
    hash_of,
    load_model,
    save_model,
    saved_family,
    stored_weights,
    write_tensors,
)
from seqdistill.seals import write_sealed
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies

TINY = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
MODEL_SIZES = {
    **dict.fromkeys(("transformer", "mixture", "nat", "inat", "cmlm", "inst", "levt"), TINY),
    "flowseq": TINY | {"posterior_layers": 1, "flow_steps": "1,1", "flow_ffn_dim": 16},
    "sru": {"dim": 16, "embedding_dim": 8},
    "lstm": {"dim": 16},
    "hybrid": TINY,
}


def tokenizers_of(first: str, *, joint: bool = True) -> Vocabularies:
    pairs = [(f"{first} rides a horse", "ein mann reitet ein pferd"), ("two dogs run", "zwei hunde rennen")] * 3
    return train_vocabularies(pairs, vocab_size=40, joint=joint)


@pytest.fixture(scope="module")
def tokenizers() -> Vocabularies:
    return tokenizers_of("a man")


@pytest.fixture
def saved(tmp_path: Path, tokenizers: Vocabularies) -> Path:
    save_model(create_model("transformer", tokenizers, **TINY), tokenizers, tmp_path / "model")
    return tmp_path / "model"


class TestPresets:
    @pytest.mark.parametrize(
        ("name", "dim", "ffn_dim", "layers", "heads", "dropout"),
        [
            ("tiny", 256, 1024, 3, 4, 0.1),
            ("small", 512, 1024, 3, 8, 0.1),
            ("base", 512, 2048, 6, 8, 0.3),
            ("big", 1024, 4096, 6, 16, 0.3),
        ],
    )
    def test_transformers_of_zhou_et_al_table_5(
        self, tokenizers, name: str, dim: int, ffn_dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        with torch.device("meta"):
            config = create_model(f"transformer-{name}", tokenizers).config
        assert (config.dim, config.ffn_dim, config.heads, config.dropout) == (dim, ffn_dim, heads, dropout)
        assert (config.encoder_layers, config.decoder_layers) == (layers, layers)

    def test_transformers_of_lin_et_al(self, tokenizers) -> None:
        with torch.device("meta"):
            teacher = create_model("transformer-iwslt-teacher", tokenizers).config
            student = create_model("transformer-iwslt-student", tokenizers).config
        assert (teacher.dim, teacher.ffn_dim, teacher.encoder_layers, teacher.heads) == (256, 1024, 8, 4)
        assert (student.dim, student.ffn_dim, student.decoder_layers, student.heads) == (256, 768, 2, 4)

    @pytest.mark.parametrize(
        ("name", "cell", "layers", "dim", "projection"),
        [
            ("sru", "sru", 2, 512, 0),
            ("ssru", "ssru", 2, 512, 0),
            ("gru", "gru", 2, 512, 0),
            ("lstm", "lstm", 2, 512, 0),
            ("sru-3x1024", "sru", 3, 1024, 256),
            ("sru-wmt", "sru", 4, 1024, 256),
        ],
    )
    def test_recurrent_students_of_lin_et_al(
        self, tokenizers, name: str, cell: str, layers: int, dim: int, projection: int
    ) -> None:
        with torch.device("meta"):
            config = create_model(name, tokenizers).config
        assert (config.cell, config.layers, config.dim, config.projection) == (cell, layers, dim, projection)
        assert config.embedding_dim == 256

    @pytest.mark.parametrize("name", preset_names())
    def test_every_one_says_where_it_comes_from(self, tokenizers, name: str) -> None:
        with torch.device("meta"):
            model = create_model(name, tokenizers)
        family = family_named(name)
        assert type(model) is resolved(family.model) and family.presets[name].description
        assert model.traits == family.traits

    def test_embeddings_are_tied_where_the_vocabulary_is_joint(self, tokenizers) -> None:
        assert create_model("transformer", tokenizers, **TINY).config.tied
        apart = tokenizers_of("a man", joint=False)
        assert not create_model("transformer", apart, **TINY).config.tied
        assert not create_model("transformer", tokenizers, **TINY, tied=False).config.tied
        with pytest.raises(UserError, match="tied=true needs a joint vocabulary"):
            create_model("transformer", apart, **TINY, tied=True)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("transfomer-big", {}, "unknown model 'transfomer-big'; did you mean 'transformer-big'"),
        ("transformer", {"head": 4}, "model 'transformer': unknown option 'head'; did you mean 'heads'"),
        (
            "sru",
            {"heads": 4},
            "model 'sru' has no option 'heads', which is one of transformer, mixture, hybrid, nat",
        ),
        ("nat", {"experts": 4}, "model 'nat' has no option 'experts', which is one of mixture: leave it out"),
        ("transformer", {"dim": 2.5}, "dim must be a whole number, but is 2.5"),
        ("transformer", {"dim": True}, "dim must be a whole number, but is True"),
        ("transformer", {"dropout": "0.1"}, "dropout must be a number, but is '0.1'"),
        ("transformer", {"norm_first": 1}, "norm_first must be true or false, but is 1"),
        ("transformer", {"dim": 10}, "divisible by heads"),
        ("sru", {"cell": "gry"}, "cell must be one of 'sru', 'ssru', 'gru', 'lstm', but is 'gry'"),
        ("sru", {"source_vocab": 5}, "source_vocab of model 'sru' is the size of the tokenizer's vocabulary"),
    ],
)
def test_what_cannot_be_created(tokenizers, name: str, overrides: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model(name, tokenizers, **overrides)


class TestRoundTrip:
    @pytest.mark.parametrize("name", MODEL_SIZES)
    def test_weights_come_back_bit_by_bit(self, tmp_path: Path, tokenizers, name: str) -> None:
        model = create_model(name, tokenizers, **MODEL_SIZES[name])
        save_model(model, tokenizers, tmp_path)
        loaded = load_model(tmp_path)
        assert loaded.config == model.config and not loaded.model.training
        assert loaded.tokenizers.fingerprint == tokenizers.fingerprint
        before, after = model.state_dict(), loaded.model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_tied_weights_are_stored_once_and_stay_tied(self, saved: Path, tokenizers) -> None:
        stored = load_file(saved / "model.safetensors")
        assert sum(tuple(weight.shape) == (len(tokenizers.target), 16) for weight in stored.values()) == 1
        model = load_model(saved).model
        assert model.source_embedding.weight is model.target_embedding.weight
        assert stored_weights(model).keys() == stored.keys()

    def test_a_training_output_means_its_model(self, saved: Path) -> None:
        assert load_model(saved.parent).fingerprint == load_model(saved).fingerprint

    def test_loading_draws_no_random_numbers(self, saved: Path) -> None:
        before = torch.get_rng_state()
        load_model(saved)
        assert torch.equal(torch.get_rng_state(), before)

    def test_fingerprints_follow_the_weights(self, saved: Path, tokenizers) -> None:
        before = load_model(saved)
        save_model(before.model, tokenizers, saved)
        assert load_model(saved).fingerprint == before.fingerprint
        with torch.no_grad():
            before.model.encoder.norm.bias[0] += 1e-6
        save_model(before.model, tokenizers, saved)
        assert load_model(saved).fingerprint != before.fingerprint

    def test_another_model_is_not_written_over(self, saved: Path, tokenizers) -> None:
        content = {path: path.read_bytes() for path in saved.rglob("*.*")}
        with pytest.raises(UserError, match=r"holds another model \(config.dim: 16 there, 32 now"):
            save_model(create_model("transformer", tokenizers, **{**TINY, "dim": 32}), tokenizers, saved)
        with pytest.raises(UserError, match="holds another model"):
            save_model(create_model("transformer", tokenizers, **TINY), tokenizers_of("a girl"), saved)
        assert {path: path.read_bytes() for path in saved.rglob("*.*")} == content


class TestDamage:
    def test_no_model_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such directory; give the output directory of a finished training"):
            load_model(tmp_path / "nowhere")
        with pytest.raises(UserError, match=r"holds no config.json"):
            load_model(tmp_path)

    def test_weights_missing(self, saved: Path) -> None:
        (saved / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"model.safetensors: no such file"):
            load_model(saved)

    @pytest.mark.parametrize("left", [0, 5, 200, -1])
    def test_weights_cut(self, saved: Path, left: int) -> None:
        path = saved / "model.safetensors"
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(UserError, match=r"model.safetensors: cut or damaged"):
            load_model(saved)

    def test_weights_altered(self, saved: Path) -> None:
        path = saved / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match="not those that were saved"):
            load_model(saved)

    def test_everything_that_does_not_fit_is_named(self, saved: Path, tokenizers) -> None:
        """The weights of another model: one missing, one too many, one of another shape."""
        other = saved.parent / "other"
        save_model(create_model("transformer", tokenizers, **{**TINY, "ffn_dim": 48}), tokenizers, other)
        model = load_model(other).model
        weights = stored_weights(model)
        weights["decoder.extra"] = weights.pop("decoder.norm.bias")
        rewrite(saved / "model.safetensors", weights)
        with pytest.raises(UserError) as caught:
            load_model(saved)
        for part in (
            "missing: decoder.norm.bias; unexpected: decoder.extra;",
            "encoder.layers.0.feed_forward.inner.weight is (48, 16), expected (32, 16)",
            "decoder.layers.0.feed_forward.outer.weight is (16, 48), expected (16, 32)",
        ):
            assert part in str(caught.value)

    def test_tokenizer_of_another_model(self, saved: Path) -> None:
        for path in (saved / "tokenizer").iterdir():
            path.unlink()
        tokenizers_of("a girl").save(saved / "tokenizer")
        with pytest.raises(UserError, match="is not the tokenizer this model was trained with"):
            load_model(saved)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model": "transformr"}, "unknown model 'transformr'; did you mean 'transformer'"),
            ({"config": {"dimm": 3}}, "unknown option 'dimm'; did you mean 'dim'"),
            ({"config": {"dim": 16}}, "source_vocab, target_vocab missing"),
            ({"config": {**TINY, "source_vocab": 7, "target_vocab": 7}}, "source_vocab is 7, but the tokenizer has 40"),
        ],
    )
    def test_a_config_of_another_model(self, saved: Path, change: dict, message: str) -> None:
        path = saved / "config.json"
        content = json.loads(path.read_text())
        del content["seal"]
        write_sealed(path, {**content, **change})
        with pytest.raises(UserError, match=message):
            load_model(saved)

    def test_every_character_of_the_config_counts(self, saved: Path) -> None:
        """Two heads or four, with the same weights: each gives a model, and only one was trained."""
        path = saved / "config.json"
        path.write_text(path.read_text().replace('"heads": 2', '"heads": 4'))
        with pytest.raises(UserError, match=r"config\.json: was altered since it was written .*; copy the whole model"):
            load_model(saved)
        with pytest.raises(UserError, match=r"config\.json: was altered"):
            saved_family(saved)

    def test_config_cut(self, saved: Path) -> None:
        path = saved / "config.json"
        path.write_text(path.read_text()[:30])
        with pytest.raises(UserError, match="not valid JSON"):
            load_model(saved)


def rewrite(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """A weights file with a right checksum."""
    weights = {name: weight.detach().contiguous() for name, weight in weights.items()}
    save_file(weights, path, metadata={"sha256": hash_of(weights)})


def test_the_library_of_weights_fails_as_other_writers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error for a full disk would be no error of the system, and so a traceback."""

    def full(*given: object, **options: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("seqdistill.models.saved.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        write_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(1)})
    assert (found.value.errno, found.value.filename) == (28, str(tmp_path / "w.safetensors"))
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        write_tensors(tmp_path / "none" / "w.safetensors", {"a": torch.zeros(1)})
