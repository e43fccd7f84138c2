"""Kills a publication before each thing that it does to the file system, one after the other.

Usage: kill_points.py REPOSITORY ACTION [two-renames]. The repository is copied for each kill;
afterwards the copy must be the old one or the complete new one, and the next publication must
succeed and leave nothing beside it. Prints a JSON list of what was found after each kill.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from builder.repository import activate, read_manifest, stage, swap
from tests.unit.builder.repository.repositories import add_version, snapshot

# What Python announces before it does it; the exchange of two names follows a ctypes.dlsym.
TOUCHES = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.utime", "shutil.rmtree", "ctypes.dlsym",
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def touches(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & WRITES)
    return event in TOUCHES


def act(repository: Path, action: str) -> None:
    if action == "publish":
        with stage(repository) as staging:
            add_version(staging, "new")
    else:
        activate(repository, 1)


def killed_at(repository: Path, action: str, moment: int) -> bool:
    """Run the action in a process that dies before its touch number ``moment``; else False."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if touches(event, arguments):
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.addaudithook(hook)
        act(repository, action)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    return True


def main(original: Path, action: str, two_renames: bool) -> None:
    if two_renames:
        swap._exchange = lambda one, other: False  # noqa: ARG005
    found: list[str] = []
    before = snapshot(original)
    scratch = original.parent / "copies"
    moment = 0
    while True:
        scratch.mkdir()
        copy = scratch / "repository"
        shutil.copytree(original, copy)
        running = killed_at(copy, action, moment)
        if not copy.exists():
            found.append("missing")
        elif snapshot(copy) == before:
            found.append("old")
        else:
            found.append("new")
            assert read_manifest(copy).active == (3 if action == "publish" else 1)
        with stage(copy) as staging:
            add_version(staging, "after")
        for number, content in (("1", "one"), ("2", "two")):
            assert (copy / "solo" / number / "model.py").read_text() == content
        assert [path.name for path in scratch.iterdir()] == ["repository"]
        shutil.rmtree(scratch)
        if not running:
            break
        moment += 1
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], "two-renames" in sys.argv)
