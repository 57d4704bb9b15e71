"""Non-autoregressive models through the verbs: counts, traces, penalties, reranking, options that mean nothing."""

import random
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from toy_inserter import BEST, ToyConfig, ToyInserter

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.scoring import mean_log_probs
from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json
from seqdistill.models.family import FAMILIES, Family
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.options import (
    DecodingOptions,
    DistillOptions,
    EvaluateOptions,
    ReportOptions,
    TrainOptions,
    TranslateOptions,
    TunePenaltyOptions,
)
from seqdistill.pipeline import run as run_recipe
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe
from seqdistill.seals import write_sealed
from seqdistill.stages import STAGES, run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.filters import Filters
from seqdistill.verbs import tune_penalty as tune_verb
from seqdistill.verbs.report import write_report
from seqdistill.verbs.translate import trace_lines, translate_lines

WORDS = ["lamp", "door", "heat", "light", "open", "closed", "window", "sensor", "room", "off"]
SIZES = {"dim": 16, "ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
FLOW = {"posterior_layers": 1, "flow_steps": "1,1", "flow_ffn_dim": 16}
LINES = ["lamp door heat", "", "room", "open open window off"]

Call = Callable[..., tuple[int, str, str]]


def copies(count: int, seed: int) -> ParallelCorpus:
    chance = random.Random(seed)
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(1, 6))) for _ in range(count)]
    return ParallelCorpus.from_pairs("made up", [SentencePair(line, line) for line in lines])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data directory and untrained models."""
    folder = tmp_path_factory.mktemp("world")
    parts = {"train": copies(60, 1), "valid": copies(12, 2), "test": copies(12, 3)}
    prepare(**parts, out=folder / "data", vocab_size=60, filters=Filters(keep_copies=True))
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    for number, name in enumerate(("cmlm", "inat", "nat", "transformer")):
        torch.manual_seed(number)
        save_model(create_model(name, tokenizers, **SIZES), tokenizers, folder / name)
    torch.manual_seed(4)
    save_model(create_model("flowseq", tokenizers, **SIZES, **FLOW), tokenizers, folder / "flowseq")
    with pytest.MonkeyPatch.context() as patch:
        register_toy(patch)
        for name, bias in (("toy", 0.0), ("other", 1.0)):
            config = ToyConfig(len(tokenizers.source), len(tokenizers.target), bias)
            save_model(ToyInserter(config), tokenizers, folder / name)
    return folder


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toy(monkeypatch)


def register_toy(patch: pytest.MonkeyPatch) -> None:
    family = Family("toy_inserter:ToyInserter", ToyConfig, {}, ToyInserter.traits)
    patch.setitem(FAMILIES, "toy", family)


def evaluate(world: Path, out: Path, model: str, **options: Any) -> dict[str, Any]:
    given = {"beam": 1, "speed_lines": 1, "metrics": "bleu", "data": world / "data"}
    settings = EvaluateOptions(model=world / model, **(given | options))
    STAGES["evaluate"].check(settings)
    return run_stage("evaluate", settings, out, Silent(), title="evaluate").results


def translate(world: Path, model: str, lines: list[str] | None = None, **options: Any) -> list[str]:
    settings = TranslateOptions(model=world / model, **({"beam": 1} | options))
    return list(translate_lines(settings, LINES if lines is None else lines))


def engine_of(directory: Path) -> TorchEngine:
    loaded = load_model(directory)
    return TorchEngine(loaded.model, loaded.tokenizers)


class TestCounts:
    @pytest.mark.parametrize("model", ["cmlm", "inat", "nat"])
    def test_evaluate_reports_the_means_over_sentences(self, world: Path, tmp_path: Path, model: str) -> None:
        results = evaluate(world, tmp_path / "scores", model)
        sources = list(DataDirectory.open(world / "data").test.sources())
        found = [engine_of(world / model).decode([source], DecodingOptions(beam=1))[0][0] for source in sources]
        scores = read_json(tmp_path / "scores" / "scores.json")
        for name in ("passes", "iterations"):
            expected = round(mean(getattr(hypothesis, name) for hypothesis in found), 4)
            assert results[name] == scores[name] == expected
        assert 1 <= scores["passes"] <= scores["iterations"] <= {"nat": 1}.get(model, 10)

    def test_sentences_without_words_do_not_count(self, world: Path, tmp_path: Path) -> None:
        for name, lines in (("all", LINES), ("some", [line for line in LINES if line])):
            (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        both = [
            evaluate(
                world,
                tmp_path / name,
                "inat",
                data=None,
                source=tmp_path / f"{name}.txt",
                reference=tmp_path / f"{name}.txt",
            )
            for name in ("all", "some")
        ]
        assert both[0]["passes"] == both[1]["passes"]

    def test_fewer_iterations(self, world: Path, tmp_path: Path) -> None:
        assert evaluate(world, tmp_path / "scores", "inat", iterations=2)["iterations"] <= 2

    def test_models_that_write_left_to_right_have_none(self, world: Path, tmp_path: Path) -> None:
        results = evaluate(world, tmp_path / "scores", "transformer", max_ratio=0.5)
        assert not {"passes", "iterations"} & results.keys()
        assert not (tmp_path / "scores" / "traces.json").exists()


class TestTraces:
    def test_evaluate_keeps_some_and_the_page_shows_them(self, world: Path, tmp_path: Path) -> None:
        evaluate(world, tmp_path / "cmlm-test", "cmlm", beam=2)
        stored = read_json(tmp_path / "cmlm-test" / "traces.json")
        hypotheses = (tmp_path / "cmlm-test" / "hypotheses.txt").read_text().splitlines()
        assert [row["line"] for row in stored] == [3, 7, 11]
        assert [row["translation"] for row in stored] == [hypotheses[row["line"] - 1] for row in stored]
        write_report(tmp_path, tmp_path / "report.html", ReportOptions())
        page = (tmp_path / "report.html").read_text()
        assert page.count('<tr class="given">') >= 3 and "Refinement, iteration by iteration" in page
        marked = any(changed for row in stored for step in row["iterations"] for _, changed in step["parts"])
        assert ("<mark>" in page) == marked
        assert "Passes" in page and "Iterations" in page

    def test_as_many_as_are_asked_for(self, world: Path, tmp_path: Path) -> None:
        evaluate(world, tmp_path / "one", "toy", traces=5)
        assert len(read_json(tmp_path / "one" / "traces.json")) == 5
        evaluate(world, tmp_path / "none", "toy", traces=0)
        assert not (tmp_path / "none" / "traces.json").exists()

    @pytest.mark.parametrize("beam", [1, 3])
    def test_translate_shows_how_each_line_came_about(self, world: Path, beam: int) -> None:
        settings = TranslateOptions(model=world / "cmlm", beam=beam)
        traced = list(trace_lines(settings, LINES))
        assert [translation for translation, _ in traced] == translate(world, "cmlm", beam=beam)
        assert traced[1] == ("", ["    "])
        for line, (translation, shown) in zip(LINES, traced, strict=True):
            assert shown[0] == f"    {line}"
            assert [row[:4] for row in shown[1:]] == [f"{number:>2}  " for number in range(1, len(shown))]
            if line:
                assert shown[-1][4:].replace("[", "").replace("]", "").strip() == translation

    def test_on_the_command_line(self, world: Path, call: Call) -> None:
        words = ("translate", "--model", str(world / "inat"), "--beam", "1", "--iterations", "3")
        text = "".join(f"{line}\n" for line in LINES).encode()
        code, out, errors = call(*words, "--trace", stdin=text)
        assert code == 0 and out == call(*words, stdin=text)[1]
        assert errors.startswith("    lamp door heat\n 1  ") and " 2  " in errors

    def test_of_models_and_engines_without_iterations(self, world: Path, tmp_path: Path) -> None:
        for options, message in (
            ({}, "but torch runs none here: leave the trace out"),
            ({"engine": "ctranslate2"}, r"but ctranslate2 [\d.]+ runs none here"),
            ({"first_model": world / "transformer", "first_tokens": 1}, "but torch runs none here"),
        ):
            with pytest.raises(UserError, match=message):
                list(trace_lines(TranslateOptions(model=world / "transformer", trace=True, **options), LINES))
            with pytest.raises(UserError, match=message):
                evaluate(world, tmp_path / "scores", "transformer", traces=2, **options)


class TestOptionsThatMeanNothing:
    @pytest.mark.parametrize("option", [{"iterations": 3}, {"penalty": 0.5}, {"rescoring_samples": 2}])
    def test_for_models_that_write_left_to_right(self, world: Path, tmp_path: Path, option: dict) -> None:
        with pytest.raises(UserError, match="not for this one: leave it out"):
            translate(world, "transformer", **option)
        with pytest.raises(UserError, match="not for this one: leave it out"):
            translate(world, "transformer", [""], **option)  # also where nothing is to be decoded
        with pytest.raises(UserError, match="for non-autoregressive models, which CTranslate2 does not run"):
            evaluate(world, tmp_path / "scores", "transformer", engine="ctranslate2", **option)
        with pytest.raises(UserError, match="for non-autoregressive models, which CTranslate2 does not run"):
            STAGES["distill"].check(
                DistillOptions(teacher=world / "transformer", data=world / "data", engine="ctranslate2", **option)
            )

    def test_for_non_autoregressive_models(self, world: Path) -> None:
        for model, option, message in (
            ("nat", {"iterations": 2}, "iterations 2 is for a model that is refined in iterations"),
            ("cmlm", {"penalty": 1.0}, r"penalty 1.0 is for a model that inserts words \(inst, levt"),
            ("toy", {"beam": 5}, "decode with beam 1"),
            ("cmlm", {"rescoring_samples": 4}, r"for a model with latent variables \(flowseq\), not for this one"),
            ("flowseq", {"penalty": 1.0}, r"penalty 1.0 is for a model that inserts words \(inst, levt"),
            (
                "cmlm",
                {"sampling": True},
                r"for a model that is autoregressive \(transformer, mixture, rnn, hybrid\), not for",
            ),
            ("cmlm", {"engine": "ctranslate2"}, "one of cmlm: use --engine torch"),
        ):
            with pytest.raises(UserError, match=message):
                translate(world, model, **option)

    def test_a_model_that_inserts_has_a_beam_of_one_by_default(self, world: Path) -> None:
        options = TranslateOptions(model=world / "toy")
        assert list(translate_lines(options, LINES)) == translate(world, "toy", beam=1)

    def test_rescoring_from_the_command_line_and_from_python(self, world: Path, tmp_path: Path, call: Call) -> None:
        options = {"beam": 3, "rescoring_samples": 4}
        words = ("translate", "--model", str(world / "flowseq"), "--beam", "3", "--rescoring-samples", "4")
        code, out, _ = call(*words, stdin="".join(f"{line}\n" for line in LINES).encode())
        assert code == 0 and out.splitlines() == translate(world, "flowseq", **options)
        assert out.splitlines()[1] == "", "an empty line stays one"
        assert evaluate(world, tmp_path / "scores", "flowseq", **options)["passes"] == 5
        settings = DistillOptions(teacher=world / "flowseq", data=world / "data", workers=1, **options)
        run_stage("distill", settings, tmp_path / "distilled", Silent(), title="distill")
        assert read_json(tmp_path / "distilled" / "shards" / "store.json")["options"]["rescoring_samples"] == 4

    def test_iterations_below_one(self, world: Path, call: Call) -> None:
        code, _, errors = call("translate", "--model", str(world / "cmlm"), "--iterations", "0", stdin=b"lamp\n")
        assert code == 2 and "'iterations'" in errors and "it is 0" in errors


class TestPenalty:
    def tuned(self, world: Path, out: Path, model: str = "toy", **options: Any) -> dict[str, Any]:
        settings = TunePenaltyOptions(model=world / model, data=world / "data", **options)
        STAGES["tune-penalty"].check(settings)
        return run_stage("tune-penalty", settings, out, Silent(), title="tune-penalty").results

    def test_the_best_of_the_validation_text(self, world: Path, tmp_path: Path) -> None:
        """The toy copies its source at a penalty of BEST, and all targets are copies."""
        results = self.tuned(world, tmp_path / "tuned", penalties=[0.0, 1.0, BEST, 3.0])
        assert results["penalty"] == BEST and results["bleu"] == pytest.approx(100)
        assert [row["penalty"] for row in results["trials"]] == [0.0, 1.0, BEST, 3.0]
        assert all(row["score"] < 99 for row in results["trials"] if row["penalty"] != BEST)
        stored = read_json(tmp_path / "tuned" / "penalty.json")
        assert stored["model"] == load_model(world / "toy").fingerprint and stored["penalty"] == BEST
        assert "nrefs:1" in stored["bleu_signature"]

    def test_of_equals_the_smallest(self, world: Path, tmp_path: Path) -> None:
        assert self.tuned(world, tmp_path / "tuned", penalties=[4.0, 3.0, -1.0, -9.0])["penalty"] == 3.0

    def test_a_run_that_was_cut_off_goes_on(self, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[float] = []
        whole = self.tuned(world, tmp_path / "whole", penalties=[0.0, 1.0, BEST])

        def stopped(*given: Any, penalty: float, **options: Any) -> Any:
            tried.append(penalty)
            if tried == [0.0, 1.0]:
                raise KeyboardInterrupt
            return original(*given, penalty=penalty, **options)

        original = tune_verb.try_penalty
        monkeypatch.setattr(tune_verb, "try_penalty", stopped)
        with pytest.raises(KeyboardInterrupt):
            self.tuned(world, tmp_path / "parts", penalties=[0.0, 1.0, BEST])
        assert self.tuned(world, tmp_path / "parts", penalties=[0.0, 1.0, BEST]) == whole
        assert tried == [0.0, 1.0, 1.0, BEST]
        files = [(tmp_path / name / "penalty.json").read_bytes() for name in ("whole", "parts")]
        assert files[0] == files[1]

    def test_the_file_is_read_by_translate_evaluate_and_distill(self, world: Path, tmp_path: Path) -> None:
        self.tuned(world, tmp_path / "tuned", penalties=[BEST])
        assert translate(world, "toy") != LINES
        for path in (tmp_path / "tuned", tmp_path / "tuned" / "penalty.json"):
            assert translate(world, "toy", penalty_file=path) == LINES == translate(world, "toy", penalty=BEST)
        assert evaluate(world, tmp_path / "scores", "toy", penalty_file=tmp_path / "tuned")["bleu"] == pytest.approx(
            100
        )
        distilled = DistillOptions(
            teacher=world / "toy", data=world / "data", beam=1, workers=1, penalty_file=tmp_path / "tuned"
        )
        results = run_stage("distill", distilled, tmp_path / "distilled", Silent(), title="distill").results
        assert results["share_equal_to_reference"] == 1
        assert read_json(tmp_path / "distilled" / "shards" / "store.json")["options"]["penalty"] == BEST

    def test_of_another_model_is_refused(self, world: Path, tmp_path: Path) -> None:
        self.tuned(world, tmp_path / "tuned", penalties=[1.0])
        for model in ("other", "transformer"):
            with pytest.raises(UserError, match=r"penalty\.json: is for another model"):
                translate(world, model, penalty_file=tmp_path / "tuned")

    @pytest.mark.parametrize(
        ("content", "message"),
        [({"penalty": 1.0}, "not a penalty file"), ({"seal": 3}, "was altered"), (None, "no such file")],
    )
    def test_what_is_no_penalty_file(self, world: Path, tmp_path: Path, content: Any, message: str) -> None:
        if content is not None:
            write = write_json if "seal" in content else write_sealed
            write(tmp_path / "penalty.json", content)
        with pytest.raises(UserError, match=message):
            translate(world, "toy", penalty_file=tmp_path / "penalty.json")

    def test_twice(self, world: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="both give the penalty; keep one"):
            translate(world, "toy", penalty=1.0, penalty_file=tmp_path)

    @pytest.mark.parametrize("model", ["cmlm", "transformer"])
    def test_of_a_model_that_inserts_nothing(self, world: Path, tmp_path: Path, model: str) -> None:
        with pytest.raises(UserError, match="inserts no words, so there is no penalty to tune"):
            self.tuned(world, tmp_path / "tuned", model)

    @pytest.mark.parametrize("penalties", [[], [1.0, 1.0]])
    def test_grids_that_cannot_be(self, world: Path, tmp_path: Path, penalties: list[float]) -> None:
        with pytest.raises(UserError, match="expected one or more different numbers"):
            self.tuned(world, tmp_path / "tuned", penalties=penalties)

    def test_needs_validation_text(self, world: Path, tmp_path: Path) -> None:
        keep = Filters(keep_copies=True)
        prepare(train=copies(60, 1), valid=None, test=None, out=tmp_path / "data", vocab_size=60, filters=keep)
        with pytest.raises(UserError, match="holds no validation data, which decides the penalty"):
            run_stage(
                "tune-penalty",
                TunePenaltyOptions(model=world / "toy", data=tmp_path / "data"),
                tmp_path / "t",
                Silent(),
                title="t",
            )

    def test_test_text_decides_nothing(self, world: Path, tmp_path: Path) -> None:
        """The same text with other test data gives the same file."""
        parts = {"train": copies(60, 1), "valid": copies(12, 2), "test": copies(5, 9)}
        keep = Filters(keep_copies=True)
        prepare(**parts, out=tmp_path / "data", tokenizer_from=world / "data", filters=keep)
        first = self.tuned(world, tmp_path / "a", penalties=[0.0, BEST])
        settings = TunePenaltyOptions(model=world / "toy", data=tmp_path / "data", penalties=[0.0, BEST])
        assert run_stage("tune-penalty", settings, tmp_path / "b", Silent(), title="tune-penalty").results == first

    def test_in_a_recipe(self, world: Path, tmp_path: Path) -> None:
        (tmp_path / "toy.toml").write_text(f"""
            [tune-penalty.penalty]
            model = "{world}/toy"
            data = "{world}/data"
            penalties = [0.0, {BEST}]

            [evaluate.test]
            model = "{world}/toy"
            data = "{world}/data"
            beam = 1
            metrics = "bleu"
            speed_lines = 0
            penalty_file = "penalty"
        """)
        outcomes = run_recipe(read_recipe(tmp_path / "toy.toml", out=tmp_path / "run"), Silent)
        assert [step.name for step, _ in outcomes] == ["penalty", "test"]
        assert outcomes[1][1].results["bleu"] == pytest.approx(100)

    def test_on_the_command_line(self, world: Path, tmp_path: Path, call: Call) -> None:
        words = (
            "tune-penalty",
            "--model",
            str(world / "toy"),
            "--data",
            str(world / "data"),
            "--penalties",
            "0",
            "--penalties",
            "2",
        )
        code, out, errors = call(*words, "--out", str(tmp_path / "tuned"))
        assert code == 0, errors
        assert "best: 2 " in out and "nrefs:1" in out and "100.00" in out
        assert "nothing to do" in call(*words, "--out", str(tmp_path / "tuned"))[1]


class TestReranking:
    def test_translate_and_evaluate_take_what_the_teacher_prefers(self, world: Path, tmp_path: Path) -> None:
        lines = [*LINES, *DataDirectory.open(world / "data").test.sources()]
        teacher, options = load_model(world / "transformer"), DecodingOptions(beam=4, n_best=4)
        expected = []
        for line, candidates in zip(lines, engine_of(world / "cmlm").decode(lines, options), strict=True):
            texts = [candidate.text for candidate in candidates]
            ids = [teacher.tokenizers.source.encode(text) for text in (line, *texts)]
            scores = mean_log_probs(teacher.model, [(ids[0], target) for target in ids[1:]])
            expected.append(texts[max(range(len(texts)), key=lambda place: (bool(texts[place]), scores[place]))])
        short = {"beam": 4, "length_penalty": 0.0}  # the student's own choice: the shortest
        assert translate(world, "cmlm", lines, **short) != expected
        assert translate(world, "cmlm", lines, **short, rerank=world / "transformer") == expected
        settings = TranslateOptions(model=world / "cmlm", **short, rerank=world / "transformer")
        assert [translation for translation, _ in trace_lines(settings, lines)] == expected
        (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
        text = {"data": None, "source": tmp_path / "text", "reference": tmp_path / "text"}
        evaluate(world, tmp_path / "scores", "cmlm", **short, rerank=world / "transformer", **text)
        assert (tmp_path / "scores" / "hypotheses.txt").read_text().split("\n")[:-1] == expected

    @pytest.mark.slow
    def test_distill_in_several_processes(self, world: Path, tmp_path: Path) -> None:
        stores = []
        for workers in (1, 2):
            settings = DistillOptions(
                teacher=world / "cmlm",
                data=world / "data",
                beam=2,
                rerank=world / "transformer",
                workers=workers,
                shard_lines=20,
            )
            run_stage("distill", settings, tmp_path / str(workers), Silent(), title="distill")
            stores.append((tmp_path / str(workers) / "train.arrow").read_bytes())
            recorded = read_json(tmp_path / str(workers) / "shards" / "store.json")
            assert recorded["inputs"]["engine"]["rerank"]["model"] == load_model(world / "transformer").fingerprint
        assert stores[0] == stores[1]

    def test_needs_a_teacher_and_several_hypotheses(self, world: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="must score given outputs"):
            translate(world, "cmlm", beam=4, rerank=world / "nat")
        with pytest.raises(UserError, match="give a beam of 2 or more"):
            STAGES["evaluate"].check(EvaluateOptions(model=world / "cmlm", beam=1, rerank=world / "transformer"))
        with pytest.raises(UserError, match="no such directory"):
            translate(world, "cmlm", beam=4, rerank=tmp_path / "none")
        with pytest.raises(UserError, match="has one candidate a sentence, so there is nothing to rerank"):
            translate(world, "toy", beam=4, rerank=world / "transformer")
        with pytest.raises(UserError, match="rerank and rescoring_samples both order the candidates: keep one"):
            translate(world, "flowseq", beam=4, rerank=world / "transformer", rescoring_samples=2)


class TestTraining:
    def train(self, world: Path, out: Path, model: str, **options: Any) -> dict[str, Any]:
        given = {"max_updates": 4, "validate_every": 2, "warmup": 2, "batch_tokens": 128, "tensorboard": False}
        given |= {"threads": 1, "set": SIZES}
        settings = TrainOptions(model=model, data=world / "data", **(given | options))
        return run_stage("train", settings, out, Silent(), title="train").results

    @pytest.mark.parametrize("model", ["inat", "cmlm"])
    def test_averages_and_scores_the_refined_output(self, world: Path, tmp_path: Path, model: str) -> None:
        """BLEU of the mean of two checkpoints is what `evaluate` finds for it."""
        results = self.train(world, tmp_path / "model", model, average_count=2)
        assert results["averaged"] == "2, 4"
        again = evaluate(world, tmp_path / "scores", str(tmp_path / "model"), split="valid")
        assert again["bleu"] == pytest.approx(results["valid"]["bleu"], abs=1e-3)
        assert again["perplexity"] > 1

    def test_flowseq_goes_through_its_phases(self, world: Path, tmp_path: Path) -> None:
        """The mean of two checkpoints has the last one's count of updates; a training without a prior is refused."""
        sizes = SIZES | FLOW
        results = self.train(
            world,
            tmp_path / "model",
            "flowseq",
            average_count=2,
            accumulate=2,
            set=sizes | {"autoencoder_updates": 1, "kl_updates": 2},
        )
        assert results["averaged"] == "2, 4"
        assert int(load_model(tmp_path / "model").model.phases.updates) == 4
        assert evaluate(world, tmp_path / "scores", str(tmp_path / "model"), split="valid")["passes"] == 1
        settings = TrainOptions(model="flowseq", data=world / "data", max_updates=5000)
        with pytest.raises(UserError, match="cannot translate before the end of its autoencoder_updates"):
            STAGES["train"].check(settings)

    @pytest.mark.parametrize(("model", "sizes"), [("levt", SIZES), ("nat", SIZES | {"length": "absolute"})])
    def test_targets_longer_than_the_classes(
        self, world: Path, tmp_path: Path, call: Call, model: str, sizes: dict[str, Any]
    ) -> None:
        """Refused before anything is written, or left out when asked; in what is tested they are decoded at least."""

        def text(source: str, seed: int) -> ParallelCorpus:
            long = [SentencePair(source, " ".join(["lamp"] * count)) for count in (255, 256, 300)]
            return ParallelCorpus.from_pairs("long", [*long, *copies(60 if seed == 1 else 6, seed)])

        parts = {
            "train": text("off off off off", 1),
            "valid": text("door door door door", 2),
            "test": text("room room room room", 3),
        }
        filters = Filters(keep_copies=True, max_length=300, max_ratio=1e4)
        prepare(**parts, out=tmp_path / "data", vocab_size=60, filters=filters)
        given = {"max_updates": 2, "batch_tokens": 512, "threads": 1, "set": sizes, "data": tmp_path / "data"}
        words = ["train", "--model", model, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "refused")]
        words += [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
        code, _, errors = call(*words, "--max-updates", "2", "--batch-tokens", "512")
        assert code == 2
        assert "2 targets are too long" in errors and "that of pair 2:" in errors and "--max-positions 256" in errors
        assert [path.name for path in (tmp_path / "refused").iterdir()] == [".lock"]
        settings = TrainOptions(model=model, **given, max_positions=256, tensorboard=False)
        results = run_stage("train", settings, tmp_path / "model", Silent(), title="train").results
        assert results["pairs_left_out"] == 2 and results["valid"]["left_out"] == 2
        scores = evaluate(world, tmp_path / "scores", str(tmp_path / "model"), data=tmp_path / "data")
        assert scores["perplexity_left_out"] == 2
        assert len((tmp_path / "scores" / "hypotheses.txt").read_text().split("\n")[:-1]) == 9

    @pytest.mark.parametrize("objective", ["imitkd", "nll+full"])
    def test_they_have_no_prefixes_to_label(self, world: Path, tmp_path: Path, objective: str) -> None:
        with pytest.raises(UserError, match=r"model 'cmlm' is non-autoregressive: distill whole sequences"):
            self.train(world, tmp_path / "model", "cmlm", objective=objective, teacher=[world / "transformer"])
