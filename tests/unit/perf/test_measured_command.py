"""A command runs in a process of its own, and what it took is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from perf.errors import PerfError
from perf.measured_command import run_command


def test_what_it_writes_and_takes(tmp_path: Path) -> None:
    program = (
        "import sys; held = bytearray(2**26); print(sum(range(10**6))); sys.stderr.write('on')"
    )
    (tmp_path / "work.py").write_text(program)
    output, log = tmp_path / "output", tmp_path / "log"
    used = run_command(["work"], tmp_path, output=output, log=log)
    assert output.read_text() == "499999500000\n"
    assert log.read_text() == "on"
    assert 0 < used.cpu
    assert 0 < used.wall
    assert 64 < used.memory < 1_000


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        PerfError, match=r"`python -m nothing here` ended with exit code 1: .*nothing"
    ):
        run_command(["nothing", "here"], tmp_path, log=tmp_path / "log")
    with pytest.raises(PerfError, match=r"ended with exit code 1$"):
        run_command(["nothing"], tmp_path)
