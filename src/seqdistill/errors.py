"""The one exception for a user's mistakes: the command line prints it without a traceback and exits with code 2."""

from __future__ import annotations

import errno
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: the message names file and line, what was expected, what was found, what to do."""


class LineError(UserError):
    """A line that cannot be decoded, while those before it can."""

    def __init__(self, line: int, message: str) -> None:
        """`line` is its number from 0."""
        super().__init__(message)
        self.line = line


def nearest(name: str, valid: Iterable[str]) -> str:
    """The way out of a misspelt name: `did you mean 'x'?`, or the list of valid names."""
    import difflib  # only where there is an error

    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are: {', '.join(names) or 'none'}"


_CONTINUES = "run the same command again, it continues"
_WAYS_OUT = {
    errno.ENOENT: "check the name",
    errno.EACCES: "change its permissions, or give another path",
    errno.EPERM: "change its permissions, or give another path",
    errno.EROFS: "give a path on a file system that can be written to",
    errno.EISDIR: "give a file",
    errno.ENOTDIR: "a part of this path is a file: give another path",
    errno.EEXIST: "give another path, or move what is there",
    errno.ENOTEMPTY: "give another path, or move what is there",
    errno.ELOOP: "its links lead back to themselves: give another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ENOSPC: f"the disk is full: free some space and {_CONTINUES}",
    errno.EDQUOT: f"the disk is full for this user: free some space and {_CONTINUES}",
    errno.EFBIG: f"files may not grow so large here: raise the limit (ulimit -f) and {_CONTINUES}",
    errno.EMFILE: f"raise the limit of open files (ulimit -n) and {_CONTINUES}",
    errno.ENFILE: f"close other programs and {_CONTINUES}",
    errno.ENOMEM: f"close other programs and {_CONTINUES}",
    errno.EAGAIN: f"close other programs, or raise the limit of processes (ulimit -u), and {_CONTINUES}",
    errno.EIO: "the disk or the network failed: copy the file to another place",
    errno.ESTALE: f"the network's file system lost the file: {_CONTINUES}",
    errno.EINVAL: "give an ordinary file",
    errno.ENXIO: "give an ordinary file",
    errno.ENODEV: "give an ordinary file",
    errno.ESPIPE: "give an ordinary file",
}
"""What to do about an error of the operating system."""


def described(error: OSError) -> str:
    """An error of the operating system as a UserError says it: the file, what happened, what to do."""
    file = error.filename if error.filename is not None else error.filename2
    name = file.decode(errors="surrogateescape") if isinstance(file, bytes) else file
    what = error.strerror or str(error) or type(error).__name__
    what = what[:1].lower() + what[1:]
    way_out = _WAYS_OUT.get(error.errno or 0, f"see to it and {_CONTINUES}")
    return f"{what if name is None else f'{name}: {what}'}; {way_out}"
