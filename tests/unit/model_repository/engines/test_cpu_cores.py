"""How many threads a container lets run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_repository.engines.cpu_cores import available_cores


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def cores(root: Path, groups: str, **limits: str) -> int:
    """Of a process in ``groups``; ``limits`` are files below ``root``, with __ for a slash."""
    (root / "groups").write_text(groups)
    for name, content in limits.items():
        file = root / name.replace("__", "/").replace("cpu_", "cpu.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return available_cores(root / "groups", root)


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none", tmp_path) == 8
    assert cores(tmp_path, "0::/\n") == 8


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 3), ("50000 100000", 1),
     ("9900000 100000", 8), ("damaged", 8)],
)  # fmt: skip
def test_a_quota_of_version_2(tmp_path: Path, limit: str, expected: int) -> None:
    assert cores(tmp_path, "0::/a/b\n", a__b__cpu_max=limit) == expected


def test_a_limit_of_an_outer_group_holds_for_the_inner_ones(tmp_path: Path) -> None:
    limits = {"a__b__cpu_max": "400000 100000", "a__cpu_max": "300000 100000"}
    assert cores(tmp_path, "0::/a/b\n", **limits) == 3
    assert cores(tmp_path, "0::/a/b\n", cpu_max="200000 100000") == 2


@pytest.mark.parametrize(("quota", "expected"), [("200000", 2), ("-1", 8)])
def test_a_quota_of_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    group = tmp_path / "cpu,cpuacct/docker/x"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota)
    (group / "cpu.cfs_period_us").write_text("100000")
    others = "5:memory:/docker/x\n1:name=systemd:/docker/x\n"
    assert cores(tmp_path, f"{others}4:cpu,cpuacct:/docker/x\n") == expected
    assert cores(tmp_path, f"{others}4:cpuset:/docker/x\n") == 8


def test_where_nothing_tells_the_affinity_it_is_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores(tmp_path / "none", tmp_path) == 5
