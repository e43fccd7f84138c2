"""The directories of servers for their files, and what is left of servers that are gone.

A server is killed with its guard where everything is killed at once, as systemd and a full cgroup
do. Then nobody is left to delete its files and its shared memory, and the next start does. Who
runs is told by a lock within the directory: the guard holds it, and the kernel gives it back
whichever way the guard ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from builder.serving._guard import clean

_logger = logging.getLogger(__name__)

_NAME: Final = "tritonrec"
_SCRATCH: Final = re.compile(rf"({_NAME}-[0-9a-f]{{12}})-.+")
_LOCK: Final = "lock"


def new_identity() -> str:
    """Return what marks everything that belongs to one server: processes, memory, files."""
    return f"{_NAME}-{secrets.token_hex(6)}"


def make_scratch(identity: str) -> tuple[Path, int]:
    """Make the directory of a server, and return it with the descriptor of its lock.

    The lock is held until each process that has the descriptor has closed it.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f"{identity}-"))
    unlocked = scratch / f"{_LOCK}.new"
    try:
        lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # such as too many open files, and `serve` tries again
        scratch.rmdir()
        raise
    # It gets its name when it is held, so nobody finds it free. Where the file system has no locks
    # it gets none, and the directory is left alone.
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(scratch / _LOCK)
    return scratch, lock


def clean_after_the_dead() -> None:
    """Delete what servers of this user have left that were killed with their guards."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{_NAME}-*"):
        named = _SCRATCH.fullmatch(scratch.name)
        if named is None:
            continue
        with contextlib.suppress(OSError):  # it was deleted meanwhile, has no lock, or is in use
            _clean_if_dead(scratch, named[1])


def _clean_if_dead(scratch: Path, identity: str) -> None:
    """Delete what a server has left; OSError where it runs, or may run."""
    found = scratch.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(scratch / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        clean(scratch, f"{identity}-")
    finally:
        os.close(lock)
    _logger.info("deleted what was left in %s and in memory by a server that was killed", scratch)
