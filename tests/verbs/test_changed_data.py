"""Teachers that change the data (Zhou et al. 2020, section 5) through the verbs: mixtures of experts, born-again
teachers, interpolation; each by recipe, and checked by what the stages recorded and by decoding again."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.shards import ShardStore
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, fingerprint
from seqdistill.metrics.scores import sentence_bleu
from seqdistill.models.saved import load_model
from seqdistill.options import DecodingOptions, DistillOptions, EvaluateOptions, TrainOptions, TranslateOptions
from seqdistill.pipeline import run as run_recipe
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.filters import Filters
from seqdistill.training.log import read_log
from seqdistill.verbs import train as train_verb
from seqdistill.verbs.translate import translate_lines

WORDS = ["lamp", "door", "heat", "light", "open", "closed", "window", "sensor", "room", "off"]
SIZES = "{ dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2 }"
LINES = ["lamp door heat", "", "room", "open open window off"]

Call = Callable[..., tuple[int, str, str]]


def written(count: int, seed: int) -> ParallelCorpus:
    """Different sentences and, by chance, themselves or their reverse: two ways of writing."""
    chance = random.Random(seed)
    pairs = {}
    while len(pairs) < count:
        words = chance.choices(WORDS, k=chance.randint(1, 6))
        pairs[" ".join(words)] = " ".join(words if chance.random() < 0.5 else reversed(words))
    return ParallelCorpus.from_pairs("made up", [SentencePair(*pair) for pair in pairs.items()])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data directory, and in `run` what a recipe of all three kinds of teachers left."""
    folder = tmp_path_factory.mktemp("world")
    parts = {"train": written(60, 1), "valid": written(12, 2), "test": written(12, 3)}
    prepare(**parts, out=folder / "data", vocab_size=60, filters=Filters(keep_copies=True))
    (folder / "teachers.toml").write_text(f"""
        name = "teachers"

        [defaults.train]
        data = "{folder}/data"
        model = "transformer"
        set = {SIZES}
        max_updates = 4
        validate_every = 2
        learning_rate = 0.01
        warmup = 2
        batch_tokens = 256
        threads = 1
        tensorboard = false
        log_every = 2

        [defaults.distill]
        data = "{folder}/data"
        beam = 3
        max_ratio = 1.0
        workers = 1

        [train.generation1]
        [distill.set1]
        teacher = "generation1"

        [train.generation2]
        data = "set1"
        [distill.set2]
        teacher = "generation2"

        [train.generation3]
        data = "set2"

        [distill.interpolated]
        teacher = "generation1"
        beam = 5
        n_best = 5
        select = "bleu"
        select_among = 3

        [train.mixture]
        model = "mixture"
        set = {SIZES[:-2]}, experts = 3 }}

        [distill.of-best]
        teacher = "mixture"

        [distill.of-first]
        teacher = "mixture"
        expert = 1

        [distill.of-third]
        teacher = "mixture"
        expert = 3
        engine = "ctranslate2"
        compute_type = "float32"
    """)
    run_recipe(read_recipe(folder / "teachers.toml", out=folder / "run"), Silent)
    return folder / "run"


def decoded(model: Path, sources: list[str], *, beam: int = 3, n_best: int = 1, expert: int | None = None) -> list:
    loaded = load_model(model, expert=expert)
    options = DecodingOptions(beam=beam, n_best=n_best, max_ratio=1.0)
    return TorchEngine(loaded.model, loaded.tokenizers).decode(sources, options)


def targets(data: Path) -> list[str]:
    return list(DataDirectory.open(data).train.targets())


class TestBornAgain:
    @pytest.mark.parametrize("generation", [2, 3])
    def test_a_generation_is_trained_on_what_the_one_before_wrote(self, world: Path, generation: int) -> None:
        before = generation - 1
        taught = read_json(world / f"generation{generation}" / FINISHED)
        wrote = read_json(world / f"set{before}" / FINISHED)
        assert taught["inputs"]["data"] == fingerprint(world / f"set{before}")
        assert wrote["inputs"]["teacher"] == fingerprint(world / f"generation{before}")
        assert wrote["inputs"]["data"] == fingerprint(world.parent / "data"), "every generation reads the real sources"
        sources = list(DataDirectory.open(world.parent / "data").train.sources())
        texts = [found[0].text for found in decoded(world / f"generation{before}", sources)]
        kept = [text for text in texts if text]  # an empty output cannot be learned from
        assert targets(world / f"set{before}") == kept

    def test_generations_differ(self, world: Path) -> None:
        assert len({fingerprint(world / f"generation{number}") for number in (1, 2, 3)}) == 3


class TestInterpolation:
    def test_the_most_like_the_reference_among_the_first_three_of_five(self, world: Path) -> None:
        real = DataDirectory.open(world.parent / "data").train
        sources = list(real.sources())
        references = targets(world.parent / "data")
        store = ShardStore.open(world / "interpolated" / "shards")
        chosen = []
        for line, reference in zip(store, references, strict=True):
            assert len(line.hypotheses) == 5
            first = [found.text for found in line.hypotheses[:3]]
            scores = [sentence_bleu(text, reference) for text in first]
            best_one = first[scores.index(max(scores))]
            chosen += [best_one] if best_one else []
        assert targets(world / "interpolated") == chosen
        best = [found[0].text for found in decoded(world / "generation1", sources, beam=5, n_best=5)]
        assert chosen != [text for text in best if text]


class TestMixture:
    def test_training_ends_with_the_choice_of_the_best_on_validation_data(self, world: Path, tmp_path: Path) -> None:
        results = read_json(world / "mixture" / FINISHED)["results"]
        by_expert = []
        for number in (1, 2, 3):
            settings = EvaluateOptions(
                model=world / "mixture",
                **{"data": world.parent / "data", "split": "valid", "beam": 1, "max_ratio": 3.0, "expert": number},
                **{"speed_lines": 0, "metrics": "bleu"},
            )
            scores = run_stage("evaluate", settings, tmp_path / str(number), Silent(), title="evaluate").results
            by_expert.append(scores)
        bleu = [scores["bleu"] for scores in by_expert]
        assert results["valid_by_expert"] == pytest.approx(bleu, abs=1e-3)
        best = results["expert"]
        assert bleu[best - 1] == max(bleu)
        assert results["valid"]["perplexity"] == pytest.approx(by_expert[best - 1]["perplexity"], rel=1e-4)
        assert int(load_model(world / "mixture").model.expert) == best - 1

    def test_validation_is_of_the_best_expert(
        self, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The third is best at first and the second afterwards; the first one's scores decide nothing."""
        bleu = iter([1.0, 2.0, 9.0, 3.0, 8.0, 7.0, 3.0, 8.0, 7.0])
        monkeypatch.setattr(train_verb, "validation_scores", lambda *_, **__: {"bleu": next(bleu)})
        settings = TrainOptions(
            model="mixture",
            data=world.parent / "data",
            set={"dim": 16, "ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2},
            **{"max_updates": 4, "validate_every": 2, "average_count": 1, "average": "last", "tensorboard": False},
        )
        results = run_stage("train", settings, tmp_path / "mixture", Silent(), title="train").results
        rows = read_log(tmp_path / "mixture" / "log.jsonl")
        assert [row["bleu"] for row in rows if row["kind"] == "valid"] == [9.0, 8.0]
        assert results["expert"] == 2 and results["valid"] == {"bleu": 8.0}

    def test_the_log_tells_who_won_how_much(self, world: Path) -> None:
        rows = read_log(world / "mixture" / "log.jsonl")
        shares = [[row[f"expert_{number}_share"] for number in (1, 2, 3)] for row in rows if row["kind"] == "train"]
        assert len(shares) == 2 and all(sum(row) == pytest.approx(1, abs=1e-3) for row in shares)

    def test_one_expert_writes_the_whole_text(self, world: Path) -> None:
        sources = list(DataDirectory.open(world.parent / "data").train.sources())
        best = int(load_model(world / "mixture").model.expert) + 1
        for name, expert in (("of-best", best), ("of-first", 1), ("of-third", 3)):
            texts = [found[0].text for found in decoded(world / "mixture", sources, expert=expert)]
            assert targets(world / name) == [text for text in texts if text], name

    def test_experts_have_fingerprints_and_the_best_is_the_default(self, world: Path) -> None:
        default = load_model(world / "mixture")
        best = int(default.model.expert) + 1
        prints = [load_model(world / "mixture", expert=number).fingerprint for number in (1, 2, 3)]
        assert len(set(prints)) == 3 and prints[best - 1] == default.fingerprint

    def test_translate_as_any_expert_on_both_engines(self, world: Path, call: Call) -> None:
        found = {}
        for engine in ("torch", "ctranslate2"):
            precision = {"compute_type": "float32"} if engine == "ctranslate2" else {}
            for expert in (None, 1, 2, 3):
                settings = TranslateOptions(
                    model=world / "mixture", beam=1, max_ratio=1.0, expert=expert, engine=engine, **precision
                )
                found[engine, expert] = list(translate_lines(settings, LINES))
        for expert in (None, 1, 2, 3):
            assert found["torch", expert] == found["ctranslate2", expert]
        best = int(load_model(world / "mixture").model.expert) + 1
        assert found["torch", None] == found["torch", best]
        words = ("translate", "--model", str(world / "mixture"), "--beam", "1", "--max-ratio", "1", "--expert", "2")
        code, out, _ = call(*words, stdin="".join(f"{line}\n" for line in LINES).encode())
        assert code == 0 and out.splitlines() == found["torch", 2]

    @pytest.mark.parametrize("expert", [4, 9])
    @pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
    def test_an_expert_it_does_not_have(
        self, world: Path, tmp_path: Path, call: Call, expert: int, engine: str
    ) -> None:
        words = ("--expert", str(expert), "--engine", engine)
        message = f"expert {expert}: this mixture has the experts 1 to 3"
        code, _, errors = call("translate", "--model", str(world / "mixture"), *words, stdin=b"lamp\n")
        assert code == 2 and message in errors and "Traceback" not in errors
        asked: dict[str, Any] = {"expert": expert, "engine": engine}
        for kind, settings in (
            ("evaluate", EvaluateOptions(model=world / "mixture", data=world.parent / "data", **asked)),
            ("distill", DistillOptions(teacher=world / "mixture", data=world.parent / "data", **asked)),
        ):
            with pytest.raises(UserError, match=message):
                run_stage(kind, settings, tmp_path / kind, Silent(), title=kind)
            assert not (tmp_path / kind / FINISHED).exists()

    def test_an_expert_of_a_model_that_is_no_mixture(self, world: Path) -> None:
        settings = TranslateOptions(model=world / "generation1", expert=1)
        with pytest.raises(UserError, match=r"expert 1 is for a model that is a mixture of experts \(mixture\), not"):
            list(translate_lines(settings, LINES))

    def test_learns_whole_targets_only(self, world: Path, tmp_path: Path) -> None:
        settings = TrainOptions(
            data=world.parent / "data",
            model="mixture",
            objective="imitkd",
            teacher=[world / "generation1"],
            max_updates=2,
        )
        with pytest.raises(UserError, match="lets its experts compete for whole targets: train it with nll"):
            run_stage("train", settings, tmp_path / "student", Silent(), title="train")
