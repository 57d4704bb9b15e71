"""`export` as a stage, and the compiled engine in every verb that decodes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from native.compiled import engine_sets

import seqdistill
from seqdistill.api import Translator
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.manifest import recorded
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.native import library
from seqdistill.native.student import Student
from seqdistill.options import (
    DecodingOptions,
    DistillOptions,
    EvaluateOptions,
    ExportOptions,
    TranslateOptions,
    TunePenaltyOptions,
)
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe
from seqdistill.runtime.compiled_engine import compiled_engine
from seqdistill.runtime.engines import create_engine, load_engine
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.shown import exports
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.verbs import engine as verbs_engine
from seqdistill.verbs import export as verbs_export
from seqdistill.verbs.translate import translate_lines

Call = Callable[..., tuple[int, str, str]]
WORDS = ["a", "dog", "runs", "on", "and", "cat", "sees", "red", "trees"]
SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
LINES = ["a dog runs", "", "a cat sees red trees", "dogs run on and on"]


def pairs(count: int, seed: int) -> list[SentencePair]:
    draw = random.Random(seed)
    lines = [draw.choices(WORDS, k=draw.randint(2, 6)) for _ in range(count)]
    return [SentencePair(" ".join(line), " ".join(word[::-1] for word in line)) for line in lines]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, models with random weights, and exports of them."""
    engine_sets()
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", pairs(60, seed=2))
    train = ParallelCorpus.from_pairs("train", pairs(300, seed=1))
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=50)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    for name in ("transformer", "nat", "levt", "flowseq", "sru"):
        torch.manual_seed(1)
        sizes = {"dim": 16, "embedding_dim": 8} if name == "sru" else SIZES
        flow = {"posterior_layers": 1, "flow_steps": "1", "flow_ffn_dim": 16} if name == "flowseq" else {}
        model = create_model(name, tokenizers, **sizes, **flow)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn(parameter.shape)
        save_model(model, tokenizers, folder / name)
    for name, options in (
        ("transformer", {}),
        ("sru", {"shortlist": folder / "data"}),
        ("levt", {"shortlist": folder / "data"}),
    ):
        export(folder, name, folder / f"{name}-out", precision="float32", data=folder / "data", **options)
    return folder


def export(world: Path, model: str, out: Path, **options: Any) -> dict[str, Any]:
    settings = ExportOptions(model=world / model, **options)
    return run_stage("export", settings, out, Silent(), title="export").results


def test_float32_is_torch_token_by_token(world: Path) -> None:
    for name in ("transformer", "sru", "levt"):
        found = recorded(world / f"{name}-out")["results"]["verified"]
        assert found["lines"] == found["float32"]["equal_lines"] + found["float32"]["ties"] == 60
        assert found["float32"]["ties"] <= 1 and found["torch"]["bleu"] == pytest.approx(
            found["float32"]["bleu"], abs=0.5
        )
    for name in ("sru", "levt"):
        assert "float32 with shortlist" in recorded(world / f"{name}-out")["results"]["verified"]


def test_verification_sees_what_is_lost(world: Path, tmp_path: Path) -> None:
    """Against scores of texts decoded here by hand."""
    data = DataDirectory.open(world / "data")
    (tmp_path / "s").write_text("".join(f"{source}\n" for source in data.valid.sources()))  # type: ignore[union-attr]
    loaded = load_model(world / "sru")
    expected = create_engine("torch", loaded).decode((tmp_path / "s").read_text().splitlines(), DecodingOptions(beam=1))
    (tmp_path / "t").write_text("".join(f"{row[0].text}\n" for row in expected))
    found = export(world, "sru", tmp_path / "out", valid_source=tmp_path / "s", valid_target=tmp_path / "t")["verified"]
    lines = (tmp_path / "s").read_text().splitlines()
    same = sum(
        a == b[0].text for a, b in zip(Student(tmp_path / "out").translate(lines, beam=1), expected, strict=True)
    )
    assert found["torch"]["bleu"] == pytest.approx(100) and found["int8"]["equal_lines"] <= same <= 60
    loss = found["int8"]["bleu_loss"]
    assert loss == pytest.approx(100 - found["int8"]["bleu"], abs=1e-3)
    assert found["int8"]["bleu_loss_low"] <= loss <= found["int8"]["bleu_loss_high"]


@pytest.mark.parametrize(("most", "told"), [(-1000.0, True), (1000.0, False)])
def test_what_to_do_about_a_loss_is_told(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, told: bool
) -> None:
    monkeypatch.setattr(verbs_export, "MOST_LOST", most)
    results = export(world, "sru", tmp_path / "out", data=world / "data", verify_lines=5)
    shown = [part for part in exports(results) if isinstance(part, str)]
    assert told == ("advice" in results) == any(f"--init {world / 'sru'} " in part for part in shown)
    assert not any(part.startswith("advice") for part in shown)
    exact = export(world, "sru", tmp_path / "exact", data=world / "data", verify_lines=5, precision="float32")
    assert "advice" not in exact


def test_a_finished_export_is_not_made_again_and_others_are_refused(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(world, "transformer", out, verify_lines=0)
    before = (out / "export.json").stat().st_mtime_ns
    settings = ExportOptions(model=world / "transformer", verify_lines=0)
    assert not run_stage("export", settings, out, Silent(), title="t").done_now
    assert (out / "export.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="precision: 'int8' there, 'float32' now"):
        export(world, "transformer", out, verify_lines=0, precision="float32")
    with pytest.raises(
        UserError,
        match=r"compiled runs .*one of flowseq \(it draws .*: it runs as it was trained, with --engine torch",
    ):
        export(world, "flowseq", tmp_path / "flow")
    with pytest.raises(
        UserError,
        match=r"ctranslate2 runs transformer, mixture, but .* one of rnn: use --to compiled$",
    ):
        export(world, "sru", tmp_path / "ct2", to="ctranslate2")
    with pytest.raises(UserError, match="is an exported model, which the compiled engine decodes with"):
        export(world, "transformer-out", tmp_path / "again")
    with pytest.raises(UserError, match="valid_source and valid_target go together"):
        export(world, "sru", tmp_path / "half", valid_source=world / "data" / "data.json")


def test_ctranslate2_with_its_map(world: Path, tmp_path: Path) -> None:
    shared = {"to": "ctranslate2", "precision": "float32", "shortlist": world / "data"}
    found = export(world, "transformer", tmp_path / "out", **shared)["verified"]
    assert found["float32"]["equal_lines"] + found["float32"]["ties"] == 60
    files = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert {"model.bin", "config.json", "vmap.txt", "seqdistill.json", "tokenizer", "manifest.json"} <= files
    with pytest.raises(UserError, match="holds a model of CTranslate2"):
        load_model(tmp_path / "out")
    small = export(world, "transformer", tmp_path / "small", to="ctranslate2", verify_lines=0)
    assert small["bytes"] < (tmp_path / "out" / "model.bin").stat().st_size
    with torch.no_grad():  # what quantises in place has not touched the trained model
        weights = load_model(world / "transformer").model.state_dict()
    assert all(weight.isfinite().all() for weight in weights.values())


def outputs(world: Path, model: str, **options: Any) -> list[str]:
    return list(translate_lines(TranslateOptions(model=world / model, **{"max_length": 9, **options}), LINES))


def test_translate_with_an_exported_model_and_by_itself(world: Path, call: Call) -> None:
    for beam in (1, 3):
        expected = outputs(world, "transformer", engine="torch", beam=beam)
        assert outputs(world, "transformer", engine="compiled", compute_type="float32", beam=beam) == expected
        assert outputs(world, "transformer-out", beam=beam) == outputs(world, "transformer", beam=beam) == expected
    text = "".join(f"{line}\n" for line in LINES).encode()
    words = ("translate", "--beam", "3", "--max-length", "9", "--model")
    code, out, errors = call(*words, str(world / "transformer"), stdin=text)
    assert (code, out.splitlines(), errors) == (0, expected, "engine: compiled float32\n")
    code, out, errors = call(*words, str(world / "transformer-out"), "--engine", "compiled", stdin=text)
    assert (code, out.splitlines(), errors) == (0, expected, "")
    code, _, errors = call(*words, str(world / "flowseq"), stdin=text)
    assert code == 0 and errors == "engine: torch float32\n"


def test_auto_is_torch_where_the_engine_is_not_built_or_cannot(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(model: str = "transformer", **options: Any) -> str:
        settings = TranslateOptions(model=world / model, **options)
        return verbs_engine.open_engine(settings).engine.fingerprint["engine"]

    assert chosen() == chosen("nat") == chosen(compute_type="int8") == "compiled"
    assert chosen(sampling=True) == chosen(trace=True) == chosen("flowseq") == "torch"
    monkeypatch.setattr(library, "missing", lambda: "not built")
    assert chosen() == "torch"
    told = list[str]()
    settings = TranslateOptions(model=world / "transformer", max_length=9)
    assert list(translate_lines(settings, LINES, tell=told.append)) == outputs(world, "transformer", engine="torch")
    assert chosen("flowseq") == "torch" and told == ["engine: torch float32 (not built)"]


def test_stages_record_the_engine_and_not_the_machine(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained model is scored by torch whether or not there is a compiler, so old records stay what they are."""
    shared: dict[str, Any] = {"data": world / "data"}
    assert EvaluateOptions(model=world / "transformer", **shared).recorded()["engine"] == "torch"
    assert EvaluateOptions(model=world / "transformer-out", **shared).recorded()["engine"] == "compiled"
    assert DistillOptions(teacher=world / "transformer", **shared).recorded()["engine"] == "torch"
    assert DistillOptions(teacher=world / "sru-out", **shared).recorded()["engine"] == "compiled"
    assert EvaluateOptions(model=world / "sru", engine="compiled", **shared).recorded()["engine"] == "compiled"
    assert TunePenaltyOptions.defaults()["engine"] == "torch" and EvaluateOptions.defaults()["engine"] == "torch"


def test_evaluate_and_distill_with_exported_models(world: Path, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"data": world / "data", "beam": 2, "max_length": 9}
    results, texts = {}, {}
    for name, engine in (("transformer", "torch"), ("transformer", "compiled"), ("transformer-out", "auto")):
        precise = {"compute_type": "float32"} if engine == "compiled" else {}
        settings = EvaluateOptions(model=world / name, engine=engine, **precise, **shared)
        out = tmp_path / f"{name}-{engine}"
        results[out.name] = run_stage("evaluate", settings, out, Silent(), title="t").results
        texts[out.name] = (out / "hypotheses.txt").read_text()
        teacher = DistillOptions(teacher=world / name, engine=engine, **precise, **shared)
        run_stage("distill", teacher, tmp_path / f"{out.name}-distilled", Silent(), title="t")
    assert len(set(texts.values())) == 1
    stores = [DataDirectory.open(tmp_path / f"{name}-distilled").train for name in texts]
    assert len({tuple(store.targets()) for store in stores}) == 1
    expected = results["transformer-torch"]
    for found in results.values():
        assert found["bleu"] == expected["bleu"] and found["parameters"] == expected["parameters"]
    assert [found["engine"] for found in results.values()] == ["torch float32", "compiled float32", "compiled float32"]
    assert "perplexity" in results["transformer-compiled"] and "perplexity" not in results["transformer-out-auto"]
    with pytest.raises(UserError, match="an exported model tells no perplexity"):
        settings = EvaluateOptions(model=world / "transformer-out", perplexity=True, **shared)
        run_stage("evaluate", settings, tmp_path / "none", Silent(), title="t")


def test_tune_penalty_and_rerank_with_the_compiled_engine(world: Path, tmp_path: Path) -> None:
    found = []
    for number, (name, engine) in enumerate((("levt", "torch"), ("levt", "compiled"), ("levt-out", "auto"))):
        options = {"compute_type": "float32"} if engine == "compiled" else {}
        settings = TunePenaltyOptions(
            model=world / name, data=world / "data", engine=engine, penalties=[0, 2], **options
        )
        run = run_stage("tune-penalty", settings, tmp_path / f"{number}", Silent(), title="t")
        found.append(run.results)
    assert [each["trials"] for each in found] == [found[0]["trials"]] * 3
    reranked = {"rerank": world / "transformer", "beam": 3}
    assert outputs(world, "sru", engine="compiled", compute_type="float32", **reranked) == outputs(
        world, "sru", engine="torch", **reranked
    )
    by_exported = outputs(world, "transformer", engine="torch", beam=3, rerank=world / "sru-out")
    assert by_exported == outputs(world, "transformer", engine="torch", beam=3, rerank=world / "sru")
    tuned = outputs(world, "levt-out", penalty_file=tmp_path / "0" / "penalty.json")
    assert tuned == outputs(world, "levt", engine="torch", penalty=found[0]["penalty"])


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "sru-out",
            {"engine": "torch"},
            "is an exported model, which the engine compiled runs: leave out",
        ),
        ("sru-out", {"sampling": True}, "the compiled engine searches and draws no samples"),
        ("sru", {"sampling": True, "engine": "compiled"}, "the compiled engine searches and draws no samples"),
        ("sru-out", {"expert": 1}, "whose expert was chosen then"),
        ("sru-out", {"compute_type": "int8"}, "was exported in float32, not in int8"),
        ("sru-out", {"device": "cuda"}, "compiled runs on the CPU here; leave out --device cuda"),
        ("sru-out", {"iterations": 3}, "iterations 3 is for a model that is refined in iterations"),
        (
            "sru",
            {"engine": "compiled", "compute_type": "int9"},
            "'int9' is none of the compiled engine's; did you",
        ),
        ("flowseq", {"engine": "compiled"}, r"the engine compiled runs .*: use --engine torch"),
        ("levt-out", {"rerank": "sru", "beam": 2}, "finds the length by itself"),
        ("levt-out", {"prefix": "a"}, "prefix: the engine compiled has no such rule for this model"),
    ],
)
def test_what_the_engine_cannot_do_is_named(world: Path, model: str, options: dict[str, Any], message: str) -> None:
    given = {key: world / value if key == "rerank" else value for key, value in options.items()}
    with pytest.raises(UserError, match=message):
        outputs(world, model, **given)


def test_what_load_gives(world: Path) -> None:
    student, trained = seqdistill.load(world / "sru-out", beam=2), seqdistill.load(world / "sru", beam=2)
    assert isinstance(student, Student) and isinstance(trained, Translator) and trained.engine == "torch float32"
    heavy = seqdistill.load(world / "sru-out", beam=2, rerank=world / "transformer")
    assert isinstance(heavy, Translator) and heavy.engine == "compiled float32"
    shortlisted = Student(world / "sru-out", shortlist=False)
    assert shortlisted.translate(LINES, beam=2) == trained.translate(LINES)


def test_models_are_exported_into_the_cache_once(world: Path, tmp_path: Path) -> None:
    loaded = load_model(world / "sru")
    one = compiled_engine(loaded, cache=tmp_path, compute_type="int8")
    (folder,) = (path for path in (tmp_path / "compiled").iterdir() if not path.name.startswith("."))
    before = (folder / "weights.bin").stat().st_mtime_ns
    assert isinstance(load_engine("compiled", world / "sru", cache=tmp_path), CompiledEngine)
    assert (folder / "weights.bin").stat().st_mtime_ns == before
    (folder / "weights.bin").unlink()  # not cut in place: another process may have mapped it
    (folder / "weights.bin").write_bytes(b"cut")
    other = compiled_engine(loaded, cache=tmp_path)
    options = DecodingOptions(beam=1, max_length=9)
    assert other.decode(LINES, options) == one.decode(LINES, options)
    assert one.fingerprint == other.fingerprint | {"precision": "int8"}


def test_a_recipe_exports_and_scores_what_it_exported(world: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f"""
        [export.small]
        model = "{world / "sru"}"
        shortlist = "{world / "data"}"
        verify_lines = 20
        [evaluate.scores]
        model = "small"
        data = "{world / "data"}"
    """)
    recipe = read_recipe(tmp_path / "recipe.toml", out=tmp_path / "run")
    results = seqdistill.run(tmp_path / "recipe.toml", out=tmp_path / "run", quiet=True)
    assert [step.name for step in recipe.steps] == ["small", "scores"]
    assert results["small"]["verified"]["lines"] == 20 and results["scores"]["engine"] == "compiled int8"
