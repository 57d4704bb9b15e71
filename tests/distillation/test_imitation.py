"""Roll-outs: who writes which target, when; and that pools, ranks and interruptions change nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from imitation_toys import sru, stream, transformer

from seqdistill.data.batches import Batch, collate_sources
from seqdistill.decoding.autoregressive import greedy
from seqdistill.distillation import imitation
from seqdistill.distillation.imitation import MIXING, Rollouts, without_padding
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.distillation.teacher import Teacher
from seqdistill.distillation.word import full_distribution, hard_labels
from seqdistill.errors import UserError
from seqdistill.nn.divergences import Divergence
from seqdistill.options import DecodingOptions, RolloutOptions, SearchOptions, TrainingOptions
from seqdistill.training.log import read_log
from seqdistill.training.loop import seed_everything, train
from seqdistill.vocabulary.sentencepiece import PAD

GREEDY = DecodingOptions(beam=1, max_length=12)
BRIEF = SearchOptions(beam=1, max_length=12)
ALWAYS = RolloutOptions(rollout=BRIEF, mixing="constant", mixing_rate=1e-9)
NEVER = RolloutOptions(rollout=BRIEF, mixing="constant", mixing_rate=1.0)


def unlabelled(batch: Batch, rows: object) -> Batch:
    return batch


def rollouts(student: Any, options: RolloutOptions, label: Any = unlabelled, **others: Any) -> Rollouts:
    rank, ranks = others.get("rank", 0), others.get("ranks", 1)
    source = others.pop("source", None) or stream(rank=rank, ranks=ranks)
    return Rollouts(source, student, label, options, **({"max_updates": 20, "batches_per_update": 1} | others))


@pytest.mark.parametrize("name", MIXING)
def test_schedules_begin_and_end_where_they_should_and_never_rise(name: str) -> None:
    points = [MIXING[name](part / 50, 0.005) for part in range(51)]
    assert points[0] == pytest.approx(0.005 if name == "constant" else 1.0)
    assert points[-1] == pytest.approx(0.005)
    assert points == sorted(points, reverse=True)
    assert MIXING[name](0.5, 1.0) == pytest.approx(1.0)


def test_the_exponential_schedule_is_that_of_the_paper() -> None:
    taken = rollouts(sru(1), RolloutOptions(rollout=BRIEF, mixing_rate=0.005), max_updates=200)
    assert [taken.share_of_data(i) for i in (1, 100, 200, 300)] == pytest.approx(
        [0.005 ** (1 / 200), 0.005**0.5, 0.005, 0.005]
    )


def test_without_roll_outs_batches_are_those_of_the_data_and_nothing_is_written(monkeypatch) -> None:
    monkeypatch.setattr(imitation, "decode", lambda *_, **__: pytest.fail("the student was asked to write"))
    for plain, mixed, _ in zip(stream(), rollouts(sru(1), NEVER), range(9), strict=False):
        assert all(torch.equal(a, b) for a, b in zip(plain[:3], mixed[:3], strict=True))


def test_every_target_is_what_the_student_writes_now_up_to_its_length_limit() -> None:
    student = transformer(3)
    mixed, plain, log_metrics = rollouts(student, ALWAYS), stream(), []
    ended = cut = 0
    for _ in range(8):
        batch, data = next(mixed), next(plain)
        log_metrics.append(mixed.log_metrics())
        assert torch.equal(batch.source, data.source)
        for row, source in enumerate(data.source):
            alone = collate_sources([without_padding(source, PAD)])
            with torch.no_grad():
                (expected,) = greedy(student.eval(), alone, GREEDY)[0]
            found = without_padding(batch.target[row], PAD)
            assert tuple(found) == expected.tokens
            at_limit = len(found) == 12 or len(found) == 3 * (alone.shape[1] - 1) + 10
            ended, cut = ended + (not at_limit), cut + at_limit
        assert batch.num_labels == int((batch.target != PAD).sum())
    assert ended
    assert [row["rollout_share"] for row in log_metrics if "rollout_share" in row] == [1, 1]
    shares = [row["truncated_share"] for row in log_metrics if "truncated_share" in row]
    assert sum(shares) / 2 == pytest.approx(cut / (ended + cut), abs=0.1)
    assert cut
    assert [row["staleness"] for row in log_metrics] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_modes_of_the_student_are_put_back() -> None:
    student = sru(4).train()
    next(rollouts(student, ALWAYS))
    assert student.training
    assert student.dropout.training


def test_the_share_of_roll_outs_is_one_minus_beta_drawn_example_by_example() -> None:
    options = RolloutOptions(rollout=BRIEF, mixing="constant", mixing_rate=0.3)
    written = []
    mixed = rollouts(sru(4), options, lambda batch, rows: written.append((len(rows), len(batch.source))) or batch)
    for _ in range(120):
        next(mixed)
    rows, examples = (sum(column) for column in zip(*written, strict=True))
    assert abs(rows / examples - 0.7) < 4 * (0.21 / examples) ** 0.5
    assert any(0 < some < all_rows for some, all_rows in written)


@pytest.mark.parametrize(
    "decoding", [BRIEF, SearchOptions(max_length=12, sampling=True, top_k=5), SearchOptions(beam=3, max_length=12)]
)
def test_a_pool_of_four_is_four_pools_of_one_for_a_student_that_stands_still(decoding: SearchOptions) -> None:
    student, teacher = sru(4), Teacher([transformer(1)])
    label = lambda batch, _: teacher.described(batch)  # noqa: E731
    streams = [
        rollouts(
            student,
            RolloutOptions(rollout=decoding, mixing_rate=0.1, pool=pool),
            label,
            batches_per_update=2,
            max_tokens=size,
        )
        for pool, size in ((4, 8192), (1, 30))
    ]
    for _ in range(20):
        one, other = (next(each) for each in streams)
        assert torch.equal(one.target, other.target)
        assert torch.equal(one.source, other.source)
        assert one.teacher_states is not None
        assert other.teacher_states is not None
        assert torch.equal(one.teacher_states[0], other.teacher_states[0])


def test_two_ranks_take_the_batches_of_one() -> None:
    student, options = (
        sru(4),
        RolloutOptions(rollout=SearchOptions(max_length=12, sampling=True), mixing_rate=0.1, pool=2),
    )
    alone = rollouts(student, options, batches_per_update=4)
    ranks = [rollouts(student, options, batches_per_update=2, rank=rank, ranks=2) for rank in (0, 1)]
    for number in range(24):
        one, shared = next(alone), next(ranks[number % 2])
        assert torch.equal(one.target, shared.target), number


def objective_of(kind: str, student: Any, teacher: Teacher, log_metrics: LogMetrics) -> tuple[Any, Any]:
    if kind == "hard":
        return hard_labels(student, label_smoothing=0.1, log_metrics=log_metrics), lambda batch, _: teacher.labelled(
            batch
        )
    return full_distribution(
        student, teacher, Divergence("cross-entropy", 0.5, 1.0, 0), log_metrics=log_metrics
    ), lambda batch, _: teacher.described(batch)


def trained(out: Path, *, updates: int, kind: str = "full", mixing_rate: float = 0.1) -> dict[str, torch.Tensor]:
    """A student trained on roll-outs, its checkpoints in the middle of pools."""
    student, log_metrics = sru(7), LogMetrics()
    objective, label = objective_of(kind, student, Teacher([transformer(1)], log_metrics=log_metrics), log_metrics)
    options = RolloutOptions(
        rollout=SearchOptions(max_length=12, sampling=True, top_k=5), mixing_rate=mixing_rate, pool=4
    )
    batches = rollouts(student, options, label, batches_per_update=2, max_updates=11, log_metrics=log_metrics)
    train(
        student,
        objective,
        batches,
        options=TrainingOptions(
            tensorboard=False,
            max_updates=updates,
            learning_rate=0.05,
            warmup=2,
            accumulate=2,
            validate_every=5,
            save_every=2,
            log_every=3,
            average="last",
            precision="float32",
        ),
        validate=lambda: {"bleu": 0.0},
        out=out,
    )
    return {name: tensor.clone() for name, tensor in student.state_dict().items()}


@pytest.mark.parametrize("kind", ["hard", "full"])
def test_continued_in_the_middle_of_a_pool_it_gives_the_same_weights(tmp_path: Path, kind: str) -> None:
    whole = trained(tmp_path / "whole", updates=11, kind=kind)
    for stop in (2, 5, 6, 8):
        trained(tmp_path / "parts", updates=stop, kind=kind)
    parts = trained(tmp_path / "parts", updates=11, kind=kind)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    rows = read_log(tmp_path / "whole" / "log.jsonl")
    timed = ("tokens_per_second", "rollout_time_share", "teacher_time_share")
    logged = [
        [{key: value for key, value in row.items() if key not in timed} for row in each if row["kind"] == "train"]
        for each in (rows, read_log(tmp_path / "parts" / "log.jsonl"))
    ]
    assert logged[0] == logged[1], "means over the updates between two rows, some before the kill, some after it"
    log_metrics = next(row for row in rows if row["kind"] == "train")
    name = "disagreement" if kind == "hard" else "divergence"
    assert {
        "rollout_share",
        "staleness",
        f"{name}_from_1",
        "rollout_time_share",
        "teacher_time_share",
    } <= log_metrics.keys()


def test_imitation_that_never_rolls_out_is_training_on_the_teachers_labels_of_the_data(tmp_path: Path) -> None:
    """ImitKD at beta 1 is Vanilla with teacher labels."""
    imitated = trained(tmp_path / "imitated", updates=6, kind="hard", mixing_rate=1.0)
    student, teacher, plain = sru(7), Teacher([transformer(1)]), stream()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.05, betas=(0.9, 0.98), weight_decay=0)
    for update in range(1, 7):
        losses = []
        for micro_batch in range(2):
            seed_everything(1, update, micro_batch)
            losses.append(student.loss(teacher.labelled(next(plain)), label_smoothing=0.1))
        sum(loss.total for loss in losses).backward()
        count = sum(loss.count for loss in losses)
        for parameter in student.parameters():
            parameter.grad /= count
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (update / 2 if update <= 2 else (2 / update) ** 0.5)
        optimizer.step()
        optimizer.zero_grad()
    for name, tensor in imitated.items():
        torch.testing.assert_close(tensor, student.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_states_of_other_streams_are_refused_with_the_way_out() -> None:
    mixed = rollouts(sru(4), ALWAYS)
    next(mixed)
    with pytest.raises(UserError, match="kind: 'batches' there, 'roll-outs' now"):
        rollouts(sru(4), ALWAYS).restore(stream().state())
    with pytest.raises(UserError, match=r"(?s)roll-outs asked for:.*mixing_rate: .* there, .* now"):
        rollouts(sru(4), NEVER).restore(mixed.state())
    json.dumps(mixed.state())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixing": "exponental"}, "did you mean 'exponential'"),
        ({"mixing_rate": 0.0}, "'mixing_rate': .*greater than 0, but it is 0.0"),
        ({"mixing_rate": 1.5}, "'mixing_rate': .*less than or equal to 1, but it is 1.5"),
        ({"pool": 0}, "'pool': .*greater than or equal to 1"),
    ],
)
def test_options_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RolloutOptions(rollout=BRIEF, **values)
