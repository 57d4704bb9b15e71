"""The loop against updates worked out by hand, and its rules for stopping, choosing, continuing and refusing."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import WORDS, Bigram, Scores, Stream, loss_of, random_batches

from seqdistill.data.batches import Batch, collate
from seqdistill.errors import UserError
from seqdistill.nn.losses import Loss
from seqdistill.options import TrainingOptions
from seqdistill.progress import Silent
from seqdistill.seals import sealed_row
from seqdistill.training import optim
from seqdistill.training.checkpoint import Run, Validation, saved
from seqdistill.training.distributed import Ranks
from seqdistill.training.history import chosen, exhausted
from seqdistill.training.log import Log, read_log
from seqdistill.training.loop import TrainingResult, seed_everything, train

BATCHES = random_batches(12)


def options(**changes: Any) -> TrainingOptions:
    defaults = {"max_updates": 6, "warmup": 2, "learning_rate": 0.1, "validate_every": 2, "metric": "loss"}
    return TrainingOptions(**({"tensorboard": False} | defaults | changes))


def run(out: Path, model: Bigram | None = None, stream: Stream | None = None, **changes: Any) -> TrainingResult:
    model = model or Bigram()
    validate = changes.pop("validate", loss_of(model, BATCHES[:3]))
    return train(model, model.loss, stream or Stream(BATCHES), options=options(**changes), validate=validate, out=out)


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = read_log(out / "log.jsonl")
    return [line for line in lines if line["kind"] == kind]


def test_updates_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    """Against torch.optim.Adam and torch's clipping on the mean loss of all labels, written out."""
    result = run(tmp_path, accumulate=2, clip_norm=0.05, average="last")
    same = Bigram()
    optimizer = torch.optim.Adam(same.parameters(), betas=(0.9, 0.98), eps=1e-8)
    for update in range(1, 7):
        pair = BATCHES[2 * update - 2 : 2 * update]
        (sum(same.loss(batch).total for batch in pair) / sum(batch.num_labels for batch in pair)).backward()
        torch.nn.utils.clip_grad_norm_(same.parameters(), 0.05)
        optimizer.param_groups[0]["lr"] = 0.1 * min(update / 2, math.sqrt(2 / update))
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(result.model.table, same.table, rtol=1e-5, atol=1e-7)


def test_accumulating_four_batches_is_one_batch_of_all_their_sentences(tmp_path: Path) -> None:
    def merged(batches: list[Batch]) -> Batch:
        pairs = [[token for token in row.tolist() if token > 4] for batch in batches for row in batch.source]
        return collate([(row, row) for row in pairs])

    large = [merged(BATCHES[start : start + 4]) for start in (0, 4, 8)]
    parts = run(tmp_path / "parts", accumulate=4)
    whole = run(tmp_path / "whole", stream=Stream(large))
    torch.testing.assert_close(parts.model.table, whole.model.table, rtol=1e-5, atol=1e-7)


def test_the_log_has_the_loss_per_label_and_the_rate(tmp_path: Path) -> None:
    run(tmp_path, log_every=3, learning_rate=1e-9)
    first, second = rows(tmp_path, "train")
    assert [first["loss"], second["loss"]] == pytest.approx([math.log(WORDS)] * 2, abs=1e-6)  # nothing learnt: uniform
    assert [first["update"], second["update"]] == [3, 6]
    assert first["learning_rate"] == pytest.approx(1e-9 * math.sqrt(2 / 3))
    assert [row["update"] for row in rows(tmp_path, "valid")] == [2, 4, 6]


def test_early_stopping_counts_validations_without_a_better_one(tmp_path: Path) -> None:
    scores = Scores("bleu", [1.0, 3.0, 3.0, 2.0, 9.0])
    result = run(tmp_path, max_updates=100, patience=2, metric="bleu", validate=scores)
    assert result.updates == 8
    assert result.averaged == [4]
    assert result.scores == {"bleu": 3.0}
    assert [row.scores["bleu"] for row in result.history] == [1.0, 3.0, 3.0, 2.0]
    again = run(tmp_path, max_updates=100, patience=2, metric="bleu", validate=scores)
    assert again.updates == 8  # a run that has stopped stays so
    longer = run(tmp_path, max_updates=100, patience=3, metric="bleu", validate=scores)
    assert longer.averaged == [10]


def test_patience_and_choice_on_a_history_by_hand() -> None:
    history = [Validation(u, {"loss": s, "bleu": s}) for u, s in ((10, 5.0), (20, 3.0), (30, 4.0), (40, 3.0))]
    assert chosen(history, metric="loss", average="best", count=1) == [20]
    assert chosen(history, metric="loss", average="best", count=3) == [20, 30, 40]
    assert chosen(history, metric="bleu", average="best", count=2) == [10, 30]
    assert chosen(history, metric="bleu", average="last", count=2) == [30, 40]
    assert chosen(history, metric="bleu", average="best", count=9) == [10, 20, 30, 40]
    for patience, stops in ((0, False), (1, True), (2, True), (3, False)):
        assert exhausted(history, options(patience=patience)) is stops
    assert not exhausted([], options(patience=1))


@pytest.mark.parametrize(("average", "expected"), [("last", [8, 10]), ("best", [2, 6])])
def test_the_final_weights_are_the_mean_of_the_chosen(tmp_path: Path, average: str, expected: list[int]) -> None:
    tables = {}
    model = Bigram()
    scores = Scores("bleu", [8.0, 2.0, 9.0, 4.0, 3.0, 55.0])

    def validate() -> dict[str, float]:
        tables[2 * len(tables) + 2] = model.table.detach().clone()
        return scores()

    result = run(tmp_path, model, average=average, average_count=2, metric="bleu", max_updates=10, validate=validate)
    assert result.averaged == expected
    torch.testing.assert_close(model.table.detach(), (tables[expected[0]] + tables[expected[1]]) / 2)
    assert result.scores == {"bleu": 55.0}  # the mean itself was scored
    assert not model.training


def test_a_prolonged_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """With dropout; the log of both runs is that of one."""
    torch.manual_seed(5)
    whole = run(tmp_path / "whole", Bigram(0.3), max_updates=12, log_every=5)
    torch.manual_seed(6)
    run(tmp_path / "parts", Bigram(0.3), max_updates=8, log_every=5)
    parts = run(tmp_path / "parts", Bigram(0.3), max_updates=12, log_every=5)
    assert torch.equal(parts.model.table, whole.model.table)
    assert parts.history == whole.history

    def logged(out: Path) -> list[dict[str, Any]]:
        every = read_log(out / "log.jsonl")
        return [{key: value for key, value in row.items() if key != "tokens_per_second"} for row in every]

    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_rows_after_the_checkpoint_are_dropped_also_a_broken_one(tmp_path: Path) -> None:
    run(tmp_path, max_updates=4, log_every=1)
    before = (tmp_path / "log.jsonl").read_text()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(sealed_row({"kind": "train", "update": 5, "loss": 1.0}) + '\n{"kind": "tr')
    run(tmp_path, max_updates=4, log_every=1)
    assert (tmp_path / "log.jsonl").read_text() == before


@pytest.mark.parametrize("lost", [slice(0, 1), slice(2, 3), slice(4, 5), slice(0, None), slice(5, None)])
def test_a_log_that_lost_rows_is_not_continued(tmp_path: Path, lost: slice) -> None:
    """Rows: five of updates with a validation behind every second of them; an empty file is no log either."""
    run(tmp_path, max_updates=5, log_every=1, validate_every=2)
    log = tmp_path / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    del lines[lost]
    log.write_text("".join(lines))
    with pytest.raises(UserError, match=r"log.jsonl: rows are missing that were there; copy it again; .* delete it"):
        run(tmp_path, max_updates=7, log_every=1, validate_every=2)
    assert log.read_text() == "".join(lines)


def test_a_log_that_was_deleted_says_so_and_goes_on(tmp_path: Path) -> None:
    run(tmp_path, max_updates=4, log_every=1, validate_every=2)
    (tmp_path / "log.jsonl").unlink()
    for updates in (6, 8):
        run(tmp_path, max_updates=updates, log_every=1, validate_every=2)
    rows = [(row["kind"], row["update"]) for row in read_log(tmp_path / "log.jsonl")]
    assert rows[:4] == [("lost", 4), ("train", 5), ("train", 6), ("valid", 6)] and rows[-1] == ("valid", 8)


def test_a_run_that_begins_again_has_its_first_row_once(tmp_path: Path) -> None:
    """One that was killed before its first checkpoint wrote the row of its metric a second time."""
    options = TrainingOptions(tensorboard=False)
    for _ in range(2):
        with Log(tmp_path, Run(), options=options, progress=Silent(), silent=False, scored_by="a signature"):
            pass
    assert [row["kind"] for row in read_log(tmp_path / "log.jsonl")] == ["metric"]


def test_checkpoints_kept_are_the_newest_and_those_of_the_result(tmp_path: Path) -> None:
    scores = Scores("bleu", [9.0, 1.0, 7.0, 2.0, 3.0])
    run(tmp_path, metric="bleu", validate=scores, max_updates=10, save_every=3, keep=2, average_count=2)
    assert [int(path.name) for path in saved(tmp_path / "checkpoints")] == [2, 6, 9, 10]


def test_saving_more_often_changes_nothing(tmp_path: Path) -> None:
    often = run(tmp_path / "often", Bigram(0.3), save_every=1)
    seldom = run(tmp_path / "seldom", Bigram(0.3))
    assert torch.equal(often.model.table, seldom.model.table)


def test_draws_depend_on_seed_update_and_micro_batch_alone() -> None:
    def draws(*place: int) -> tuple[float, ...]:
        import random

        import numpy as np

        seed_everything(*place)
        return float(torch.rand(())), float(np.random.rand()), random.random()

    assert draws(1, 2, 3) == draws(1, 2, 3)
    assert len({draws(*place) for place in ((1, 2, 3), (1, 3, 2), (2, 1, 3), (1, 2, 4), (0, 2, 3))}) == 5


def test_gradients_flow_only_into_what_is_trained(tmp_path: Path) -> None:
    model = Bigram()
    model.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    model.unused = torch.nn.Parameter(torch.ones(2))
    run(tmp_path, model)
    assert model.frozen.tolist() == model.unused.tolist() == [1.0, 1.0]


def test_under_bfloat16_the_objective_computes_in_it_and_weights_stay_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    seen = []
    model = Bigram()

    def objective(batch: Batch) -> Loss:
        seen.append((model.table @ model.table).dtype)
        return model.loss(batch)

    given = options(max_updates=1, precision="bfloat16")
    train(model, objective, Stream(BATCHES), options=given, validate=loss_of(model, BATCHES), out=tmp_path)
    assert seen == [torch.bfloat16]
    assert model.table.dtype == torch.float32


def test_tensorboard_gets_the_rows_of_the_log(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, log_every=2, tensorboard=True)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [(event.step, pytest.approx(event.value)) for event in events.Scalars("valid/loss")]
    assert [(row["update"], row["loss"]) for row in rows(tmp_path, "valid")] == logged


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path: Path) -> None:
    model = Bigram()
    with pytest.raises(UserError, match=r"update 3: the gradient is not finite.*Lower learning_rate"):
        train(
            model,
            lambda batch: (
                Loss(model.loss(batch).total * math.nan, batch.num_labels)
                if len(list(saved(tmp_path / "checkpoints")))
                else model.loss(batch)
            ),
            Stream(BATCHES),
            options=options(),
            validate=loss_of(model, BATCHES),
            out=tmp_path,
        )
    assert bool(model.table.isfinite().all())


def test_other_options_and_fewer_updates_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match=r"(?s)training asked for:\n  learning_rate: 0.1 there, 0.2 now\n"):
        run(tmp_path, learning_rate=0.2)
    with pytest.raises(UserError, match="already trained for 6 updates, too many to end at max_updates 4; raise"):
        run(tmp_path, max_updates=4)


def test_an_unvalidated_end_is_refused(tmp_path: Path) -> None:
    model = Bigram()
    with pytest.raises(KeyboardInterrupt):
        train(
            model,
            model.loss,
            Stream(BATCHES),
            options=options(validate_every=5, save_every=3),
            validate=_interrupt,
            out=tmp_path,
        )
    with pytest.raises(UserError, match="already trained for 3 updates, too many to end at max_updates 3; raise"):
        run(tmp_path, validate_every=5, max_updates=3)


def _interrupt() -> dict[str, float]:
    raise KeyboardInterrupt


def test_a_damaged_checkpoint_is_refused_and_the_older_one_goes_on(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Bigram(0.3), max_updates=8)
    run(tmp_path / "parts", Bigram(0.3))
    newest = list(saved(tmp_path / "parts" / "checkpoints"))[-1]
    (newest / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match=r"00000006/model.*: missing, cut or altered.*goes on from .*00000004"):
        run(tmp_path / "parts", Bigram(0.3), max_updates=8)
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    parts = run(tmp_path / "parts", Bigram(0.3), max_updates=8)
    assert torch.equal(parts.model.table, whole.model.table)


def test_ranks_must_share_the_batches_evenly(tmp_path: Path) -> None:
    model = Bigram()
    with pytest.raises(UserError, match="accumulate 3 batches cannot be shared evenly by 2 processes: give a multiple"):
        train(
            model,
            model.loss,
            Stream(BATCHES),
            options=options(accumulate=3),
            validate=loss_of(model, BATCHES),
            out=tmp_path,
            ranks=Ranks(0, 2),
        )


def test_two_trainings_cannot_share_a_directory(tmp_path: Path) -> None:
    model = Bigram()

    def validate() -> dict[str, float]:
        run(tmp_path)
        return {}

    with pytest.raises(UserError, match="another process is writing here"):
        run(tmp_path, model, validate=validate)
