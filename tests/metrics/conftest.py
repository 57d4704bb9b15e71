"""Real system outputs with official scores."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def metrics_data(shared_data: Path) -> Path:
    return shared_data / "metrics"


@pytest.fixture(scope="session")
def multi30k(metrics_data: Path) -> tuple[list[str], list[str], list[str]]:
    """Outputs of two published systems, and the references: lower-cased and tokenised."""
    return tuple(lines(metrics_data / f"multi30k-test2016.{name}.lc.tok.de") for name in ("sys1", "sys2", "ref"))


@pytest.fixture(scope="session")
def ted(metrics_data: Path) -> dict[str, list[str]]:
    """TED outputs sys1.en and sys2.en, ref.en, and the official sentence values sys1.ribes and sys2.ribes."""
    return {path.name: lines(path) for path in metrics_data.iterdir() if path.suffix in (".en", ".ribes")}


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]
