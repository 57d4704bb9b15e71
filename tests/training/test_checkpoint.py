"""A checkpoint brings everything back, is whole or absent, and never passes when it was damaged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seqdistill.errors import UserError
from seqdistill.journal import Record
from seqdistill.training import checkpoint
from seqdistill.training.checkpoint import MODEL, OPTIMIZER, STATE, Run, Validation
from seqdistill.training.growth import End
from seqdistill.training.optim import adam, step

RECORD = Record("training", {"seed": 1, "betas": (0.9, 0.98)})
END = End(9, 9)
STREAMS = [{"epoch": 2, "position": 7}]


class Tied(nn.Module):
    """Two names for one table, a frozen parameter, a buffer of integers."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.source = nn.Embedding(4, size)
        self.target = self.source
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.register_buffer("count", torch.tensor(5))


def make(seed: int, updates: int = 0, size: int = 3) -> tuple[Tied, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = Tied(size)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = adam(trained, weight_decay=0.0)
    for _ in range(updates):
        descend(model, optimizer)
    return model, optimizer


def descend(model: Tied, optimizer: torch.optim.Optimizer) -> None:
    (model.source.weight - 1).pow(2).sum().backward()
    step(optimizer, 0.1)


def save(folder: Path, update: int, *, seed: int = 1) -> Path:
    model, optimizer = make(seed, updates=update)
    run = Run(update, [Validation(1, {"bleu": 12.5})], loss=1.25, labels=3.0)
    return checkpoint.save(folder, model, optimizer, run, record=RECORD, end=END, streams=STREAMS)


def resume(
    folder: Path, model: Tied, optimizer: torch.optim.Optimizer, *, record: Record = RECORD, end: End = END
) -> tuple[Run, list[dict[str, Any]]] | None:
    place = checkpoint.find(folder, record=record, end=end)
    return None if place is None else checkpoint.load(place, model, optimizer)


def test_everything_comes_back_and_goes_on_alike(tmp_path: Path) -> None:
    save(tmp_path, 2)
    save(tmp_path, 3)
    model, optimizer = make(seed=2)
    found = resume(tmp_path, model, optimizer)
    assert found == (Run(3, [Validation(1, {"bleu": 12.5})], loss=1.25, labels=3.0), STREAMS)
    same, its_optimizer = make(seed=1, updates=3)
    for _ in range(2):
        descend(model, optimizer)
        descend(same, its_optimizer)
    for name, tensor in same.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.target is model.source


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    assert resume(tmp_path, *make(1)) is None


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE])
@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_damage_is_named_with_the_older_checkpoint(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(changed if damage == "altered" else content[:-9])
    with pytest.raises(
        UserError, match=f"00000002/{name}: missing, cut or altered.*delete .*00000002 and run"
    ) as error:
        resume(tmp_path, *make(1))
    assert "training goes on from" in str(error.value)
    assert str(tmp_path / "00000001") in str(error.value)


def test_damage_to_the_only_checkpoint_says_that_training_begins_anew(tmp_path: Path) -> None:
    (save(tmp_path, 1) / MODEL).write_bytes(b"")
    with pytest.raises(UserError, match="training starts again"):
        resume(tmp_path, *make(1))


def test_other_options_and_another_model_are_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(UserError, match=r"00000001: .* the training asked for:\n  seed: 1 there, 4 now\nask for"):
        resume(tmp_path, *make(1), record=Record("training", {"seed": 4, "betas": (0.9, 0.98)}))
    with pytest.raises(UserError, match=r"weights of another model:\n  source.weight: \[4, 3\] there, \[4, 5\] now"):
        resume(tmp_path, *make(1, size=5))


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    half = save(tmp_path, 1)
    half.rename(tmp_path / ".00000001.7.part")
    assert list(checkpoint.saved(tmp_path)) == []
    assert save(tmp_path, 1).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_sealed", full)
    with pytest.raises(UserError, match="00000002: cannot be written: no space left on device; the disk is full"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_the_average_is_the_mean_and_counts_are_the_last(tmp_path: Path) -> None:
    folders = []
    for update, value in ((1, 1.0), (2, 2.0), (3, 6.0)):
        model, optimizer = make(1)
        model.source.weight.data.fill_(value)
        model.count.fill_(update)
        folders.append(
            checkpoint.save(tmp_path, model, optimizer, Run(update), record=RECORD, end=END, streams=STREAMS)
        )
    mean = checkpoint.average(folders)
    assert mean["source.weight"].tolist() == [[3.0] * 3] * 4
    assert int(mean["count"]) == 3
    assert mean["source.weight"].dtype == torch.float32
    assert "target.weight" not in mean


def test_pruning_keeps_the_newest_and_the_needed(tmp_path: Path) -> None:
    for update in range(1, 7):
        save(tmp_path, update)
    checkpoint.prune(tmp_path, newest=2, updates=[1, 3])
    assert [int(path.name) for path in checkpoint.saved(tmp_path)] == [1, 3, 5, 6]
