"""Run by test_prepare.py: prepares or retargets FOLDER/cut-N, killed at moment N, then again; for N = 1, 1+STEP, ...

Moments are before and after each rename, each sync, and before each record batch. What a killed run left is copied to
FOLDER/left-N. Each run is a forked process, so that the imports are paid once.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from made_up_text import make_pairs

from seqdistill.data import store
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.data.retarget import retarget
from seqdistill.text.corpus import ParallelCorpus


def count_moments(deadline: int) -> list[int]:
    """Counts in the list's only number, and kills this process when it reaches the deadline."""
    moments = [0]

    def moment() -> None:
        moments[0] += 1
        if moments[0] == deadline:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function: Callable, *, after: bool = False) -> Callable:
        def call(*values, **named):
            moment()
            result = function(*values, **named)
            if after:
                moment()
            return result

        return call

    store.ROWS = 50
    store.encode = watched(store.encode)
    Path.replace = watched(Path.replace, after=True)
    os.fsync = watched(os.fsync)
    return moments


def work(what: str, folder: Path, out: Path) -> None:
    if what == "retarget":
        data = DataDirectory.open(folder / "data")
        retarget(data, [text[::-1] if i % 5 else "" for i, text in enumerate(data.train.targets())], out)
        return
    sizes = {"train": 120, "valid": 20, "test": 30}
    texts = {
        name: ParallelCorpus.from_pairs(name, make_pairs(size, seed=seed))
        for seed, (name, size) in enumerate(sizes.items())
    }
    prepare(**texts, out=out, vocab_size=60)


def forked(what: str, folder: Path, out: Path, *, deadline: int = 0) -> int:
    """Exit status of a process that does the work; writes how many moments it had."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            moments = count_moments(deadline)
            work(what, folder, out)
            (folder / "moments").write_text(str(moments[0]))
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(what: str, folder: Path, step: int) -> None:
    if what == "retarget":
        assert forked("prepare", folder, folder / "data") == 0
    assert forked(what, folder, folder / "whole") == 0
    moments = int((folder / "moments").read_text())
    for deadline in sorted({*range(1, moments, step), moments}):
        out = folder / f"cut-{deadline}"
        assert forked(what, folder, out, deadline=deadline) == -signal.SIGKILL
        shutil.copytree(out, folder / f"left-{deadline}")
        assert forked(what, folder, out) == 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
