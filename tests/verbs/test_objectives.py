"""Every objective from settings to a trained model; every combination that means nothing is refused."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.models.saved import load_model
from seqdistill.options import TrainOptions
from seqdistill.progress import Silent
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.training.log import read_log
from seqdistill.verbs.objectives import OBJECTIVES, check_objective
from seqdistill.verbs.train import train

WORDS = ["lamp", "door", "heat", "light", "open", "closed", "window", "sensor", "room", "off"]
TINY = {
    "transformer": {"dim": 16, "ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2},
    "nat": {"dim": 16, "ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2},
    "sru": {"dim": 16, "embedding_dim": 8, "layers": 1},
}


def pairs(count: int, seed: int) -> ParallelCorpus:
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        words = chance.choices(WORDS, k=chance.randint(2, 6))
        rows.append(SentencePair(" ".join(words), " ".join(reversed(words))))
    return ParallelCorpus.from_pairs("made up", rows)


def prepared(folder: Path, vocab_size: int = 60) -> Path:
    prepare(train=pairs(80, 1), valid=pairs(10, 2), test=pairs(10, 3), out=folder, vocab_size=vocab_size)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data") / "data")


def settings(data: Path, model: str = "sru", **values: Any) -> TrainOptions:
    given = {
        "max_updates": 6,
        "validate_every": 3,
        "warmup": 2,
        "batch_tokens": 128,
        "tensorboard": False,
        "threads": 1,
    }
    return TrainOptions(data=data, model=model, set=TINY[model], **(given | values))


@pytest.fixture(scope="module")
def teachers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        train(settings(data, "transformer", seed=seed), folder / str(seed), Silent())
    train(settings(data, "nat"), folder / "nat", Silent())
    return [folder / name for name in ("1", "2", "nat")]


@pytest.mark.parametrize("name", [name for name, method in OBJECTIVES.items() if method.needs_teacher])
@pytest.mark.parametrize("model", ["sru", "transformer"])
def test_every_objective_trains_every_student(
    data: Path, teachers: list[Path], tmp_path: Path, name: str, model: str
) -> None:
    values: dict[str, Any] = {"mixing_rate": 0.1, "rollout_max_length": 8} if name[:3] != "nll" else {}
    values |= {"dagger_rounds": 2} if name.startswith("dagger") else {}
    results = train(settings(data, model, objective=name, teacher=teachers[:1], **values), tmp_path, Silent())
    assert results["updates"] == 6
    assert load_model(tmp_path).tokenizers.fingerprint == DataDirectory.open(data).tokenizers.fingerprint


def test_ensembles_sampled_roll_outs_and_the_datas_labels(data: Path, teachers: list[Path], tmp_path: Path) -> None:
    given = {"teacher": teachers[:2], "mixing_rate": 0.5, "rollout_sampling": True, "rollout_top_k": 5}
    labels = {}
    for choice in ("teacher", "data"):
        out = tmp_path / choice
        train(settings(data, objective="imitkd", data_labels=choice, **given), out, Silent())
        labels[choice] = (out / "model" / "model.safetensors").read_bytes()
    assert labels["teacher"] != labels["data"]
    given |= {"divergence": "js", "skew": 0.1, "divergence_temperature": 2.0, "teacher_top_k": 4, "dagger_rounds": 2}
    train(settings(data, objective="dagger+full", **given), tmp_path / "dagger", Silent())
    assert len(list((tmp_path / "dagger" / "rounds").glob("*.parquet"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["imitkd", "imitkd+full"])
def test_two_processes_imitate_as_one(data: Path, teachers: list[Path], tmp_path: Path, objective: str) -> None:
    """The same roll-outs, labels and updates: only sums of float32 in another order differ."""
    given = {"accumulate": 4, "pool": 2, "mixing_rate": 0.1, "rollout_max_length": 8, "log_every": 1}
    asked = settings(data, objective=objective, teacher=teachers[:1], batch_tokens=64, **given)
    train(asked, tmp_path / "one", Silent())
    words = ["--data", str(data), "--model", "sru", "--teacher", str(teachers[0]), "--objective", objective]
    words += [word for key, value in TINY["sru"].items() for word in ("--set", f"{key}={value}")]
    for name in ("max_updates", "validate_every", "warmup", "batch_tokens", *given):
        words += [f"--{name.replace('_', '-')}", str(asked.values()[name])]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "seqdistill", "train"]
    words += ["--precision", "float32"]
    command = [sys.executable, *launcher, *words, "--threads", "1", "--no-tensorboard", "--out", str(tmp_path / "two")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    shared = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert shared.returncode == 0, shared.stderr
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    one, two = ([row for row in rows if row["kind"] in ("train", "valid")] for rows in logs)
    assert len(one) == len(two) == 8
    for row, its in zip(one, two, strict=True):
        same = row.keys() & {"kind", "update", "learning_rate", "loss", "gradient_norm", "perplexity", "bleu"}
        assert {key: its[key] for key in same - {"kind"}} == pytest.approx(
            {key: row[key] for key in same - {"kind"}}, rel=1e-4
        )
    weights = [load_model(tmp_path / name).model.state_dict() for name in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["sru", "transformer"])
def test_dagger_continues_to_the_same_bytes_and_finds_altered_rounds(
    data: Path, teachers: list[Path], tmp_path: Path, model: str
) -> None:
    def run(out: Path, updates: int) -> None:
        given = {"objective": "dagger+full", "teacher": teachers[:1], "dagger_rounds": 3, "save_every": 1}
        given |= {"rollout_max_length": 8, "average": "last"}
        train(settings(data, model, max_updates=updates, **given), out, Silent())

    run(tmp_path / "whole", 6)
    with pytest.raises(KeyboardInterrupt):
        train(
            settings(
                data,
                model,
                objective="dagger+full",
                teacher=teachers[:1],
                dagger_rounds=3,
                save_every=1,
                rollout_max_length=8,
                average="last",
            ),
            tmp_path / "parts",
            Interrupting(4),
        )
    run(tmp_path / "parts", 6)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    first = tmp_path / "parts" / "rounds" / "0001.parquet"
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(UserError, match="gone or altered"):
        run(tmp_path / "parts", 6)


class Interrupting(Silent):
    """Stops a training after so many updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        self.updates -= amount
        if self.updates < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "imitkd+ful"}, r"did you mean 'imitkd\+full'"),
        ({"objective": "imitkd"}, "learns from a teacher: give --teacher"),
        ({"objective": "nll", "teacher": ["t"]}, "'nll' does not read teacher"),
        ({"objective": "nll+full", "teacher": ["t"], "mixing_rate": 0.5}, "does not read mixing_rate, which is 0.5"),
        (
            {"objective": "imitkd", "teacher": ["t"], "divergence_temperature": 2.0},
            "does not read divergence_temperature",
        ),
        ({"objective": "imitkd+full", "teacher": ["t"], "label_smoothing": 0.2}, "does not read label_smoothing"),
        ({"objective": "imitkd+full", "teacher": ["t"], "data_labels": "data"}, "does not read data_labels"),
        ({"objective": "dagger", "teacher": ["t"], "pool": 2}, "does not read pool"),
        ({"objective": "nll+full", "teacher": ["t"], "divergence": "reverse"}, "did you mean 'reverse-kl'"),
        ({"objective": "imitkd", "teacher": ["t"], "mixing_rate": 0.0}, "'mixing_rate': .*greater than 0"),
        ({"objective": "imitkd", "teacher": ["t"], "mixing_rate": 1.01}, "'mixing_rate': .*less than or equal to 1"),
        ({"objective": "imitkd", "teacher": ["t"], "pool": 0}, "'pool': .*greater than or equal to 1"),
        ({"objective": "imitkd", "teacher": ["t"], "rollout_top_k": 5}, "belong to sampling"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_read(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_objective(TrainOptions(data=Path("none"), model="sru", **values))


def test_teachers_that_cannot_teach(data: Path, teachers: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be autoregressive.*seqdistill distill"):
        train(settings(data, objective="imitkd", teacher=[teachers[2]]), tmp_path / "a", Silent())
    other = prepared(tmp_path / "other", vocab_size=55)
    with pytest.raises(UserError, match=r"source vocabulary is not that of the data \(piece .*--student-data"):
        train(settings(other, objective="nll+full", teacher=teachers[:1]), tmp_path / "b", Silent())
    with pytest.raises(UserError, match=r"dagger_rounds must be from 1 to max_updates \(6\), but is 7"):
        train(settings(data, objective="dagger", teacher=teachers[:1], dagger_rounds=7), tmp_path / "c", Silent())


def test_a_checkpoint_of_another_kind_of_stream_is_refused(data: Path, teachers: list[Path], tmp_path: Path) -> None:
    train(settings(data, max_updates=3), tmp_path, Silent())
    with pytest.raises(UserError, match="kind: 'batches' there, 'roll-outs' now"):
        train(settings(data, objective="imitkd", teacher=teachers[:1]), tmp_path, Silent())
    with pytest.raises(UserError, match="kind: 'batches' there, 'rounds' now"):
        train(settings(data, objective="dagger", teacher=teachers[:1]), tmp_path, Silent())
    assert read_json(tmp_path / "model" / "config.json")
