"""Options: the same names, types and defaults on the command line, in recipes and in Python."""

from __future__ import annotations

import inspect
import operator
import re
import sys
from collections.abc import Iterable, Iterator
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo
from verb_options import VERBS

from seqdistill import cli, command_line, options
from seqdistill.distillation.imitation import MIXING
from seqdistill.errors import UserError
from seqdistill.journal import FREE, Record
from seqdistill.nn.divergences import DIVERGENCES
from seqdistill.stages import STAGES
from seqdistill.training.optim import SCHEDULES
from seqdistill.training.options import METRICS
from seqdistill.verbs.objectives import OBJECTIVES

ALL = [(verb, name) for verb, model in VERBS.items() for name in model.offered()]


ONE_VALUE = {("distill", "teacher"), ("compare", "reference")}
"""Lists in which the verb takes one only, at least beside its other options."""

WITH = {
    **{name: {"sampling": True} for name in ("top_k", "top_p", "temperature")},
    **{f"rollout_{name}": {"rollout_sampling": True} for name in ("top_k", "top_p", "temperature")},
    "n_best": {"beam": 99},
    "normalise": {"a": [2.0], "b": [2.0]},
    "first_tokens": {"first_model": Path("first")},
    "first_model": {"first_tokens": 3},
    "skew": {"divergence": "js"},
    "quantize_from": {"quantize": "int8"},
}
"""Options that make sense only beside another."""


def another(verb: str, name: str) -> Any:
    """A valid value that is not the default."""
    option = VERBS[verb].offered()[name]
    field, default = option.field, option.default
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    if get_origin(kinds[0]) is Literal or get_origin(field.annotation) is Literal:
        return next(value for value in get_args(kinds[0]) or get_args(field.annotation) if value != default)
    if name == "set":
        return {"dim": 64, "tied": True, "cell": "gru"}
    if get_origin(field.annotation) is dict:
        return {"one": Path(f"some/{name}"), "two": Path("a=b")}
    if (verb, name) in ONE_VALUE:
        return [Path(f"some/{name}")]
    if get_origin(field.annotation) is list:
        kind = get_args(field.annotation)[0]
        kind = get_args(kind)[0] if get_args(kind) else kind  # of Annotated
        return {Path: [Path(f"some/{name}"), Path(f"another/{name}")], str: ["some", "other"], int: [2, 3]}.get(
            kind, [0.25, 3.5]
        )
    if kinds[0] is bool:
        return not default
    if kinds[0] is Path:
        return Path(f"some/{name}")
    if name in ("source_language", "target_language"):
        return "zh-Hans"
    if kinds[0] is str:
        return f"some {name}"
    value = default or 1
    return next(kinds[0](each) for each in (value + 41, value * 0.75, 0.75, 0.99) if within(field, each))


def within(field: FieldInfo, value: float) -> bool:
    """Whether the ranges of the field allow it."""
    ends = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
    found = [(ends[key], getattr(part, key)) for part in field.metadata for key in ends if hasattr(part, key)]
    return all(compare(value, end) for compare, end in found)


NUMBERS = [
    (verb, name)
    for verb, name in ALL
    if re.search(r"\b(int|float)\b", str(VERBS[verb].offered()[name].field.annotation))
]


def ranges(annotation: Any, metadata: Iterable[Any]) -> set[str]:
    """The ends, such as ge and le, that a type has anywhere in it."""
    flat = [inner for part in metadata for inner in getattr(part, "metadata", [part])]
    ends = {key for part in flat for key in ("ge", "gt", "le", "lt") if hasattr(part, key)}
    for part in get_args(annotation):
        ends |= ranges(part, getattr(part, "__metadata__", ()))
    return ends


def test_every_number_has_a_range() -> None:
    assert len(NUMBERS) > 100
    for verb, name in NUMBERS:
        field = VERBS[verb].offered()[name].field
        ends = ranges(field.annotation, field.metadata)
        assert ends & {"ge", "gt"} and ends & {"le", "lt"}, (verb, name)


def test_a_seed_is_from_0_to_2_to_the_63_minus_1() -> None:
    seeds = [(verb, name) for verb, name in ALL if name.split("_")[-1] == "seed"]
    assert {verb for verb, _ in seeds} >= {"prepare", "train", "distill", "evaluate", "translate", "compare", "measure"}
    for verb, name in seeds:
        required = {key: another(verb, key) for key, option in VERBS[verb].offered().items() if option.required}
        for seed in (-1, 2**63, 10**30):
            with pytest.raises(UserError, match=f"'{name}': Input should be .* but it is {seed}"):
                VERBS[verb].read({**required, name: seed}, where="here")
        assert VERBS[verb].read({**required, name: 2**63 - 1}, where="here").values()[name] == 2**63 - 1


def test_numbers_are_finite():
    with pytest.raises(UserError, match=r"'penalties\.0': Input should be a finite number, but it is inf"):
        options.TunePenaltyOptions.read({"model": "m", "data": "d", "penalties": [float("inf")]}, where="here")


def words_of(name: str, value: Any, *, unnamed: tuple[str, ...] = ()) -> list[str]:
    if name in unnamed:
        return [str(each) for each in value]
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if name == "set":
        return ["--set", "dim=64", "--set", "tied=true", "--set", "cell=gru"]
    if isinstance(value, dict):
        return [word for key, each in value.items() for word in (flag, f"{key}={each}")]
    if isinstance(value, list):
        return [word for each in value for word in (flag, str(each))]
    return [flag, str(value)]


@pytest.mark.parametrize(("verb", "name"), ALL, ids=lambda part: str(part))
def test_every_key_of_a_recipe_is_an_option_and_arrives(monkeypatch: pytest.MonkeyPatch, verb: str, name: str) -> None:
    """No option is dropped on its way, none is known to recipes alone, and the last of two counts."""
    model, seen = VERBS[verb], list[options.Options]()
    targets = {"translate": "seqdistill.verbs.translate.translate_lines"}
    targets |= {"compare": "seqdistill.verbs.compare.compare_files", "report": "seqdistill.verbs.report.write_report"}

    def caught(*given: Any, **others: Any) -> list[Any]:
        seen.extend(part for part in (*given, *others.values()) if isinstance(part, options.Options))
        return []

    monkeypatch.setattr(targets.get(verb, "seqdistill.stages.run_stage"), caught)
    monkeypatch.setattr(command_line, "_show_outcome", lambda *_: None)
    monkeypatch.setattr("seqdistill.verbs.translate.trace_lines", caught)
    monkeypatch.setattr(command_line, "_standard_input", list)
    value = another(verb, name)
    required = {key: another(verb, key) for key, option in model.offered().items() if option.required}
    required |= WITH.get(name, {})
    unnamed = model.arguments
    words = [
        word
        for key in required
        if key != name or key in unnamed
        for word in words_of(key, required[key], unnamed=unnamed)
    ]
    if not isinstance(value, dict | list | bool) and name not in required:
        default = model.offered()[name].default
        words += words_of(name, default) if default not in (None, "") else []
    if name not in unnamed:
        words += words_of(name, value)
    words += {"compare": ["a", "b"], "report": ["d"], "translate": []}.get(verb, ["--out", "o"])
    monkeypatch.setattr(sys, "argv", ["seqdistill", *verb.split(), *words])
    assert cli.run() == 0
    assert seen == [model.read({**required, name: value}, where="recipe")]
    assert seen[0].values()[name] == value != model.offered()[name].default


@pytest.mark.parametrize(("verb", "name"), ALL, ids=lambda part: str(part))
def test_every_option_is_described(verb: str, name: str) -> None:
    description = VERBS[verb].offered()[name].help
    assert description and len(description) > 10


def test_a_field_is_defined_in_one_class() -> None:
    """Only there it has a help text; classes below it may narrow its type, others may not have the name at all."""
    defined: dict[str, list[type]] = {}
    for kind in set(every_class(options.Options)):
        for name in kind.model_fields.keys() & get_annotations(kind).keys():
            text = kind.__dict__.get("__doc__") and inspect.getsource(kind)
            if re.search(rf"^    {name}: [^\n]*= Field\(", text or "", re.M):
                defined.setdefault(name, []).append(kind)
            else:
                assert any(name in base.model_fields for base in kind.__bases__ if issubclass(base, options.Options))
    assert len(defined) > 100
    assert {name: kinds for name, kinds in defined.items() if len(kinds) > 1} == {}


def every_class(kind: type[options.Options]) -> Iterator[type[options.Options]]:
    for each in kind.__subclasses__():
        yield each
        yield from every_class(each)


@pytest.mark.parametrize(
    ("given", "inserts", "beam"),
    [({}, False, 5), ({}, True, 1), ({"sampling": True}, False, 1), ({"beam": 3}, True, 3)],
)
def test_the_default_beam_is_one_where_nothing_is_searched(given: dict[str, Any], inserts: bool, beam: int) -> None:
    assert options.DecodingOptions(**given).for_model(inserts=inserts).beam == beam


def test_roll_outs_have_the_options_of_decoding_under_a_prefix() -> None:
    """The same names, ranges and help; what is not given keeps the default of roll-outs."""
    offered, own = options.TrainOptions.offered(), options.SearchOptions.offered()
    for name, option in own.items():
        assert offered[f"rollout_{name}"].help == f"Of roll-outs: {option.help}"
    differing = {name for name, option in own.items() if offered[f"rollout_{name}"].default != option.default}
    assert differing == {"beam", "max_ratio"}
    train = options.TrainOptions(data=Path("d"), model="sru", rollout_sampling=True, rollout_top_k=5, seed=9)
    assert train.decoding == options.DecodingOptions(beam=1, sampling=True, top_k=5, max_ratio=2.0, seed=9)
    assert (train.values()["rollout_top_k"], train.recorded()["rollout_max_ratio"]) == (5, 2.0)
    with pytest.raises(UserError, match=r"'rollout_beam': .*, but it is 0"):
        options.TrainOptions(data=Path("d"), model="sru", rollout_beam=0)
    with pytest.raises(UserError, match=r"^rollout_\*: top_k, top_p and temperature belong to sampling"):
        options.TrainOptions(data=Path("d"), model="sru", rollout_top_p=0.5)


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("schedule", SCHEDULES),
        ("metric", METRICS),
        ("divergence", DIVERGENCES),
        ("mixing", MIXING),
        ("objective", OBJECTIVES),
    ],
)
def test_choices_are_those_there_are(field: str, choices: Iterable[str]) -> None:
    assert set(get_args(options.TrainOptions.model_fields[field].annotation)) == set(choices)


def test_what_changes_the_result_is_recorded_and_what_does_not_is_not() -> None:
    a = options.TrainOptions(data=Path("a"), model="sru", threads=1, device="cpu")
    b = options.TrainOptions(data=Path("b"), model="sru", threads=2, device="cuda")
    other = options.TrainOptions(data=Path("a"), model="sru", seed=2)
    kept_a, kept_b, kept_other = (Record("train", each.recorded()).as_json()["options"] for each in (a, b, other))
    assert kept_a == kept_b != kept_other and not {"data", "threads", "device"} & kept_a.keys()


@pytest.mark.parametrize("kind", STAGES)
def test_inputs_are_fields_and_always_compared(kind: str) -> None:
    model = STAGES[kind].settings
    assert {*model.inputs} <= model.model_fields.keys()
    assert not {*model.inputs} & FREE.keys()
    for name in model.inputs:
        assert Path in (model.model_fields[name].annotation, *get_args(model.model_fields[name].annotation))


def test_inputs_go_by_their_fields_their_numbers_or_their_names() -> None:
    prepare = options.PrepareOptions(source=Path("s"), target="t", test_target=["a", "b"])  # type: ignore[arg-type]
    named = {"source": Path("s"), "target": Path("t"), "test_target 1": Path("a"), "test_target 2": Path("b")}
    assert dict(prepare.given_inputs()) == named
    train = options.TrainOptions(data=Path("d"), model="sru", teacher="t")  # type: ignore[arg-type]
    assert dict(train.given_inputs()) == {"data": Path("d"), "teacher": Path("t")}
    study = options.ModesOptions(output={"at": Path("o")}, language={"de": Path("x"), "fr": Path("y")})
    named = {"output at": Path("o"), "language de": Path("x"), "language fr": Path("y")}
    assert dict(study.given_inputs()) == named


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "sru"}, r"^here: 'data' is required: Data directory"),
        ({"data": "d", "model": "sru", "warm_up": 3}, r"^here: unknown key 'warm_up'; did you mean 'warmup'\?$"),
        ({"data": "d", "model": "sru", "warmup": -1}, r"'warmup': .* greater than or equal to 0, but it is -1"),
        ({"data": "d", "model": "sru", "warmup": 1.5}, r"'warmup': .*, but it is 1.5"),
        ({"data": "d", "model": "sru", "set": 3}, r"'set': .*dictionary, but it is 3"),
        ({"model": 3, "x": 1}, r"'data' is required.*; 'model': .*; unknown key 'x'; valid are: "),
    ],
)
def test_mistakes_are_all_named_at_once_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        options.TrainOptions.read(values, where="here")
    assert "\n" not in str(error.value)
