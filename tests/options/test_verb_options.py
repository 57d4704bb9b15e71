"""Options: the same names, types and defaults on the command line, in recipes and in Python."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from verb_options import VERBS

from seqdistill import cli
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.distillation.imitation import RolloutOptions
from seqdistill.distillation.sequence import SHARD_LINES
from seqdistill.errors import UserError
from seqdistill.journal import FREE, Record
from seqdistill.measures import intervals
from seqdistill.measures.aligner import AlignerOptions
from seqdistill.measures.complexity import SMOOTHING
from seqdistill.measures.measure import REORDERING_LINKS
from seqdistill.metrics.scores import MetricOptions
from seqdistill.metrics.significance import NUM_SAMPLES, SEED
from seqdistill.nn.divergences import Divergence
from seqdistill.stages import STAGES
from seqdistill.studies import modes
from seqdistill.studies.decision_theory import Design
from seqdistill.training.options import TrainingOptions

ALL = [(verb, name) for verb, model in VERBS.items() for name in model.model_fields]


def another(verb: str, name: str) -> Any:
    """A valid value that is not the default."""
    field = VERBS[verb].model_fields[name]
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return next(value for value in get_args(field.annotation) if value != field.default)
    if name == "set":
        return {"dim": 64, "tied": True, "cell": "gru"}
    if get_origin(field.annotation) is dict:
        return {"one": Path(f"some/{name}"), "two": Path("a=b")}
    if get_origin(field.annotation) is list:
        kind = get_args(field.annotation)[0]
        return {Path: [Path(f"some/{name}"), Path(f"another/{name}")], str: ["some", "other"]}.get(kind, [0.25, 3.5])
    if kinds[0] is bool:
        return not field.default
    if kinds[0] is Path:
        return Path(f"some/{name}")
    if kinds[0] is str:
        return f"some {name}"
    limits = {key: value for part in field.metadata for key in ("le", "lt", "gt") if (value := getattr(part, key, 0))}
    return kinds[0](0.25) if limits.keys() & {"le", "lt"} else kinds[0]((field.default or limits.get("gt", 1)) + 41)


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

    monkeypatch.setattr(targets.get(verb, "seqdistill.cli._run"), caught)
    monkeypatch.setattr("seqdistill.verbs.translate.trace_lines", caught)
    monkeypatch.setattr(cli, "_standard_input", list)
    value = another(verb, name)
    required = {key: another(verb, key) for key, field in model.model_fields.items() if field.is_required()}
    unnamed = model.arguments
    words = [
        word
        for key in required
        if key != name or key in unnamed
        for word in words_of(key, required[key], unnamed=unnamed)
    ]
    if not isinstance(value, dict | list | bool) and name not in required:
        default = model.model_fields[name].default
        words += words_of(name, default) if default not in (None, "") else []
    if name not in unnamed:
        words += words_of(name, value)
    words += {"compare": ["a", "b"], "report": ["d"], "translate": []}.get(verb, ["--out", "o"])
    monkeypatch.setattr(sys, "argv", ["seqdistill", *verb.split(), *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert seen == [model.read({**required, name: value}, where="recipe")]
    assert getattr(seen[0], name) == value != model.model_fields[name].default


@pytest.mark.parametrize(("verb", "name"), ALL, ids=lambda part: str(part))
def test_every_option_is_described(verb: str, name: str) -> None:
    description = VERBS[verb].model_fields[name].description
    assert description and len(description) > 10


def test_defaults_are_those_of_what_they_stand_for() -> None:
    mirrored = [
        (options.TrainOptions, TrainingOptions, {"tensorboard"}),  # a library writes no files it was not asked for
        (options.DecodingSettings, DecodingOptions, {"beam"}),  # a user's default is the model's
        (options.EvaluateOptions, MetricOptions, {"language"}),
        (options.DecisionTheoryOptions, Design, {"a", "b"}),  # lists there, tuples here
    ]
    for model, options, differing in mirrored:
        shared = {option.name: option.default for option in fields(options) if option.name in model.model_fields}
        assert len(shared) >= 6 and differing <= shared.keys()
        for name in shared.keys() - differing - {"max_updates"}:
            assert model.model_fields[name].default == shared[name], name
    measure = {name: field.default for name, field in options.MeasureOptions.model_fields.items()}
    aligner = {field.name: field.default for field in fields(AlignerOptions)}
    assert aligner == {name: measure[name] for name in aligner}
    assert (measure["smoothing"], measure["reordering_links"]) == (SMOOTHING, REORDERING_LINKS)
    assert (measure["samples"], measure["seed"]) == (intervals.NUM_SAMPLES, intervals.SEED)
    train = {name: field.default for name, field in options.TrainOptions.model_fields.items()}
    rollouts = {field.name: field.default for field in fields(RolloutOptions) if field.name != "decoding"}
    assert rollouts == {name: train[name] for name in rollouts}
    divergence = Divergence(train["divergence"], train["skew"], train["temperature"], train["teacher_top_k"])
    assert divergence == Divergence()
    compare, distill = options.CompareOptions.model_fields, options.DistillOptions.model_fields
    assert (compare["samples"].default, compare["seed"].default) == (NUM_SAMPLES, SEED)
    assert distill["shard_lines"].default == SHARD_LINES


@pytest.mark.parametrize(
    ("given", "inserts", "beam"),
    [({}, False, 5), ({}, True, 1), ({"sampling": True}, False, 1), ({"beam": 3}, True, 3)],
)
def test_the_default_beam_is_one_where_nothing_is_searched(given: dict[str, Any], inserts: bool, beam: int) -> None:
    assert options.DecodingSettings(**given).options(inserts=inserts).beam == beam


def test_every_field_of_the_options_is_set_from_the_settings() -> None:
    given = options.DecodingSettings(beam=1, sampling=True, top_k=3, top_p=0.5, temperature=2.0, seed=9, max_length=7)
    options = given.options()
    for option in fields(DecodingOptions):
        if option.name != "n_best":
            assert getattr(options, option.name) == getattr(given, option.name)
    assert {field.name for field in fields(Design)} == options.DecisionTheoryOptions.model_fields.keys() - {"workers"}
    study = options.ModesOptions.model_fields
    assert {field.name for field in fields(modes.Design)} == study.keys() - {"workers"}
    assert study["smoothing"].default == SMOOTHING
    grid = options.DecisionTheoryOptions.model_fields
    assert (tuple(grid["a"].default), tuple(grid["b"].default)) == (Design().a, Design().b)
    missing = {option.name for option in fields(TrainingOptions)} - options.TrainOptions.model_fields.keys()
    assert missing == {"betas", "epsilon"}


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
