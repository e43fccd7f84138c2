"""Which tritonserver is started as a changed copy, and what is changed in it."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from builder.serving import cancellation_fix
from builder.serving.cancellation_fix import mended

CONTENT = b"a program with 0f84 in it".replace(b"0f84", bytes.fromhex("0f84"))


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the tritonserver of the wheel."""
    path = tmp_path / "bin" / "tritonserver"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    changes = ((CONTENT.index(b"\x0f\x84"), "0f 84", "90 e9"),)
    monkeypatch.setattr(cancellation_fix, "_CHANGES", changes)
    monkeypatch.setattr(cancellation_fix, "_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return path


def test_a_known_file_is_copied_and_changed(binary: Path, tmp_path: Path) -> None:
    found = mended(binary, tmp_path)
    assert found != binary
    assert found.is_relative_to(tmp_path)
    assert found.name == "tritonserver"
    assert found.read_bytes() == CONTENT.replace(b"\x0f\x84", b"\x90\xe9")
    assert os.access(found, os.X_OK)
    assert binary.read_bytes() == CONTENT


def test_where_it_looks_for_libraries_nobody_else_may_write(binary: Path, tmp_path: Path) -> None:
    found = mended(binary, tmp_path)
    for beside in ("../lib", "../../../nvidia_pytriton.libs"):
        assert Path(os.path.normpath(found.parent / beside)).is_relative_to(tmp_path)


def test_any_other_file_is_left_as_it_is(binary: Path, tmp_path: Path) -> None:
    binary.write_bytes(CONTENT + b"!")
    assert mended(binary, tmp_path) == binary


def test_nothing_is_copied_to_where_no_program_may_run(
    binary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = os.statvfs(tmp_path)
    flags = os.statvfs_result((*tuple(here)[:8], here.f_flag | os.ST_NOEXEC, here.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: flags)
    assert mended(binary, tmp_path) == binary
    (record,) = caplog.records
    assert "callers who leave may end it" in record.getMessage()
    assert "set TMPDIR to a directory where one may" in record.getMessage()
    binary.write_bytes(CONTENT + b"!")  # one that has no faults
    assert mended(binary, tmp_path) == binary
    assert len(caplog.records) == 1


def test_where_there_is_no_room_for_a_copy_the_server_starts_all_the_same(
    binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "program").write_text("in the way")
    assert mended(binary, tmp_path) == binary
    assert "callers who leave may end it: [Errno 20]" in caplog.text


def test_a_part_of_a_copy_does_not_stay(
    binary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write(path, content[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert mended(binary, tmp_path) == binary
    assert "callers who leave may end it: [Errno 28]" in caplog.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [binary]
