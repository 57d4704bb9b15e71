"""What a teacher says of a batch, and the losses on it, against one model call for each prefix."""

import pytest
import torch
from imitation_toys import sru, stream, transformer

from seqdistill.data import pieces
from seqdistill.data.batches import Batch, collate
from seqdistill.distillation.log_metrics import POSITIONS, LogMetrics
from seqdistill.distillation.teacher import Teacher
from seqdistill.distillation.word import full_distribution, hard_labels
from seqdistill.errors import UserError
from seqdistill.models.interface import Model
from seqdistill.models.traits import Traits
from seqdistill.nn.divergences import Divergence
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, PAD


def prefixes(batch: Batch) -> list[tuple[int, int, torch.Tensor, torch.Tensor]]:
    """(row, position, source, context) of every target token, one at a time and unpadded."""
    found = []
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        words = target[target != PAD].tolist()
        for position in range(len(words)):
            found.append((row, position, source[source != PAD][None], torch.tensor([[BOS, *words[:position]]])))
    return found


def distribution(model, source: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    return model(source, context.roll(-1, 1))[0, -1].double().softmax(0)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_labels_are_the_most_probable_words_at_every_real_position_and_nowhere_else(seeds: tuple[int, ...]) -> None:
    teachers = [transformer(seed).eval() for seed in seeds]
    batch = next(stream())
    labels = Teacher(teachers).labelled(batch).labels
    assert labels is not None
    assert torch.equal(labels == PAD, batch.target == PAD)
    for row, position, source, context in prefixes(batch):
        p = sum(distribution(model, source, context) for model in teachers)
        assert isinstance(p, torch.Tensor)
        p[list(OURS.never_written)] = 0
        assert int(labels[row, position]) == int(p.argmax())


def test_rows_left_out_keep_their_own_words() -> None:
    batch = next(stream())
    teacher = Teacher([transformer(1)])
    everywhere, some = teacher.labelled(batch).labels, teacher.labelled(batch, {1}).labels
    assert everywhere is not None
    assert some is not None
    assert torch.equal(some[1], everywhere[1])
    assert torch.equal(some[0], batch.target[0])
    assert not torch.equal(some, everywhere)


@pytest.mark.parametrize("student", [transformer(9, dropout=0.0), sru(9, dropout=0.0)], ids=["transformer", "sru"])
@pytest.mark.parametrize("kind", ["hard", "full"])
@pytest.mark.parametrize("piece_tokens", [1, 1000])
def test_the_loss_is_the_sum_over_all_prefixes_first_and_last_included(
    student, kind: str, piece_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pieces.PIECE_TOKENS, "cpu", piece_tokens)
    monkeypatch.setattr(pieces, "WORTH", 1.0)
    teacher, log_metrics = transformer(1).eval(), LogMetrics()
    batch, wrapped = next(stream()), Teacher([teacher])
    assert (len(pieces.in_pieces(batch)) > 1) == (piece_tokens == 1)
    if kind == "hard":
        loss = hard_labels(student, label_smoothing=0.0, log_metrics=log_metrics)(wrapped.labelled(batch))
    else:
        objective = full_distribution(
            student, wrapped, Divergence("cross-entropy", 0.5, 1.0, 0), log_metrics=log_metrics
        )
        loss = objective(wrapped.described(batch))
    expected, count, by_position = 0.0, 0, {}
    for row, position, source, context in prefixes(batch):
        p, q = distribution(teacher, source, context), distribution(student, source, context)
        if kind == "hard":
            p[list(OURS.never_written)] = 0
            label = int(p.argmax())
            value, shown = -float(q[label].log().detach()), float(label != int(batch.target[row, position]))
        else:
            value = shown = -float((p * q.log()).sum().detach())
        expected, count = expected + value, count + 1
        by_position.setdefault(max(start for start in POSITIONS if start <= position + 1), []).append(shown)
    assert loss.count == count == batch.num_labels
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    name = "disagreement" if kind == "hard" else "divergence"
    taken = log_metrics.take()
    for start, values in by_position.items():
        assert taken[f"{name}_from_{start}"] == pytest.approx(sum(values) / len(values), rel=1e-4)


@pytest.mark.parametrize("kind", ["hard", "full"])
def test_padding_changes_nothing_and_the_teacher_learns_nothing(kind: str) -> None:
    student, model = sru(9, dropout=0.0), transformer(1)
    teacher, log_metrics = Teacher([model]), LogMetrics()
    full = full_distribution(student, teacher, Divergence("cross-entropy", 0.5, 1.0, 0), log_metrics=log_metrics)
    hard = hard_labels(student, label_smoothing=0.1, log_metrics=log_metrics)
    totals = []
    for filler in ((), ([5] * 9,)):
        pairs = [([5, 6], [7, 8, 9]), *((row, row) for row in filler)]
        batch = collate(pairs)
        batch = batch._replace(source=batch.source[:1], target=batch.target[:1], index=batch.index[:1], num_labels=4)
        loss = hard(teacher.labelled(batch)) if kind == "hard" else full(teacher.described(batch))
        loss.total.backward()
        totals.append(loss.total.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_teacher_must_be_there_and_write_left_to_right() -> None:
    with pytest.raises(UserError, match="give --teacher"):
        Teacher([])

    class NonAutoregressive(Model):
        traits = Traits(non_autoregressive=True)

    with pytest.raises(UserError, match="seqdistill distill"):
        Teacher([NonAutoregressive()])


def test_labels_end_where_the_teacher_ends() -> None:
    """Nothing forbids EOS: the last prefix of every sentence has a label too."""
    model = transformer(1)
    with torch.no_grad():
        model.decoder.norm.bias += 50 * model.target_embedding.weight[EOS]
    labels = Teacher([model]).labelled(next(stream())).labels
    assert labels is not None
    assert set(labels[labels != PAD].tolist()) == {EOS}
