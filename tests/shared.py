"""What tests share: things made once for a whole run, and what is left to `make test-all`."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

_Value = TypeVar("_Value")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that the first process to ask for it makes; not to be changed.

    The others wait until it is whole. ``make`` is given its path, at which nothing is yet.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    path, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(path, ignore_errors=True)  # of a process that failed
            make(path)
            done.touch()
    return path


def settled(read: Callable[[], _Value]) -> _Value:
    """What is read once two readings agree: Triton counts a batch after its answers have left."""
    before = read()
    while True:
        time.sleep(0.1)
        now = read()
        if now == before:
            return now
        before = now


def reached(read: Callable[[], _Value], expected: object) -> _Value:
    """What is read, once it is what is expected, or after ten seconds: counters come late."""
    end = time.monotonic() + 10
    while (now := read()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return now


def first_of(values: Sequence[Any]) -> list[Any]:
    """Parameters of a test: the first is for every run, the others are a sweep."""
    first, *others = values
    return [first, *(pytest.param(*_as_tuple(each), marks=pytest.mark.sweep) for each in others)]


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)
