"""Turns an exception that no command expects into a message, without a traceback."""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_REFUSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SUCH_PLACE: Final = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
_GO_ON: Final = "run the same command again; `train` goes on where it was with --resume"
# Libraries in C++ and Rust tell of the system's error in words alone.
_FULL_IN_WORDS: Final = re.compile(r"no space left|os error 28\b|quota exceeded", re.IGNORECASE)
_WRITE_FAILED: Final = re.compile(
    r"PytorchStreamWriter failed|unexpected pos \d+ vs", re.IGNORECASE
)


def message(error: Exception, program: str = "python -m builder") -> str:
    """What to tell the user of an exception that is none of ours and ended `program`.

    A full disk, a path that cannot be used and a missing temporary directory are the machine's, and
    the message says what to do. Anything else is our fault: the traceback goes to a file, which
    the message names.
    """
    return _of_the_machine(error) or _of_ours(error, program)


def _of_the_machine(error: BaseException) -> str | None:
    for each in _causes(error):
        words = str(each)
        if (isinstance(each, OSError) and each.errno in _FULL) or _FULL_IN_WORDS.search(words):
            where = getattr(each, "filename", None)
            place = f"{where} could not be written" if where else "a file could not be written"
            return f"{place}: no space is left on the disk; free some, then {_GO_ON}"
        if _WRITE_FAILED.search(words):
            return f"a file could not be written ({words}); look for a full disk, then {_GO_ON}"
        if isinstance(each, FileNotFoundError) and "usable temporary directory" in words:
            return (
                "there is no directory for temporary files: "
                f"{words}; name one that can be written with the variable TMPDIR"
            )
        if isinstance(each, OSError) and each.errno in _REFUSED and each.filename:
            return (
                f"{each.filename}: {each.strerror}; change its permissions, or name another place"
            )
        if isinstance(each, OSError) and each.errno in _NO_SUCH_PLACE and each.filename:
            return f"{each.filename}: {each.strerror}; name another place"
    return None


def _of_ours(error: Exception, program: str) -> str:
    command = " ".join([program, *map(shlex.quote, sys.argv[1:])])
    report = "".join(
        [
            f"{dt.datetime.now(dt.timezone.utc).isoformat(timespec='seconds')} {command}\n",
            *traceback.format_exception(error),
        ]
    )
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        handle, name = tempfile.mkstemp(prefix="tritonrec-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(report)
    except OSError:
        return f"a fault of this software ended `{command}` ({summary}); please report it"
    return (
        f"a fault of this software ended `{command}` ({summary}); the traceback is in "
        f"{Path(name)}: please report it together with that file"
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
