"""The worked examples (`>>>`) in docstrings, which stand where code is hard, are what the code does."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
FILES = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


def docstrings(path: Path) -> list[tuple[int, str]]:
    """Line and text of each, also below a constant; read from the file, as wrappers hide where a function is from."""
    nodes = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Expr))
    values = (node.value for node in nodes if isinstance(node.value, ast.Constant))
    return [(value.lineno, inspect.cleandoc(value.value)) for value in values if isinstance(value.value, str)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_examples(path):
    module = importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
    runner, report = doctest.DocTestRunner(verbose=False), []
    for line, text in docstrings(path):
        example = doctest.DocTestParser().get_doctest(text, dict(vars(module)), path.name, str(path), line)
        runner.run(example, out=report.append)
    assert runner.tries and not runner.failures, "".join(report)
