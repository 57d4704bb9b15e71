"""Scripts report a user's mistake as the command line does, and nothing else."""

import pytest

from seqdistill.errors import UserError, reported


def test_a_users_mistake_is_one_message_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise UserError("data: no data directory")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: data: no data directory\n"


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="ours"), reported():
        raise ValueError("ours")
