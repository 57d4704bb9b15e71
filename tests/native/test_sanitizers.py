"""CI cannot pass without the sanitized tests."""

import pytest
from native import sanitized

from seqdistill.native.compilers import Compiler


def test_where_there_are_no_sanitizers_ci_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sanitized.compilers, "compiler", lambda: Compiler(("true",), zig=True, machine="x86_64"))
    monkeypatch.delenv("CI", raising=False)
    sanitized.main()
    monkeypatch.setenv("CI", "1")
    with pytest.raises(SystemExit) as ended:
        sanitized.main()
    assert ended.value.code == 1 and capsys.readouterr().err.count("install g++ to run them") == 2
