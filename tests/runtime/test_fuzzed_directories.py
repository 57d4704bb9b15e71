"""No exported directory ends the process, whoever made it; `make check-native` runs this under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native import fuzz_directory
from native.compiled import engine_sets
from runtime.exported import exported, tokenizers, trained

from seqdistill.runtime.shortlists import Shortlist

TIMES = 300


@pytest.mark.parametrize(
    ("name", "precision"),
    [("sru", "float32"), ("transformer", "bfloat16"), ("nat", "int8"), ("inst", "float32"), ("levt", "int8")],
)
def test_nothing_in_a_directory_crashes_the_process(tmp_path: Path, name: str, precision: str) -> None:
    engine_sets()
    vocabularies = tokenizers()
    size, eos = len(vocabularies.source), vocabularies.target.ids.eos
    ids = np.arange(5, size)
    words = Shortlist(np.clip(np.arange(size + 1) - 5, 0, None), np.array([eos]), ids, vocabularies.fingerprint)
    out = exported(trained(name, tmp_path / name, vocabularies), tmp_path / "out", precision=precision, shortlist=words)
    program = [sys.executable, "-X", "faulthandler", fuzz_directory.__file__, str(out), "3", str(TIMES)]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ | paths)
    assert done.returncode == 0, done.stderr[-3000:]
    ran, refused = map(int, done.stdout.split())
    assert ran + refused == TIMES and ran > 40 and refused > 80, (ran, refused)
