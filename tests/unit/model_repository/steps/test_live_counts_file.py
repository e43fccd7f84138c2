"""Counts that processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_repository.core.trend import Trend
from model_repository.steps.live_counts_file import (
    LiveCountsFile,
    create_live_counts,
    live_counts_path,
    publish_live_counts,
)

UNTIL = 1_000


def trend(time_constant: float = 60.0, items: int = 4) -> Trend:
    return Trend(time_constant, 1.0, np.arange(items, dtype=np.float64), UNTIL)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_one_counts_the_other_sees(tmp_path: Path) -> None:
    path, clock = tmp_path / "counts", Clock()
    find = LiveCountsFile(path, trend(), clock)
    assert find() is None
    counts = create_live_counts(path, trend())
    clock.now += 1
    assert find() is None  # not before it is whole
    publish_live_counts(path)
    clock.now += 1
    found = find()
    assert found is not None
    assert (found.changes, found.last) == (0, UNTIL)
    np.testing.assert_array_equal(found.level, trend().level)
    counts.add(np.array([2], np.int32), np.array([UNTIL + 60]), 60.0)
    assert (found.changes, found.last) == (1, UNTIL + 60)
    assert found.level[2] == counts.level[2] > 2
    with pytest.raises(ValueError, match="read-only"):
        found.level[0] = 1


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path, clock = tmp_path / "counts", Clock()
    create_live_counts(path, trend())
    publish_live_counts(path)
    find = LiveCountsFile(path, trend(), clock)
    first = find()
    create_live_counts(path, trend())
    publish_live_counts(path)
    assert find() is first  # it is looked for a few times a second
    clock.now += 1
    second = find()
    assert second is not None
    assert second is not first
    path.unlink()
    clock.now += 1
    assert find() is second


@pytest.mark.parametrize("other", [trend(61.0), trend(items=5)])
def test_counts_of_another_model_are_not_read(tmp_path: Path, other: Trend) -> None:
    path = tmp_path / "counts"
    create_live_counts(path, other)
    publish_live_counts(path)
    assert LiveCountsFile(path, trend())() is None


def test_the_models_of_a_server_agree_on_the_file() -> None:
    # Models are children of one process; here two children of this one.
    code = (
        "from model_repository.steps.live_counts_file import live_counts_path\n"
        "print(live_counts_path(3))"
    )
    command = [sys.executable, "-c", code]
    said = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    assert f"-{os.getpid()}-" in said[0].decode()
    assert said[0].decode().strip() != str(live_counts_path(3))  # of another server
    assert live_counts_path(3) != live_counts_path(4)
