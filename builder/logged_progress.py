"""Progress as log lines, for where no bar can be drawn: a job's log, a file, ``docker logs``."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

SECONDS: Final = 30.0
"""Between two lines of a task; one that takes less has none."""


@dataclass(slots=True)
class _Task:
    """When it began, with how much done; how much is done now, and when that was last logged."""

    began: float
    first: int
    done: int
    logged: float


class LoggedProgress:
    """A `Progress` that logs how far each task is, and how long the rest will take."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        task = self._tasks.get(name)
        if task is None or done <= task.done:  # it begins, perhaps again
            self._tasks[name] = _Task(now, done, done, now)
            return
        task.done = done
        if now - task.logged < SECONDS or done >= total:
            return
        task.logged = now
        left = (now - task.began) * (total - done) / (done - task.first)
        log.info("%s: %d of %d; about %s left", name, done, total, _duration(left))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
