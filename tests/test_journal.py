"""Records: what is compared, how differences are named, and that each of the journal's users asks it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, fake_sources
from verb_options import VERBS

from seqdistill.data.unfinished import begin as begin_data
from seqdistill.decoding.shards import decode_to_shards
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.journal import EDITION, FREE, Record, differences
from seqdistill.manifest import UNFINISHED, begin
from seqdistill.options import DecodingOptions
from seqdistill.seals import write_sealed

RECORD = Record("train", {"beam": 5, "set": {"dim": 8}, "threads": 2}, {"data": "aa"})


def test_differences_name_nested_keys() -> None:
    assert differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}}) == [
        "a.c: 2 there, 4 now",
        "d: 3 there, '(absent)' now",
    ]


def test_options_inputs_and_kinds_are_compared_and_what_is_free_is_not() -> None:
    kept = RECORD.as_json()
    assert "threads" not in kept["options"]
    assert Record("train", {"beam": 5, "set": {"dim": 8}, "threads": 9}, {"data": "aa"}).differences(kept, "d") == []
    other = Record("train", {"beam": 4, "set": {"dim": 9}}, {"data": "bb"})
    named = ["beam: 5 there, 4 now", "set.dim: 8 there, 9 now", "inputs.data: 'aa' there, 'bb' now"]
    assert other.differences(kept, "d") == named
    with pytest.raises(UserError) as error:
        other.check(kept, "out")
    assert all(line in str(error.value) for line in (*named, "out: ", "give another directory"))
    assert Record("prepare", {}).differences(kept, "d") == ["kind: 'train' there, 'prepare' now"]


def test_an_option_that_came_later_is_compared_with_its_default() -> None:
    kept = Record("decoding", {"beam": 5, "search": {"top": 1}}).as_json()
    defaults = {"beam": 1, "penalty": 0.5, "search": {"top": 0, "width": 3}}
    asked = {"beam": 5, "penalty": 0.5, "search": {"top": 1, "width": 3}}
    assert Record("decoding", asked, defaults=defaults).differences(kept, "d") == []
    later = Record("decoding", asked | {"penalty": 0.7, "search": {"top": 1, "width": 4}}, defaults=defaults)
    assert later.differences(kept, "d") == ["penalty: 0.5 there, 0.7 now", "search.width: 3 there, 4 now"]


def test_tuples_and_lists_are_alike_as_in_a_file() -> None:
    kept = Record("training", {"betas": [0.9, 0.98]}).as_json()
    assert Record("training", {"betas": (0.9, 0.98)}).differences(kept, "d") == []


@pytest.mark.parametrize("name", FREE)
def test_what_is_free_is_an_option_of_some_verb(name: str) -> None:
    assert any(name in model.model_fields for model in VERBS.values())


@pytest.mark.parametrize(
    ("edition", "message"), [(None, "an earlier edition"), (1, "an earlier edition"), (EDITION + 1, "a later edition")]
)
def test_a_record_of_another_edition_is_refused(edition: int | None, message: str) -> None:
    with pytest.raises(UserError, match=f"^there: written by {message} of seqdistill; run the stage again into a new"):
        RECORD.check(RECORD.as_json() | {"edition": edition}, "there")


def stage(out: Path) -> None:
    begin(out, RECORD, machine={})


def data(out: Path) -> None:
    begin_data(out, Record("data", {"seed": 1}))


def decoded(out: Path) -> None:
    engine = FakeEngine()
    decode_to_shards(
        fake_sources(3),
        engine=FakeEngine,
        engine_fingerprint=engine.fingerprint,
        options=DecodingOptions(beam=1),
        out=out,
    )


@pytest.mark.parametrize(
    ("make", "file", "change"),
    [
        (stage, UNFINISHED, {"edition": 1}),
        (data, ".prepare.json", {"record": {"edition": 1}}),
        (decoded, "store.json", {"edition": 1}),
    ],
)
def test_directories_of_the_earlier_edition_are_refused(
    tmp_path: Path, make: Callable[[Path], None], file: str, change: dict[str, Any]
) -> None:
    """Checkpoints and streams: test_checkpoint, test_batches, test_imitation."""
    make(tmp_path)
    content = read_json(tmp_path / file) | change
    del content["seal"]
    write_sealed(tmp_path / file, content)
    with pytest.raises(UserError, match="written by an earlier edition of seqdistill; run the stage again"):
        make(tmp_path)
