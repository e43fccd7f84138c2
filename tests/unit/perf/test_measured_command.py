"""A command runs in a process of its own, and what it took is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from perf.errors import PerfError
from perf.measured_command import run_command

PROGRAM = """
import sys, time
held = b"x" * 2**26
print(sum(range(10**6)))
sys.stderr.write("on")
time.sleep(0.5)  # long enough to be looked at
"""


def test_what_it_writes_and_takes(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(PROGRAM)
    output, log = tmp_path / "output", tmp_path / "log"
    used = run_command(["work"], tmp_path, output=output, log=log)
    assert output.read_text() == "499999500000\n"
    assert log.read_text() == "on"
    assert used.cpu > 0
    assert used.wall > 0
    assert 64 < used.memory < 1_000


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        PerfError, match=r"`python -m nothing here` ended with exit code 1: .*nothi"
    ):
        run_command(["nothing", "here"], tmp_path, log=tmp_path / "log")
    with pytest.raises(PerfError, match=r"ended with exit code 1$"):
        run_command(["nothing"], tmp_path)
