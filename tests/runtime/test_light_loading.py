"""What opening an exported student costs: milliseconds and megabytes."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from native.compiled import engine_sets
from runtime.exported import exported

from seqdistill.exported import DESCRIPTION
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.vocabulary.sentencepiece import SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies


@pytest.fixture(scope="module")
def of_three_million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the size that is promised something: int8, of a vocabulary of 4,000 made-up words' pieces."""
    engine_sets()
    draw, folder = random.Random(1), tmp_path_factory.mktemp("large")
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(6000)]
    joint = SentencePiece.train([" ".join(draw.choices(words, k=12)) for _ in range(5000)], vocab_size=4000)
    vocabularies = Vocabularies(joint, joint, joint=True)
    save_model(create_model("sru", vocabularies, dim=400, embedding_dim=200), vocabularies, folder / "model")
    return exported(load_model(folder / "model"), folder / "out", precision="int8")


LOADING = """
import sys, time
began = time.process_time()
import seqdistill
student = seqdistill.load(sys.argv[1], beam=1)
seconds = time.process_time() - began
translated = student.translate(["bo duki fane"])
peak = next(int(row.split()[1]) / 1024 for row in open("/proc/self/status") if row.startswith("VmHWM"))
heavy = [name for name in ("torch", "numpy", "pydantic", "pyarrow", "ctranslate2") if name in sys.modules]
print(len(translated), seconds, peak, heavy)
"""


def test_loading_is_light(of_three_million: Path) -> None:
    """No torch, no numpy, no pydantic: their imports alone take longer, and more memory, than the model.

    Time is from before the first import, the processor's own: on a busy machine the clock on the wall measures others.
    Memory is the whole process's, Python's included, and after a sentence was translated.
    """
    parameters = json.loads((of_three_million / DESCRIPTION).read_text())["parameters"]
    assert 3_000_000 <= parameters < 3_500_000
    command = [sys.executable, "-c", LOADING, str(of_three_million)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    assert all(run[0] == "1" and run[3] == "[]" for run in runs)
    assert min(float(run[1]) for run in runs) < 0.1 and max(float(run[2]) for run in runs) < 60
