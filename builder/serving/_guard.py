"""Runs a server and ends all its processes, even when the process that started it is killed.

A program of its own, without imports from this project: it has to outlive its parent. Usage::

    _guard.py PARENT_PID GRACE_SECONDS SCRATCH SHM_PREFIX COMMAND...

SIGTERM, or the death of the parent, ends the server: SIGTERM first, SIGKILL to its process group
after GRACE_SECONDS or at a second SIGTERM. SIGQUIT kills at once. Then the directory SCRATCH, the
shared memory regions named SHM_PREFIX* and the server's directory for Python environments are
deleted. Exits as the server did (128 + n after signal n).

It inherits a descriptor that holds the lock of SCRATCH, see `scratch.py`, and never looks at it. It
alone has it, so the lock is given back when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_WAKE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1
_TEMPORARY = Path("/tmp")  # nosec B108 # Triton names it
"""Where Triton's Python backend puts its directory, whatever TMPDIR says."""
_FILES = 1 << 16
"""Files that a server may have open, where the machine lets it. Each connection is one. Many
systems give a process 1,024, and beyond that a server answers nobody new."""
_SECONDS_TO_BACKEND = 10.0
"""How long after its start a server has loaded the Python backend."""


def main(parent: int, grace: float, scratch: Path, prefix: str, command: list[str]) -> int:
    # Blocked signals wait for sigtimedwait, so none is lost and no handler interrupts anything.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKE)
    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the guard itself be killed
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKE)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))

    began = time.monotonic()
    earlier = _environments()
    own: set[Path] = set()
    # preexec_fn is safe here: this process has one thread.
    server = subprocess.Popen(command, preexec_fn=in_child, start_new_session=True)
    deadline = float("inf")
    while server.poll() is None and time.monotonic() < deadline:
        received = signal.sigtimedwait(_WAKE, 0.5)
        if time.monotonic() - began < _SECONDS_TO_BACKEND:
            own = _environments() - earlier
        number = received.si_signo if received is not None else signal.SIGCHLD
        ending = number != signal.SIGCHLD
        if number == signal.SIGQUIT or (ending and deadline < float("inf")):
            break
        if deadline == float("inf") and (ending or os.getppid() != parent):
            server.terminate()
            deadline = time.monotonic() + grace
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)  # stubs included
    code = server.wait()
    clean(scratch, prefix)
    for directory in own:
        with contextlib.suppress(OSError):  # not empty, somebody else's, or gone
            directory.rmdir()
    return code if code >= 0 else 128 - code


def clean(scratch: Path, prefix: str) -> None:
    """Delete what a server leaves behind."""
    for region in Path("/dev/shm").glob(f"{prefix}*"):  # nosec B108 # Linux names it
        with contextlib.suppress(OSError):
            region.unlink()
    # The last, since by its lock a later start finds what is not deleted.
    shutil.rmtree(scratch, ignore_errors=True)


def _environments() -> set[Path]:
    """The directories for Python environments; a server that is killed leaves its own, empty.

    Their names tell nothing of their servers, and their times are those of a clock that may jump.
    """
    return set(_TEMPORARY.glob("python_env_*"))


if __name__ == "__main__":
    sys.exit(
        main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5:])
    )
