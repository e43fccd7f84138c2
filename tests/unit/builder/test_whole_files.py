from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.whole_files import sync, unfinished_name, write_whole


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """A disk on which a file has room for so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_on_the_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for before in (None, "before"):
        if before is not None:
            write_whole(file, before)
        with full_disk(1_000), pytest.raises(OSError, match="too large"):
            write_whole(file, "é" * 10_000)
        assert (file.read_text("utf-8") if file.exists() else None) == before
    write_whole(file, "é" * 10_000)
    assert file.read_text("utf-8") == "é" * 10_000
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_has_its_name_when_the_disk_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(file, "{}")
    assert synced == [(str(unfinished_name(file)), False)]
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "other").touch()
    synced.clear()
    sync(tmp_path)
    assert sorted(synced) == [(str(file), True), (str(tmp_path / "deeper/other"), True)]
