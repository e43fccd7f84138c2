from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from builder.errors import ConfigError
from builder.outputs import check_file


def test_nothing_changes_where_a_file_can_be_written(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("content")
    link = tmp_path / "link"
    link.symlink_to("not there yet")
    for file in (held, link, tmp_path / "new"):
        check_file(file, "--html")
    assert held.read_text() == "content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held", "link"]
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/page.html", "No such file or directory"),
        ("file/page.html", "Not a directory"),
        (".", "Is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refusal:
        check_file(tmp_path / name, "--best")
    told = f"--best {tmp_path / name}: cannot be written: {why}; name another file"
    assert str(refusal.value) == told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_who_reads_a_pipe_notices_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_file(pipe, "--html")  # it would wait here for somebody to read
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    check_file(pipe, "--html")
    pipe.write_text("page")
    reader.join()
    assert found == ["page"]
