"""What is left of servers that were killed is deleted, and nothing of those that run."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.serving.scratch import clean_after_the_dead, make_scratch, new_identity


class Servers:
    """Directories and shared memory as servers have them."""

    def __init__(self) -> None:
        self.made: list[Path] = []

    def start(self) -> tuple[Path, int]:
        identity = new_identity()
        scratch, lock = make_scratch(identity)
        (scratch / "repository").mkdir()
        region = Path(f"/dev/shm/{identity}-region")
        region.touch()
        self.made += [scratch, region]
        return scratch, lock

    @property
    def left(self) -> list[Path]:
        return [each for each in self.made if each.exists()]


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    servers = Servers()
    yield servers
    for region in servers.made[1::2]:
        region.unlink(missing_ok=True)


def test_what_belongs_to_a_server_that_is_gone_is_deleted(servers: Servers) -> None:
    _, first = servers.start()
    _, second = servers.start()
    clean_after_the_dead()
    assert servers.left == servers.made
    os.close(first)
    clean_after_the_dead()
    assert servers.left == servers.made[2:]
    os.close(second)
    clean_after_the_dead()
    assert servers.left == []


def test_it_is_there_while_another_process_holds_the_lock(servers: Servers) -> None:
    _, lock = servers.start()
    with subprocess.Popen(["sleep", "600"], pass_fds=[lock]) as guard:
        os.close(lock)
        clean_after_the_dead()
        assert servers.left == servers.made
        guard.kill()
    clean_after_the_dead()
    assert servers.left == []


def test_a_directory_without_a_lock_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Servers
) -> None:
    def too_many(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            servers.start()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["no-lock", "another-user", "a-link", "another-name"])
def test_what_may_belong_to_others_is_left_alone(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    scratch, lock = servers.start()
    os.close(lock)
    if case == "no-lock":  # as of one that is starting, or of an earlier version
        (scratch / "lock").rename(scratch / "lock.new")
    elif case == "another-user":
        user = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: user)
    elif case == "a-link":
        scratch.rename(tmp_path / "elsewhere")
        scratch.symlink_to("elsewhere")
    else:
        scratch.rename(tmp_path / "tritonrec-notes")
        servers.made[0] = tmp_path / "tritonrec-notes"
    clean_after_the_dead()
    assert servers.left == servers.made
