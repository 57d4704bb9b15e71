"""Exported directories: whole or refused with the file named; the student in them is the trained model."""

import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from native.compiled import engine_sets
from runtime.exported import exported, sentences, tokenizers, trained

import seqdistill
from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.given import Given
from seqdistill.errors import UserError
from seqdistill.exported import DESCRIPTION
from seqdistill.native.directory import WEIGHTS, open_exported
from seqdistill.native.search import RANGES, Search
from seqdistill.native.student import MOST_TOKENS, Student
from seqdistill.options import DecodingOptions
from seqdistill.runtime.engines import create_engine
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.seals import write_sealed
from seqdistill.vocabulary.ids import OURS


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    engine_sets()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, vocabularies = tmp_path_factory.mktemp("models"), tokenizers()
    for name in ("sru", "transformer", "nat", "cmlm", "levt"):
        exported(trained(name, folder / name, vocabularies), folder / f"{name}-out")
    return folder


@pytest.mark.parametrize("name", ["sru", "transformer", "nat", "cmlm", "levt"])
def test_an_exported_model_is_the_trained_one(models: Path, name: str) -> None:
    student, loaded = Student(models / f"{name}-out", threads=2), trained(name, models / name)
    torch_engine = TorchEngine(loaded.model, loaded.tokenizers)
    lines = [*sentences(40, seed=2), "", " "]
    given = {"beam": 1 if name == "levt" else 3, "max_ratio": 1.5}
    expected = torch_engine.decode(lines, DecodingOptions(**given, n_best=given["beam"]))
    found = student.hypotheses(lines, **given, n_best=given["beam"])
    assert [[each.text for each in row] for row in found] == [[each.text for each in row] for row in expected]
    for ours, theirs in zip(chain.from_iterable(found), chain.from_iterable(expected), strict=True):
        assert ours[1:3] == pytest.approx(theirs[1:3], abs=1e-3) and ours[3:] == theirs[3:]
    best = [row[0].text for row in expected]
    assert student.translate(lines, **given) == best and len(set(best)) > 20 and best[-2:] == ["", ""]
    assert all(len(row) > 1 for row in found[:-2]) or name == "levt"


@pytest.mark.parametrize("name", ["sru", "transformer"])
def test_given_text_is_scored_as_by_torch(models: Path, name: str) -> None:
    loaded, student = trained(name, models / name), Student(models / f"{name}-out", threads=2)
    lines, targets = [*sentences(40, seed=2), ""], [*sentences(40, seed=9), "fox"]
    engine = CompiledEngine(student)
    expected = TorchEngine(loaded.model, loaded.tokenizers).scores(lines, targets)
    assert engine.traits.scores and engine.scores(lines, targets) == pytest.approx(expected, abs=1e-4)


def test_what_is_not_autoregressive_scores_no_given_text(models: Path) -> None:
    engine = CompiledEngine(Student(models / "nat-out"))
    assert not engine.traits.scores
    with pytest.raises(UserError, match="models of the family nat score no given text"):
        engine.scores(["fox"], ["fox"])


def test_rules_of_text_are_those_of_ids(models: Path) -> None:
    student = Student(models / "sru-out")
    lines, words = sentences(6, seed=3), ["the", "fox", "jars", "pink", "dog", "of"]
    target, options = student.tokenizers.target, {"beam": 2, "max_length": 8}
    encoded = student.tokenizers.source.encode_batch(lines)
    prefixes, allowed = target.encode_batch(words), target.encode_batch(words[::-1])
    engine: Any = create_engine("torch", trained("sru", models / "sru"))
    for ids in (Given(prefixes=prefixes), Given(allowed=allowed)):
        expected = [row[0].tokens for row in engine.decode_ids(encoded, DecodingOptions(**options), ids)]
        pieces = [" ".join(target.piece(token) for token in row) for row in allowed]
        text: dict[str, Any] = {"prefix": words} if ids.prefixes else {"allowed": pieces}
        assert student.translate(lines, **text, **options) == target.decode_batch(expected)
    assert all(line.startswith("fox") for line in student.translate(lines, prefix="fox", **options))


def test_ten_thousand_shuffled_lines_keep_their_order(models: Path) -> None:
    """Empty, short and very long ones, in any number of threads: each line's answer is its own."""
    distinct = [*sentences(60, seed=4), "", " ".join(sentences(30, seed=5))]
    one = Student(models / "sru-out", threads=1)
    options = {"beam": 1, "max_length": 6}
    answers = {line: one.translate([line], **options)[0] for line in distinct}
    assert len(set(answers.values())) > 30
    lines = random.Random(1).choices(distinct, k=10_000)
    assert Student(models / "sru-out", threads=3).translate(lines, **options) == [answers[line] for line in lines]


def test_threads_get_their_own_answers(models: Path) -> None:
    student, lines = Student(models / "transformer-out", threads=2), sentences(80, seed=6)
    expected = student.translate(lines, beam=2, max_length=8)
    with ThreadPoolExecutor(6) as pool:
        singles = list(pool.map(lambda line: student.translate([line], beam=2, max_length=8)[0], lines * 3))
        whole = list(pool.map(lambda _: student.translate(lines, beam=2, max_length=8), range(6)))
    assert singles == expected * 3 and all(each == expected for each in whole)


def test_search_has_the_names_defaults_and_ranges_of_the_options() -> None:
    for name, default in Search()._asdict().items():
        field = DecodingOptions.model_fields[name]
        assert default == field.default
        kinds, low, high = RANGES[name]
        assert (float in kinds) == (field.annotation is float), name
        found = {type(each).__name__.lower(): getattr(each, type(each).__name__.lower()) for each in field.metadata}
        assert high == found["le"] and (low == found["ge"] if "ge" in found else 0 < low < 1e-200), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 2}, "'beams' is no option of an exported model; did you mean 'beam'"),
        ({"beam": 0}, "beam: expected a number from 1 to 1000, found 0"),
        ({"beam": "2"}, "beam: expected a number from 1 to 1000, found '2'"),
        ({"beam": True}, "beam: expected a number from 1 to 1000, found True"),
        ({"beam": 2, "n_best": 3}, "n_best"),
        ({"min_length": 9, "max_length": 9}, "min_length 9 leaves no room under max_length 9"),
        ({"penalty": 1.0}, "penalty 1.0 is not for a model of rnn"),
        ({"sampling": True}, "'sampling' is no option of an exported model"),
    ],
)
def test_options_that_are_none(models: Path, options: dict[str, Any], message: str) -> None:
    student = Student(models / "sru-out")
    with pytest.raises(UserError, match=message):
        student.hypotheses(["a dog"], **options)
    if "n_best" not in options:
        with pytest.raises(UserError, match=message):
            seqdistill.load(models / "sru-out", **options)


def test_what_threads_and_shortlists_cannot_be(models: Path) -> None:
    """In a process of its own: here beartype would check the types first."""
    given: list[dict[str, Any]] = [{"threads": threads} for threads in ("2", -1, 1.5, True, None)]
    given += [{"shortlist": shortlist} for shortlist in ("no", 0, None)]
    program = (
        "import sys, seqdistill\n"
        f"for options in {given}:\n"
        "    try: seqdistill.load(sys.argv[1], **options)\n"
        "    except seqdistill.UserError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(models / "sru-out")]
    expected = {"threads": "a whole number, 0 or more", "shortlist": "True or False"}
    said = [f"{name}: expected {expected[name]}, found {value!r}" for each in given for name, value in each.items()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines() == said


def test_what_is_no_line_or_too_long(models: Path) -> None:
    student = Student(models / "sru-out")
    with pytest.raises(UserError, match="expected a list of lines, but got 'a dog'"):
        student.translate("a dog")
    with pytest.raises(UserError, match=rf"line 2 has 100,000 tokens; .* at most {MOST_TOKENS:,}: split the line, or"):
        student.decode_ids([[7], [7] * 100_000], Search())
    with pytest.raises(UserError, match=r"line 1 has .* tokens"):
        student.translate(["dog " * 100_000])
    with pytest.raises(UserError, match="prefix: has 1 lines, but 2 are decoded"):
        student.translate(["a", "dog"], prefix=["a"])
    with pytest.raises(UserError, match="prefix and allowed are for autoregressive models"):
        Student(models / "nat-out").translate(["a"], prefix="dog")


def test_a_damaged_or_foreign_directory_is_refused(models: Path, tmp_path: Path) -> None:
    names = [path.relative_to(models / "sru-out") for path in (models / "sru-out").rglob("*") if path.is_file()]
    assert {str(name) for name in names} >= {DESCRIPTION, WEIGHTS, "tokenizer/joint.model"}
    for name in names:
        for harm in ("flipped", "cut", "gone"):
            folder = tmp_path / f"{harm}-{name.name}"
            shutil.copytree(models / "sru-out", folder)
            data = bytearray((folder / name).read_bytes())
            data[len(data) // 2] ^= 1
            (folder / name).write_bytes(data if harm == "flipped" else data[: len(data) // 2])
            if harm == "gone":
                (folder / name).unlink()
            if harm == "gone" and name.name == DESCRIPTION:
                continue  # then it is no exported model at all
            with pytest.raises(UserError, match=str(name)):
                Student(folder)
    with pytest.raises(UserError, match="no such file"):
        Student(models / "sru")
    other = tmp_path / "other"
    shutil.copytree(models / "sru-out", other)
    shutil.rmtree(other / "tokenizer")
    vocabularies = tokenizers()
    vocabularies._replace(joint=False).save(other / "tokenizer")
    with pytest.raises(UserError, match=r"tokenizer"):
        Student(other)


def resealed(folder: Path, change: Any) -> None:
    found = json.loads((folder / DESCRIPTION).read_text())
    found.pop("seal")
    change(found)
    write_sealed(folder / DESCRIPTION, found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.update(format=99), "format 99, but this version"),
        (lambda found: found.pop("tensors"), "'tensors' is missing"),
        (lambda found: found.update(precision="int4"), "unknown precision"),
        (lambda found: found["tensors"][0].update(data=1 << 40), "a tensor that is none"),
        (lambda found: found["tensors"][0].update(data=-64), "a tensor that is none"),
        (lambda found: found["tensors"][0].update(data=4), "a tensor that is none"),
        (lambda found: found["tensors"][0].update(rows=1 << 30), "a tensor that is none"),
        (lambda found: found["tensors"][0].update(rows="3"), "a tensor that is none"),
        (lambda found: found["tensors"].pop(), "export|out"),
        (lambda found: found["config"].update(target_vocab=7), "target_vocab is 7, but the tokenizer has 90"),
        (lambda found: found["config"].update(dim=1 << 20), "."),
        (lambda found: found["config"].update({"a\nb": 1}), "is no setting"),
        (lambda found: found["config"].update({"a": "b\nprecision=int8"}), "is no setting"),
        (lambda found: found["config"].update({"a\0": 1}), "is no setting"),
        (lambda found: found.update(family="rnn\nprecision=int8"), "'family' is .*, which is no setting"),
        (lambda found: found.update(family="flowseq"), "setting family is flowseq, which this version does not know"),
        (lambda found: found["tensors"][0].update(name="a\nb"), "a tensor that is none"),
        (lambda found: found.update(shortlist={"common": 3, "entries": 4}), "shortlist.bin"),
    ],
)
def test_what_a_description_may_not_say(models: Path, tmp_path: Path, change: Any, message: str) -> None:
    shutil.copytree(models / "sru-out", tmp_path / "out")
    resealed(tmp_path / "out", change)
    with pytest.raises(UserError, match=message):
        Student(tmp_path / "out")


def test_a_config_does_not_say_what_the_description_says(models: Path, tmp_path: Path) -> None:
    """Its sizes were checked by the one precision, so the engine is not told of another."""
    shutil.copytree(models / "sru-out", tmp_path / "out")
    resealed(tmp_path / "out", lambda found: found["config"].update(precision="int8", eos=7, family="nat"))
    lines, expected = sentences(4), Student(models / "sru-out", beam=1)
    assert Student(tmp_path / "out", beam=1).translate(lines) == expected.translate(lines)


@pytest.mark.parametrize("place", ["config", "tensors"])
def test_a_description_of_what_utf8_cannot_write_is_refused(models: Path, tmp_path: Path, place: str) -> None:
    shutil.copytree(models / "sru-out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
    (found if place == "config" else found["tensors"][0])["model" if place == "config" else "name"] = "\ud800"
    (tmp_path / "out" / DESCRIPTION).write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"export\.json: was altered since it was written"):
        Student(tmp_path / "out")


def test_opened_ids_are_those_of_the_vocabulary(models: Path) -> None:
    found = open_exported(models / "nat-out")
    assert found.sides[1].ids == OURS and f"eos={OURS.eos}\n" in found.settings()
    assert "before_words=2\n" in found.settings() and "tied=1\n" in found.settings()
