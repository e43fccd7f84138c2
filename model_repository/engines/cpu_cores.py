"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")


def available_cores(cgroups: Path = _CGROUPS, root: Path = _ROOT) -> int:
    """Cores by affinity and by the quota of the control groups, which containers set; at least 1.

    Not the cores of the machine: a container with a quota of 2 of 64 would start 64 threads, that
    take turns on its quota and wait for one another.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        cores = os.cpu_count() or 1
    quota = min(_quotas(cgroups, root), default=math.inf)
    return max(1, min(cores, math.ceil(quota) if quota < math.inf else cores))


def _quotas(cgroups: Path, root: Path) -> Iterator[float]:
    """Cores that each control group of this process allows, of those that set a limit."""
    try:
        lines = cgroups.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version_2 = controllers == ""
        if not version_2 and "cpu" not in controllers.split(","):
            continue
        base = root if version_2 else root / controllers
        # A limit of an outer group holds for the inner ones; inside a container the outermost one
        # that is seen is the root itself.
        place = Path(path.lstrip("/"))
        for group in (place, *place.parents):
            yield from (_version_2 if version_2 else _version_1)(base / group)


def _version_2(group: Path) -> Iterator[float]:
    try:
        quota, period = (group / "cpu.max").read_text("utf-8").split()
    except (OSError, ValueError):
        return
    if quota != "max":
        yield int(quota) / int(period)


def _version_1(group: Path) -> Iterator[float]:
    try:
        quota, period = (
            int((group / f"cpu.cfs_{name}_us").read_text("utf-8")) for name in ("quota", "period")
        )
    except (OSError, ValueError):
        return
    if quota > 0:
        yield quota / period
