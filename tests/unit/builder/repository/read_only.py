"""Publishes into a repository of read-only directories, as somebody whom permissions bind.

Usage: read_only.py DIRECTORY. Prints what lies beside the repository in the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from builder.serving import TritonServer
from tests.unit.builder.repository.repositories import publish

NOBODY = 65534


def main(parent: Path) -> None:
    repository = parent / "models"
    if os.getuid() == 0:
        os.chown(parent, NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    publish(repository, "one")
    close(repository)
    stale = parent / ".models.staging-1-dead" / "tree"
    stale.mkdir(parents=True)
    (stale / "file").touch()
    stale.chmod(0o555)
    publish(repository, "two")
    publish(repository, "three")
    close(repository)
    view = TritonServer(repository)._view(parent / "scratch")
    for root, directories, _ in os.walk(view):
        for name in directories:
            assert os.access(Path(root, name), os.W_OK), (root, name)
    sys.stdout.write(f"{sorted(path.name for path in parent.iterdir())}\n")


def close(repository: Path) -> None:
    for root, directories, _ in os.walk(repository):
        for name in directories:
            Path(root, name).chmod(0o555)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
