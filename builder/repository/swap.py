"""Replacing a directory by another one beside it, all at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from builder.errors import RepositoryError

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
# What renameat2 answers where the kernel, the C library or the file system lacks it.
_UNSUPPORTED: Final = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def staging_path(target: Path) -> Path:
    """Return a fresh name beside ``target``, on the same file system."""
    return target.with_name(f".{target.name}.staging-{os.getpid()}-{os.urandom(4).hex()}")


def swap_in(built: Path, target: Path) -> None:
    """Put the directory ``built`` at ``target`` and delete what was there.

    Atomic where the file system can exchange two names; elsewhere two renames, and ``recover``
    undoes the first when the process dies between them.

    Raises
    ------
    RepositoryError
        ``target`` is a mount point. It is as it was, also after an OSError.
    """
    try:
        if not target.exists():
            built.rename(target)
        elif _exchange(built, target):
            # From here on the old tree bears the staging name, so the next one clears it away.
            delete_tree(built, ignore_errors=True)
        else:
            _two_renames(built, target)
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EXDEV):
            raise _mount_error(target) from error
        raise
    sync_directory(target.parent)


def delete_tree(directory: Path, *, ignore_errors: bool = False) -> None:
    """Delete a directory of ours, also where directories in it are read-only.

    Nothing in one of those can be deleted, and its mode may have come with the repository.
    """
    for root, directories, _ in os.walk(directory):
        for path in (Path(root, name) for name in directories):
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(directory, ignore_errors=ignore_errors)


def refuse_mount_point(target: Path) -> None:
    """Raise RepositoryError if ``target`` is mounted, which no rename can replace."""
    mounts = Path("/proc/self/mountinfo")
    # ismount() does not see a directory of the same file system that is bound there.
    bound = mounts.exists() and str(target) in {
        line.split()[4] for line in mounts.read_text("utf-8", "surrogateescape").splitlines()
    }
    if bound or target.is_mount():
        raise _mount_error(target)


def refuse_current_directory(target: Path) -> None:
    """Raise RepositoryError if this process works in ``target``, or in a directory within.

    A shell that does so too would stand in a deleted directory afterwards.
    """
    here = Path.cwd()
    if target in (here, *here.parents):
        raise RepositoryError(
            f"{target} is the current directory, or holds it, and would be replaced while it is "
            "in use; name a directory of its own, or change to another directory first"
        )


def recover(target: Path) -> None:
    """Clear away what dead processes left beside ``target``. The caller holds ``lock``."""
    for old in _siblings(target, "old"):
        if target.exists():
            delete_tree(old)
        else:
            old.rename(target)
    for staging in _siblings(target, "staging"):
        delete_tree(staging)


@contextlib.contextmanager
def lock(target: Path) -> Iterator[None]:
    """Keep other publishers away from ``target``; the kernel frees it when this process dies.

    Raises
    ------
    RepositoryError
        Another process holds it.
    """
    path = target.with_name(f".{target.name}.lock")
    try:
        descriptor = _open_locked(path)
    except BlockingIOError:
        raise RepositoryError(
            f"another process is publishing to {target}; wait for it to finish and run this again"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have removed the file meanwhile: a lock on it would be worthless.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    renameat2.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
    )  # fmt: skip
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _mount_error(target: Path) -> RepositoryError:
    return RepositoryError(
        f"{target} is a mount point, so it cannot be replaced all at once; mount its parent "
        f"{target.parent} instead"
    )


def _two_renames(built: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old-{os.getpid()}-{os.urandom(4).hex()}")
    target.rename(old)
    try:
        built.rename(target)
    except BaseException:
        old.rename(target)
        raise
    delete_tree(old, ignore_errors=True)


def _siblings(target: Path, kind: str) -> list[Path]:
    prefix = f".{target.name}.{kind}-"
    return [path for path in target.parent.iterdir() if path.name.startswith(prefix)]
