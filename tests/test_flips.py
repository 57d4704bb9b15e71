"""A seeded part of `benchmarks/robust/flips.py`: bits flipped in everything that verbs read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COUNT = 45
"""Three of each kind."""


@pytest.mark.slow
def test_no_flipped_bit_gives_other_output_or_ends_the_interpreter(tmp_path: Path) -> None:
    """Of 5,906 flips in data, 1,505 gave other text silently and 43 crashed. In a process that has no threads yet."""
    script = (
        "import json, sys; from pathlib import Path; from benchmarks.robust.flips import flips;"
        "print(json.dumps(flips(int(sys.argv[1]), 1, Path(sys.argv[2]))))"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(COUNT), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    wrong = {name: found[f"flips_{name}"] for name in ("silent", "crashed", "unnamed")}
    assert wrong == dict.fromkeys(wrong, 0), (tmp_path / "flips" / "rows-1.jsonl").read_text()
    assert found["flips_refused"] > 0.7 * COUNT and found["flips_refused"] + found["flips_harmless"] == COUNT
