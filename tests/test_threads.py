"""OpenMP spins briefly in every process of ours: libgomp itself says what it read when it was loaded."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TRANSLATE = ["translate", "--model", "nowhere"]
WORKER = """
import worker_tasks
from seqdistill.workers import in_processes
if __name__ == "__main__":
    print(list(in_processes(worker_tasks.loads_openmp, [1], workers=1)))
"""
COMMANDS = {
    "module": ["-m", "seqdistill", *TRANSLATE],
    "console script": ["-c", "from seqdistill.cli import main; main()", *TRANSLATE],
    "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "seqdistill", *TRANSLATE],
    "python": ["-c", "import seqdistill, torch, ctranslate2"],
    "worker": ["worker.py"],
}


def spins(command: list[str], folder: Path, **chosen: str) -> list[str]:
    """The spin counts of all copies of libgomp that the command's processes loaded, in order of time."""
    (folder / "worker.py").write_text(WORKER)
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path)} | chosen
    done = subprocess.run(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
        timeout=300,
    )
    return re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_process_spins_briefly(tmp_path: Path, command: str) -> None:
    found = spins(COMMANDS[command], tmp_path)
    assert found[-1] == "1000"
    if command != "torchrun":  # which imports torch itself, to start us
        assert set(found) == {"1000"}


@pytest.mark.parametrize(
    "chosen", [{"GOMP_SPINCOUNT": "77"}, {"OMP_WAIT_POLICY": "active"}, {"KMP_BLOCKTIME": "1"}], ids=lambda c: min(c)
)
def test_what_the_user_chose_stays(tmp_path: Path, chosen: dict[str, str]) -> None:
    default = spins(["-c", "import torch"], tmp_path, **chosen)
    assert default != ["1000"]
    assert spins(["-c", "import seqdistill, torch"], tmp_path, **chosen) == default
