"""The one exception for a user's mistakes: the command line prints it without a traceback and exits with code 2."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: the message names file and line, what was expected, what was found, what to do."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The way out of a misspelt name: `did you mean 'x'?`, or the list of valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are: {', '.join(names)}"
