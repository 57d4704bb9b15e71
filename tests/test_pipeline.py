"""Recipes: read whole before anything runs, ordered by need, wrong keys answered with the nearest right one."""

from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.options import TrainOptions
from seqdistill.pipeline import plan, run, stages_in
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe

ROOT = Path(__file__).parents[1]
RECIPE = """
name = "tiny"

[evaluate.student-test]
model = "student"
data = "data"

[train.student]
data = "distilled"
model = "sru"
max_updates = 10

[distill.distilled]
teacher = "teacher"
data = "data"

[train.teacher]
data = "data"
model = "transformer-tiny"
set = { dim = 32 }

[prepare.data]
corpus = "home-assistant"
languages = "en-de"

[defaults.train]
batch_tokens = 99
max_updates = 20
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_stages_run_after_what_they_need_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, RECIPE), out=tmp_path / "out")
    names = [step.name for step in recipe.steps]
    for earlier, later in [("data", "teacher"), ("teacher", "distilled"), ("distilled", "student")]:
        assert names.index(earlier) < names.index(later)
    assert names[-1] == "student-test"
    settings = {step.name: step.settings for step in recipe.steps}
    student, teacher = settings["student"], settings["teacher"]
    assert isinstance(student, TrainOptions) and isinstance(teacher, TrainOptions)
    assert student.data == tmp_path / "out" / "distilled"
    assert (student.batch_tokens, student.max_updates, teacher.max_updates) == (99, 10, 20)
    assert teacher.set == {"dim": 32}


def test_a_stage_is_scored_as_soon_as_it_is_there_and_needs_run_just_before(tmp_path: Path) -> None:
    more = '\n[evaluate.teacher-test]\nmodel = "teacher"\ndata = "data"\n[train.last]\ndata = "data"\nmodel = "sru"\n'
    recipe = read_recipe(write(tmp_path, RECIPE + more), out=tmp_path / "out")
    names = ["data", "teacher", "distilled", "student", "student-test", "teacher-test", "last"]
    assert [step.name for step in recipe.steps] == names


def test_a_penalty_is_tuned_as_soon_as_its_model_is_there_and_scored_with_it(tmp_path: Path) -> None:
    text = """
[prepare.data]
corpus = "home-assistant"
languages = "en-de"
[train]
one = { data = "data", model = "levt" }
two = { data = "data", model = "sru" }
[tune-penalty.penalty]
data = "data"
model = "one"
[evaluate.test]
data = "data"
model = "one"
penalty_file = "penalty"
"""
    recipe = read_recipe(write(tmp_path, text), out=tmp_path / "out")
    assert [step.name for step in recipe.steps] == ["data", "one", "penalty", "test", "two"]
    assert [step.needs for step in recipe.steps][3] == ("one", "data", "penalty")


def test_a_dry_run_of_an_untouched_recipe_runs_everything_and_writes_nothing(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, RECIPE), out=tmp_path / "out")
    rows = plan(recipe)
    assert [row.action for row in rows] == ["run"] * 5
    assert rows[0].why == "not begun" and rows[1].why.startswith("after data")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "max_updates = 10",
            "max_update = 10",
            r"\[train\.student\]: unknown key 'max_update'; did you mean 'max_updates'",
        ),
        ("max_updates = 10", 'max_updates = "many"', r"\[train\.student\]: 'max_updates': .*but it is 'many'"),
        ("[distill.distilled]", "[distil.distilled]", r"unknown key 'distil'; did you mean 'distill'"),
        ("[defaults.train]", "[defaults.trains]", r"\[defaults\.trains\]: no such verb; did you mean 'train'"),
        ('model = "sru"', "", r"\[train\.student\]: 'model' is required"),
        ("[train.teacher]", "[train.data]", "two stages are called 'data'"),
        ('teacher = "teacher"\ndata = "data"', 'teacher = "student"\ndata = "data"', "wait for each other: .*student"),
        ("[prepare.data]", "[prepare.data", "not valid TOML"),
        ('name = "tiny"', "name = 3", "name: expected text, found 3"),
        ('name = "tiny"', "report = 3", "report: expected a table, found 3"),
        ("[train.teacher]\n", "[train]\n", r"\[train\.data\]: expected a table of options, found 'data'"),
        ("[defaults.train]", "[defaults]\ntrain = 3\n[defaults.evaluate]", r"\[defaults\.train\]: expected a table"),
        ('model = "sru"', 'model = "sruu"', r"\[train\.student\]: unknown model 'sruu'; did you mean 'sru'"),
        ('"home-assistant"', '"home-asistant"', r"\[prepare\.data\]: no corpus 'home-asistant'; did you mean"),
    ],
)
def test_faults_of_a_recipe_are_named_with_the_way_out(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RECIPE
    with pytest.raises(UserError, match=message):
        read_recipe(write(tmp_path, RECIPE.replace(old, new)), out=tmp_path / "out")


@pytest.mark.parametrize("named", ["teachers", "distilled"])
def test_an_input_that_is_no_other_stage_and_not_there_is_found_before_anything_runs(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(write(tmp_path, RECIPE.replace('teacher = "teacher"', f'teacher = "{named}"')))
    for go in (plan, lambda recipe: run(recipe, Silent)):
        with pytest.raises(UserError, match=rf"\[distill\.distilled\]: teacher '{named}' is not another .*'?teacher'?"):
            go(recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


NO_NAMES = ["../up", "/abs", "a/b", "[/x]", "", ".", "..", ".hidden", "nul\\u0000", "a\\nb", "x" * 201, "report.html"]
NO_NAMES += ["manifest.json", "unfinished.json"]
NAMES = ["[x]", "[red]", "$x_{$", "<b>&", ":warning:", "日本語 学生", "-a", "_a", "a b", "{task}", "%s"]


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("place", ["[train.teacher]", 'name = "tiny"', "each"])
def test_names_that_are_no_folders_name_are_refused(tmp_path: Path, name: str, place: str) -> None:
    """`../up` wrote a stage beside the run's directory, and NUL was a ValueError of Python's."""
    text = RECIPE.replace('"teacher"', f'"{name}"').replace("[train.teacher]", f'[train."{name}"]')
    if place == "each":
        text = RECIPE.replace("set = { dim = 32 }", f'each = {{ metric = ["{name}/bleu\\u0001"] }}')
    elif place != "[train.teacher]":
        text = RECIPE.replace(place, f'name = "{name}"')
        if "." in name[1:] and "/" not in name:
            return  # a run may be called so: it is a folder below runs
    with pytest.raises(UserError, match=r"the name '.*' is to be that of a folder|is a file of seqdistill's"):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names_whatever_they_look_like(tmp_path: Path, name: str) -> None:
    text = RECIPE.replace('"teacher"', f'"{name}"').replace("[train.teacher]", f'[train."{name}"]')
    recipe = read_recipe(write(tmp_path, text), out=tmp_path / "out")
    assert {step.directory for step in recipe.steps if step.name == name} == {tmp_path / "out" / name}
    assert name in [row.step.name for row in plan(recipe)]


def test_recipes_of_many_stages_and_keys_of_many_parts_are_read_or_refused_at_once(tmp_path: Path) -> None:
    """Both took time by the square; a chain of stages as long as a recipe can be went too deep."""
    stage = '[prepare.data]\nsource = "s"\ntarget = "t"\n'
    last = '[train.{}]\ndata = "data"\nmodel = "sru"\n{}\n'
    chain = "".join(last.format(n, f'init = "{n + 1}"') for n in range(998)) + last.format(998, "")
    assert [step.name for step in read_recipe(write(tmp_path, stage + chain)).steps][:3] == ["data", "998", "997"]
    for text, message in {
        stage + f"seeds = {list(range(100_000))}": r"recipe\.toml: \[prepare.data\]: 100,000 seeds; a recipe has 1,000",
        stage + f"seeds = {list(range(600))}\n" + last.format("model", ""): r"recipe\.toml: 1,200 stages; a recipe has",
        "name = 'x'\na" + ".a" * 50_000 + " = 1": r"recipe\.toml, line 2: not TOML that can be read: a key of too many",
        "[a" + ". 'a-b'" * 50_000 + "]": r"line 1: not TOML that can be read: a key of too many parts",
    }.items():
        with pytest.raises(UserError, match=message):
            read_recipe(write(tmp_path, text))
    dots = f'description = "{"." * 300} {"3.1415 " * 200} {"a" * 9000}"\n'
    assert read_recipe(write(tmp_path, dots + RECIPE.partition("\n")[2])).description.startswith("....")


def test_a_recipe_of_an_editor_that_puts_a_mark_in_front_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_recipe(path).name == "tiny"


def test_a_missing_recipe_and_an_empty_directory_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(UserError, match="no stage of seqdistill"):
        stages_in(tmp_path)
    with pytest.raises(UserError, match="no such directory"):
        stages_in(tmp_path / "none")


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("recipes/*.toml"), *ROOT.glob("papers/**/*.toml")]), ids=lambda path: path.stem
)
def test_every_committed_recipe_is_valid(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path, out=tmp_path / "out")
    assert recipe.steps and recipe.description


SEEDS = """
[train.teacher]
data = "data"
model = "sru"

[train.student]
data = "data"
model = "sru"
objective = "imitkd"
teacher = ["teacher", "elsewhere"]
seeds = [1, 7]

[train.tuned]
data = "data"
model = "sru"
init = "student"

[evaluate.tuned-test]
model = "tuned"
"""


def test_seeds_repeat_a_stage_and_all_that_read_it(tmp_path: Path) -> None:
    steps = {step.name: step for step in read_recipe(write(tmp_path, SEEDS), out=tmp_path / "out").steps}
    pairs = [f"{name}-{seed}" for name in ("student", "tuned", "tuned-test") for seed in (1, 7)]
    assert sorted(steps) == sorted(["teacher", *pairs])
    student, tuned, test = (steps[name].settings for name in ("student-7", "tuned-7", "tuned-test-7"))
    assert isinstance(student, TrainOptions) and isinstance(tuned, TrainOptions)
    assert student.seed == 7 and student.teacher == [tmp_path / "out" / "teacher", Path("elsewhere")]
    assert tuned.seed == 1 and tuned.init == tmp_path / "out" / "student-7"
    assert test.model == tmp_path / "out" / "tuned-7"  # type: ignore[attr-defined]
    assert steps["student-1"].needs == ("teacher",) and steps["tuned-test-1"].needs == ("tuned-1",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [1, 7]", "seeds = 3", r"\[train\.student\]: seeds: expected a list of whole numbers, found 3"),
        ("seeds = [1, 7]", "seeds = []", "expected a list of whole numbers"),
        ("seeds = [1, 7]", "seeds = [1]\nseed = 2", "has seed and seeds; keep one"),
        ('init = "student"', 'init = "student"\nseeds = [1]', "reads 'student', which has other seeds"),
    ],
)
def test_faults_of_seeds(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe(write(tmp_path, SEEDS.replace(old, new)), out=tmp_path / "out")


EACH = """
[train.student]
model = "sru"
each = { data = ["real", "texts/distilled"], dagger_rounds = [5] }
seeds = [3, 4]

[defaults.evaluate]
beam = 2

[evaluate.test]
each = { model = ["student-real-5", "student-distilled-5"], beam = [1, 5] }
"""


def test_each_writes_a_stage_for_every_combination_and_seeds_repeat_those(tmp_path: Path) -> None:
    steps = {step.name: step for step in read_recipe(write(tmp_path, EACH), out=tmp_path / "out").steps}
    students = [f"student-{data}-5-{seed}" for data in ("real", "distilled") for seed in (3, 4)]
    tests = [f"test-{name[:-2]}-{beam}-{name[-1]}" for name in students for beam in (1, 5)]
    assert sorted(steps) == sorted([*students, *tests])
    test = steps["test-student-distilled-5-1-4"].settings
    assert test.model == tmp_path / "out" / "student-distilled-5-4" and test.beam == 1  # type: ignore[attr-defined]
    assert steps["student-distilled-5-3"].settings.data == Path("texts/distilled")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("beam = [1, 5] }", "beam = 1 }", r"\[evaluate\.test\]: each: expected lists of values, .*found \{'model'"),
        ("beam = [1, 5] }", "beam = [] }", "each: expected lists of values"),
        ("each = { model", "beam = 5\neach = { model", "each: beam is given beside it as well; keep one"),
        ("beam = [1, 5] }", "beams = [1] }", r"\[evaluate\.test-student-real-5-1-3\]: unknown key 'beams'"),
        ("beam = [1, 5] }", "beam = [1, 1] }", "two stages are called 'test-student-real-5-1-3'"),
    ],
)
def test_faults_of_each(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EACH
    with pytest.raises(UserError, match=message):
        read_recipe(write(tmp_path, EACH.replace(old, new)), out=tmp_path / "out")
