"""Programs that stand in for pip and apt, so that no test needs a network."""

import stat
import sys

import pytest


@pytest.fixture
def program(tmp_path):
    """Makes an executable from Python source; it finds its arguments in sys.argv."""

    def make(name, source):
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable} -S\n{source}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make
