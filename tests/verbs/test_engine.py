"""What verbs ask of engines: weights read once, rules from the command line to the decoder, a table as teacher."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.decoding.engine import EngineTraits
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.distillation.sequence import distill_corpus
from seqdistill.errors import UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.models import saved
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.options import DecodingOptions, DistillOptions, EvaluateOptions, TranslateOptions, TunePenaltyOptions
from seqdistill.progress import Silent
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.verbs.translate import translate_lines

Call = Callable[..., tuple[int, str, str]]

SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
LINES = ["a dog runs", "", "a cat runs on", "dogs run on and on", "cat and dog"]
WORDS = ["a", "dog", "runs", "on", "and", "cat"]
PAIRS = [SentencePair(" ".join(words), " ".join(words[::-1])) for words in permutations(WORDS, 3)]
HELD_OUT = [SentencePair(" ".join(words), " ".join(words[::-1])) for words in permutations(WORDS, 2)][:6]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory and models with random weights."""
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", HELD_OUT)
    train = ParallelCorpus.from_pairs("train", PAIRS)
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=26)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    for name in ("transformer", "nat"):
        torch.manual_seed(1)
        save_model(create_model(name, tokenizers, **SIZES), tokenizers, folder / name)
    return folder


def translate(world: Path, model: str = "transformer", **options: Any) -> list[str]:
    settings = TranslateOptions(model=world / model, **{"beam": 2, "max_length": 12, **options})
    return list(translate_lines(settings, LINES))


@pytest.mark.parametrize(
    "options", [{}, {"engine": "ctranslate2"}, {"first": True, "first_tokens": 2}, {"rerank": True}]
)
def test_evaluate_reads_every_model_once(world: Path, tmp_path: Path, monkeypatch, options: dict) -> None:
    """Also where a perplexity, parameters and the default beam are asked for."""
    read: list[Path] = []
    original = saved._read_weights

    def counted(path: Path) -> Any:
        read.append(path)
        return original(path)

    monkeypatch.setattr(saved, "_read_weights", counted)
    others = {"first": "first_model", "rerank": "rerank"}
    given = {others.get(key, key): world / "transformer" if key in others else value for key, value in options.items()}
    settings = EvaluateOptions(model=world / "transformer", data=world / "data", speed_lines=0, max_length=8, **given)
    assert run_stage("evaluate", settings, tmp_path / "out", Silent(), title="t").results["perplexity"] > 1
    assert len(read) == 1 + len(given.keys() & set(others.values()))


def test_rules_come_from_the_command_line(world: Path, tmp_path: Path, call: Call) -> None:
    text = "".join(f"{line}\n" for line in LINES).encode()
    (tmp_path / "prefixes").write_text("dog on\n\n\ncat\na\n")
    target = load_model(world / "transformer").tokenizers.target
    pieces = [[target.piece(token) for token in target.encode(line)] for line in ("runs", "a", "cat dog", "on", "dog")]
    (tmp_path / "allowed").write_text("".join(" ".join(row) + "\n" for row in pieces))
    words = ("translate", "--model", str(world / "transformer"), "--beam", "2", "--max-length", "12")
    cases = (
        (("--prefix", "dog on"), {"prefix": "dog on"}),
        (("--prefix-file", str(tmp_path / "prefixes")), {"prefix_file": tmp_path / "prefixes"}),
        (("--allowed-file", str(tmp_path / "allowed")), {"allowed_file": tmp_path / "allowed"}),
        (("--no-repeat-ngram", "1", "--min-length", "5"), {"no_repeat_ngram": 1, "min_length": 5}),
    )
    for given, options in cases:
        code, out, errors = call(*words, *given, stdin=text)
        assert code == 0, errors
        assert out.splitlines() == translate(world, **options) != translate(world)
        assert out.splitlines()[1] == "", "an empty line stays one"
    assert all(line.startswith("dog on") for line in translate(world, prefix="dog on") if line)
    begun = translate(world, prefix_file=tmp_path / "prefixes")
    assert begun[0].startswith("dog on") and begun[3].startswith("cat") and begun[4].startswith("a")
    for line, allowed in zip(translate(world, allowed_file=tmp_path / "allowed"), pieces, strict=True):
        assert {target.piece(token) for token in target.encode(line)} <= {*allowed, "▁"}


def test_rules_in_evaluate_and_distill(world: Path, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"data": world / "data", "prefix": "dog", "beam": 2, "max_length": 9}
    for engine in ("torch", "ctranslate2"):
        precise = {"engine": engine, "compute_type": "float32"}
        settings = EvaluateOptions(model=world / "transformer", **precise, **shared)
        run_stage("evaluate", settings, tmp_path / f"scores {engine}", Silent(), title="t")
        lines = (tmp_path / f"scores {engine}" / "hypotheses.txt").read_text().splitlines()
        assert all(line.startswith("dog") for line in lines)
        teacher = DistillOptions(teacher=world / "transformer", workers=1, **precise, **shared)
        run_stage("distill", teacher, tmp_path / f"distilled {engine}", Silent(), title="t")
        targets = list(DataDirectory.open(tmp_path / f"distilled {engine}").train.targets())
        assert all(target.startswith("dog") for target in targets) and len(targets) == len(PAIRS)


def test_what_cannot_be_kept_is_named(world: Path, tmp_path: Path) -> None:
    (tmp_path / "prefixes").write_text("dog\na дог\n\n\n\n")
    with pytest.raises(UserError, match=r"prefixes, line 2: the vocabulary .* cannot spell 'д' in 'дог'"):
        translate(world, prefix_file=tmp_path / "prefixes")
    with pytest.raises(UserError, match=r"prefix 'ж': the vocabulary .* cannot spell 'ж'"):
        translate(world, prefix="ж")
    (tmp_path / "allowed").write_text("a\nnowhere\n")
    with pytest.raises(UserError, match=r"allowed, line 2: 'nowhere' is no piece of the model's target vocabulary"):
        translate(world, allowed_file=tmp_path / "allowed")
    (tmp_path / "short").write_text("a\na\n")
    with pytest.raises(UserError, match=r"prefix_file .*short: has 2 lines, but line 3 is decoded; give a line for"):
        translate(world, prefix_file=tmp_path / "short")
    (tmp_path / "long").write_text("a\n" * (len(LINES) + 1))
    with pytest.raises(UserError, match=rf"prefix_file .*long: has {len(LINES) + 1} lines, but {len(LINES)} are"):
        translate(world, prefix_file=tmp_path / "long")
    for engine, model in (("ctranslate2", "transformer"), ("torch", "nat")):
        with pytest.raises(UserError, match=r"allowed_file .*every: the engine .* has no such rule for this model"):
            (tmp_path / "every").write_text("a\n" * len(LINES))
            translate(world, model, engine=engine, allowed_file=tmp_path / "every")
    with pytest.raises(UserError, match=r"prefix: the engine (torch|compiled) has no such rule for this model"):
        translate(world, "nat", prefix="dog")


class Titles(Silent):
    """What is reported to begin."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def start(self, title: str, **_: Any) -> None:
        self.titles.append(title)


def test_stages_say_what_computes(world: Path, tmp_path: Path) -> None:
    tokenizers, titles = DataDirectory.open(world / "data").tokenizers, Titles()
    save_model(create_model("levt", tokenizers, **SIZES), tokenizers, tmp_path / "levt")
    shared: dict[str, Any] = {"data": world / "data", "max_length": 9}
    kinds = {
        "distill": DistillOptions(teacher=world / "transformer", workers=1, beam=1, **shared),
        "tune-penalty": TunePenaltyOptions(model=tmp_path / "levt", penalties=[0.0], **shared),
        "evaluate": EvaluateOptions(model=world / "transformer", beam=1, speed_lines=0, **shared),
    }
    for kind, settings in kinds.items():
        run_stage(kind, settings, tmp_path / kind, titles, title="t")
    assert titles.titles.count("t: decoding (torch float32)") == 2
    assert "t: trying penalties (torch float32)" in titles.titles


class Table:
    """A teacher that is a table: text, and how it likes text."""

    traits = EngineTraits(n_best=True, scores=True)
    fingerprint: Mapping[str, Any] = {"engine": "table"}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        candidates = [[source.upper(), " ".join(source.split()[::-1]), source] for source in sources]
        return [
            [TextHypothesis(text, -1.0 - k, -1.0 - k) for k, text in enumerate(row)][: options.n_best]
            for row in candidates
        ]

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """It likes what has much of the source's end at its beginning."""
        return [
            float(target.split()[:1] == source.split()[-1:]) for source, target in zip(sources, targets, strict=True)
        ]


def test_anything_that_turns_text_into_text_with_scores_is_a_teacher(world: Path, tmp_path: Path) -> None:
    data = DataDirectory.open(world / "data")
    distill_corpus(data=data, engine=Table(), out=tmp_path / "table", options=DecodingOptions(beam=1))
    assert list(DataDirectory.open(tmp_path / "table").train.targets()) == [pair.source.upper() for pair in PAIRS]
    with pytest.raises(UserError, match="min_length 3: the engine table has no such option"):
        distill_corpus(data=data, engine=Table(), out=tmp_path / "none", options=DecodingOptions(beam=1, min_length=3))
    reranked = RerankingEngine(Table(), Table())
    distill_corpus(data=data, engine=reranked, out=tmp_path / "reranked", options=DecodingOptions(beam=3))
    expected = [" ".join(pair.source.split()[::-1]) for pair in PAIRS]
    assert list(DataDirectory.open(tmp_path / "reranked").train.targets()) == expected
