"""`--precision auto`: measured once, recorded, and nothing else of the training is changed by it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from conftest import Data
from run_training import small
from toy import Bigram, Stream, loss_of, random_batches

from seqdistill.data.batches import Batch, Batches, ordered_batches
from seqdistill.errors import UserError
from seqdistill.nn.losses import Loss
from seqdistill.options import TrainingOptions
from seqdistill.training import optim, precision
from seqdistill.training.distributed import Ranks
from seqdistill.training.log import read_log
from seqdistill.training.loop import TrainingResult, train
from seqdistill.training.precision import TURNS, Measured, settle

BATCHES = random_batches(12)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def computes_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated where it has to be."""
    for module in (optim, precision):
        monkeypatch.setattr(module, "computes_bfloat16", lambda device: True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Makes an update in float32 and one in bfloat16 take so many seconds."""

    def set_to(float32: float, bfloat16: float) -> None:
        def readings() -> Iterator[float]:
            for _ in range(TURNS):
                yield from (0.0, float32, 0.0, bfloat16)

        monkeypatch.setattr(precision, "perf_counter", readings().__next__)

    return set_to


def run(out: Path, *, batch_of: Callable[[Batch], Loss] | None = None, **changes: Any) -> TrainingResult:
    model = Bigram(dropout=0.3)
    defaults = {"max_updates": 6, "warmup": 2, "learning_rate": 0.1, "validate_every": 2, "metric": "loss"}
    options = TrainingOptions(tensorboard=False, **(defaults | {"accumulate": 2, "log_every": 1} | changes))
    validate = loss_of(model, BATCHES[:3])

    def objective(batch: Batch) -> Loss:
        return model.loss(batch) if batch_of is None else batch_of(batch)

    return train(model, objective, Stream(BATCHES), options=options, validate=validate, out=out)


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = read_log(out / "log.jsonl")
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines if line["kind"] == kind]


@pytest.mark.parametrize(
    ("float32", "bfloat16", "faster"), [(2.0, 1.0, "bfloat16"), (1.08, 1.0, "float32"), (1.0, 2.0, "float32")]
)
def test_bfloat16_is_taken_if_it_is_faster_by_a_tenth(float32: float, bfloat16: float, faster: str) -> None:
    assert Measured(float32, bfloat16).faster == faster


def test_it_is_measured_once(tmp_path: Path, clock: Callable[[float, float], None]) -> None:
    clock(2.0, 1.0)
    assert run(tmp_path).precision == "bfloat16"
    clock(1.0, 2.0)
    assert run(tmp_path, max_updates=8).precision == "bfloat16"
    (row,) = rows(tmp_path, "precision")
    assert row == {
        **{"kind": "precision", "update": 0, "precision": "bfloat16"},
        **{"float32_seconds": 2.0, "bfloat16_seconds": 1.0},
    }


def test_a_run_killed_before_its_first_checkpoint_keeps_what_was_measured(
    tmp_path: Path, clock: Callable[[float, float], None]
) -> None:
    calls = 0

    def killed_in_the_first_update(batch: Batch) -> Loss:
        nonlocal calls
        calls += 1
        if calls > 2 * 2 * TURNS:
            raise KeyboardInterrupt
        return Bigram().loss(batch)

    clock(2.0, 1.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batch_of=killed_in_the_first_update)
    clock(1.0, 2.0)
    assert run(tmp_path).precision == "bfloat16"


def test_killed_while_measuring_it_measures_again(tmp_path: Path, clock: Callable[[float, float], None]) -> None:
    def killed(batch: Batch) -> Loss:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batch_of=killed)
    clock(1.0, 2.0)
    assert run(tmp_path).precision == "float32"


@pytest.mark.parametrize("name", ["transformer-tiny", "flowseq", "mixture"])
@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_measuring_leaves_no_trace(
    data: Data, tmp_path: Path, clock: Callable[[float, float], None], name: str, chosen: str
) -> None:
    """The same bytes of weights, and the same losses on the way, as when that precision was asked for."""
    results = []
    for given in ("auto", chosen):
        torch.manual_seed(1)
        model: Any = small(name, data.tokenizers, dropout=0.1)
        clock(1.0, 2.0 if chosen == "float32" else 0.5)
        options = TrainingOptions(
            tensorboard=False,
            max_updates=4,
            validate_every=2,
            metric="loss",
            warmup=2,
            log_every=1,
            accumulate=2,
            precision=given,
        )
        result = train(
            model,
            model.loss,
            Batches(data.train, max_tokens=200, seed=1),
            options=options,
            validate=loss_of(model, list(ordered_batches(data.valid, max_tokens=200))),
            out=tmp_path / given,
        )
        assert result.precision == chosen
        results.append((result.model.state_dict(), rows(tmp_path / given, "train")))
    (weights, losses), (asked_weights, asked_losses) = results
    assert losses == asked_losses
    assert all(torch.equal(weights[key], value) for key, value in asked_weights.items())


@pytest.mark.parametrize("given", ["auto", "float32"])
def test_nothing_is_measured_where_there_is_no_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(precision, "perf_counter", lambda: pytest.fail("measured"))
    if given == "auto":
        monkeypatch.setattr(precision, "computes_bfloat16", lambda device: False)
    assert run(tmp_path, precision=given).precision == "float32"
    assert not rows(tmp_path, "precision")


def test_a_run_begun_in_bfloat16_does_not_go_on_where_that_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Callable[[float, float], None]
) -> None:
    clock(2.0, 1.0)
    run(tmp_path)
    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: False)
    with pytest.raises(UserError, match=r"precision\.json: this training was begun in bfloat16"):
        run(tmp_path, max_updates=8)


class SlowerOther(Ranks):
    """The first of two ranks; on the other one, float32 takes 10 seconds longer."""

    def all_sum(self, *values: float) -> list[float]:
        return [values[0] + 10, values[1]]

    def gather(self, value: T) -> list[T]:
        return [value, value]

    def sum_gradients(self, parameters: list[Any]) -> None: ...

    def barrier(self) -> None: ...


def test_ranks_decide_together(tmp_path: Path, clock: Callable[[float, float], None]) -> None:
    clock(1.0, 2.0)
    model = Bigram()
    found = settle(
        model,
        optim.adam(model.parameters(), weight_decay=0.0),
        model.loss,
        iter(BATCHES).__next__,
        options=TrainingOptions(tensorboard=False, max_updates=1, accumulate=2),
        begun=False,
        folder=tmp_path,
        ranks=SlowerOther(0, 2),
    )
    assert found.precision == "bfloat16" and len(found.drawn) == 1


def test_a_model_learns_as_well_in_bfloat16(data: Data, tmp_path: Path) -> None:
    """Real updates, and none of them measured: the loss comes down to nearly the same."""
    losses = {}
    for given in ("float32", "bfloat16"):
        torch.manual_seed(1)
        model: Any = small("transformer-tiny", data.tokenizers, dropout=0.0)
        result = train(
            model,
            model.loss,
            Batches(data.train, max_tokens=400, seed=1),
            options=TrainingOptions(
                tensorboard=False,
                max_updates=120,
                validate_every=120,
                metric="loss",
                learning_rate=1e-2,
                warmup=20,
                precision=given,
            ),
            validate=loss_of(model, list(ordered_batches(data.valid, max_tokens=400))),
            out=tmp_path / given,
        )
        losses[given] = result.scores["loss"]
    assert losses["float32"] < 1.2
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
