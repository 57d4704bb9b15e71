"""Students that start from their teacher: what is copied, what is new, what does not fit, the lower rate."""

from typing import Any

import pytest
import torch

from seqdistill.data.batches import collate
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES, config_named, family_named, resolved
from seqdistill.models.interface import Model
from seqdistill.models.start import spread, start_from
from seqdistill.training.optim import adam, step

PAIRS = [([5, 6, 7], [9, 8]), ([10, 11], [11, 10, 12])]
SMALL = {"dim": 16, "ffn_dim": 32, "heads": 2, "dropout": 0.0}
TRANSFORMER = SMALL | {"encoder_layers": 4, "decoder_layers": 3}


def model(preset: str, seed: int, **sizes: Any) -> Model:
    torch.manual_seed(seed)
    config = config_named(preset, sizes, source_vocab=20, target_vocab=20)
    return resolved(family_named(preset).model)(config).eval()


def same(student: Model, teacher: Model, pairs: dict[str, str]) -> bool:
    ours, theirs = student.state_dict(), teacher.state_dict()
    found = {a: [n for n in ours if n.startswith(a)] for a in pairs}
    assert all(found.values())
    return all(torch.equal(ours[n], theirs[n.replace(a, pairs[a], 1)]) for a in pairs for n in found[a])


def test_a_student_of_the_same_sizes_becomes_its_teacher() -> None:
    teacher, student = model("transformer", 1, **TRANSFORMER), model("transformer", 2, **TRANSFORMER)
    started = start_from(student, teacher, where="t")
    batch = collate(PAIRS)
    assert torch.equal(student(batch.source, batch.target), teacher(batch.source, batch.target))  # type: ignore[operator]
    assert started.new_weights == 0 and started.copied_weights == sum(p.numel() for p in student.parameters())


def test_layers_are_spread_or_those_that_are_named() -> None:
    teacher = model("transformer", 1, **TRANSFORMER)
    sizes = SMALL | {"encoder_layers": 2, "decoder_layers": 1}
    student = model("transformer", 2, **sizes)
    started = start_from(student, teacher, where="t")
    pairs = {"encoder.layers.0.": "encoder.layers.0.", "encoder.layers.1.": "encoder.layers.3."}
    assert same(student, teacher, pairs | {"decoder.layers.0.": "decoder.layers.0.", "source_emb": "source_emb"})
    assert started.report == [
        "source embedding: copied",
        "encoder layer 1: copied from layer 1",
        "encoder layer 2: copied from layer 4",
        "encoder norm: copied",
        "decoder layer 1: copied from layer 1",
        "decoder norm: copied",
    ]
    student = model("transformer", 2, **sizes)
    start_from(student, teacher, encoder=[3, 2], decoder=[2], where="t")
    pairs = {"encoder.layers.0.": "encoder.layers.2.", "encoder.layers.1.": "encoder.layers.1."}
    assert same(student, teacher, pairs | {"decoder.layers.0.": "decoder.layers.1."})


def test_more_layers_than_the_teacher_has_are_new() -> None:
    teacher, drawn = (
        model("transformer", 1, **TRANSFORMER),
        model("transformer", 2, **TRANSFORMER | {"decoder_layers": 5}),
    )
    student = model("transformer", 2, **TRANSFORMER | {"decoder_layers": 5})
    started = start_from(student, teacher, where="t")
    assert same(student, teacher, {f"decoder.layers.{n}.": f"decoder.layers.{n}." for n in range(3)})
    assert same(student, drawn, {f"decoder.layers.{n}.": f"decoder.layers.{n}." for n in (3, 4)})
    assert started.report[-3:-1] == ["decoder layer 4: new", "decoder layer 5: new"]
    expected = sum(
        p.numel() for n, p in student.named_parameters() if n.startswith(("decoder.layers.3", "decoder.layers.4"))
    )
    assert started.new_weights == expected


@pytest.mark.parametrize("cell", ["sru", "ssru", "gru", "lstm"])
def test_a_hybrid_takes_all_but_its_recurrence(cell: str) -> None:
    teacher = model("transformer", 1, **TRANSFORMER)
    sizes = SMALL | {"encoder_layers": 4, "decoder_layers": 2, "cell": cell}
    student, drawn = model("hybrid", 2, **sizes), model("hybrid", 2, **sizes)
    started = start_from(student, teacher, where="t")
    assert same(student, teacher, {"encoder": "encoder", "target_embedding": "target_embedding"})
    for part in ("cross_attention", "around_cross", "feed_forward", "around_feed_forward"):
        pairs = {
            f"decoder.layers.{ours}.{part}": f"decoder.layers.{theirs}.{part}" for ours, theirs in ((0, 0), (1, 2))
        }
        assert same(student, teacher, pairs)
    recurrence = {f"decoder.layers.{n}.recurrence": f"decoder.layers.{n}.recurrence" for n in (0, 1)}
    assert same(student, drawn, recurrence)
    assert "decoder layer 2: copied from layer 3; new: recurrence, around recurrence" in started.report


def test_a_mixture_a_recurrent_and_a_non_autoregressive_model() -> None:
    mixture = model("mixture", 1, **TRANSFORMER)
    student = model("transformer", 2, **TRANSFORMER)
    start_from(student, mixture, where="m")
    assert same(student, mixture.transformer, {"encoder": "encoder", "decoder": "decoder"})  # type: ignore[arg-type]
    sru = model("sru", 2, dim=12, embedding_dim=16, tied=True)
    started = start_from(sru, student, where="t")
    assert same(sru, student, {"target_embedding": "target_embedding"})
    assert [line for line in started.report if "copied" in line] == ["target embedding: copied"]
    other = model("sru", 3, dim=12, embedding_dim=16, tied=True, layers=1)
    assert start_from(other, sru, where="s").new_weights == 0
    nat = model("nat", 2, **SMALL, encoder_layers=4, decoder_layers=3)
    start_from(nat, student, where="t")
    assert same(nat, student, {"encoder": "encoder"})


@pytest.mark.parametrize(
    ("preset", "sizes", "options", "message"),
    [
        (
            "transformer",
            {"dim": 32, "ffn_dim": 64},
            {},
            "dim is 32, there 16, ffn_dim is 64, there 32: give --set dim=16 --set ffn_dim=32",
        ),
        ("hybrid", {"heads": 4}, {}, "heads is 4, there 2: give --set heads=2"),
        ("hybrid", {"norm_first": False}, {}, "norm_first is False, there True: give --set norm_first=true"),
        ("sru", {"embedding_dim": 8}, {}, "embedding_dim is 8, there 16: give --set embedding_dim=16"),
        ("transformer", {}, {"encoder": [5]}, "start_encoder 5: the encoder of there has layers 1 to 4"),
        (
            "transformer",
            {"decoder_layers": 1},
            {"decoder": [1, 2]},
            "start_decoder names 2 layers, but the student's decoder has 1",
        ),
    ],
)
def test_what_does_not_fit_says_what_would(preset: str, sizes: dict, options: dict, message: str) -> None:
    student = model(preset, 2, **({} if preset == "sru" else SMALL) | sizes)
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    with pytest.raises(UserError) as error:
        start_from(student, model("transformer", 1, **TRANSFORMER), where="there", **options)
    assert message in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in student.state_dict().items())


@pytest.mark.parametrize(
    ("preset", "sizes", "here", "there"),
    [
        ("nat", {}, {"length": "absolute"}, {}),
        ("cmlm", {}, {"length": "absolute"}, {}),
        ("inat", {}, {}, {"length": "absolute"}),
        ("transformer", {}, {"output_scale": 0.25}, {}),
        ("hybrid", {}, {}, {"output_scale": 0.25}),
        ("sru", {"rescale": True}, {"highway_bias": -1.0}, {"highway_bias": -2.0}),
        ("flowseq", {"posterior_layers": 1, "flow_ffn_dim": 8}, {"flow_steps": "1,1"}, {"flow_steps": "1,1,1"}),
    ],
)
def test_weights_of_another_meaning_are_refused(preset: str, sizes: dict, here: dict, there: dict) -> None:
    """Their shapes agree, but not what is computed with them."""
    sizes = {"dim": 16} | ({} if preset == "sru" else {"heads": 2, "ffn_dim": 32, "encoder_layers": 1}) | sizes
    student, teacher = model(preset, 2, **sizes | here), model(preset, 1, **sizes | there)
    ((name, wanted),) = {**{key: vars(teacher.config)[key] for key in here}, **there}.items()
    with pytest.raises(UserError, match=f"{name} is .*, there .*: give --set {name}={wanted}"):
        start_from(student, teacher, where="there")
    start_from(model(preset, 2, **sizes | there), teacher, where="there")


def test_a_bias_that_is_only_a_start_may_differ() -> None:
    student, teacher = (model("sru", seed, dim=16, highway_bias=-1.0 * seed) for seed in (1, 2))
    assert start_from(student, teacher, where="there").new_weights == 0


def test_every_family_can_start_from_itself() -> None:
    for name, family in FAMILIES.items():
        preset, sizes = next(iter(family.presets)), {"dim": 16}
        if name != "rnn":
            sizes |= {"heads": 2, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1}
        teacher, student = model(preset, 1, **sizes), model(preset, 2, **sizes)
        started = start_from(student, teacher, where=name)
        assert started.new_weights == 0, (name, started.report)


def test_every_one_of_many_layers_is_spread() -> None:
    for among in range(1, 13):
        for count in range(1, 15):
            chosen = spread(count, among)
            assert len(chosen) == min(count, among) and sorted(set(chosen)) == chosen and chosen[0] == 1
            assert count == 1 or chosen[-1] == among


def test_what_was_copied_moves_by_a_part_of_the_rate() -> None:
    one, two = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = adam([one, two], weight_decay=0.0, slower=[two], factor=0.25)
    (one.sum() + two.sum()).backward()
    step(optimizer, 0.1)
    torch.testing.assert_close(1 - one.data, torch.full((3,), 0.1))
    torch.testing.assert_close(1 - two.data, torch.full((3,), 0.025))
