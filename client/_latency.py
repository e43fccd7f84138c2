"""Recent latencies, which tell when an answer is late."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

_WINDOW: Final = 512
_ENOUGH: Final = 20
_REFRESH: Final = 16


class LatencyWindow:
    """A percentile of the times of the latest answers, in seconds; None while there are few."""

    def __init__(self, percentile: float) -> None:
        self._share = percentile / 100
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._since = 0
        self._late: float | None = None
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self._times.append(seconds)
            self._since += 1
            if len(self._times) >= _ENOUGH and (self._late is None or self._since >= _REFRESH):
                self._since = 0
                ordered = sorted(self._times)
                self._late = ordered[min(len(ordered) - 1, int(self._share * len(ordered)))]

    @property
    def late(self) -> float | None:
        return self._late
