"""A cache that forgets what was not asked for the longest, bounded by what its values cost."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LeastRecentlyUsed(Generic[Key, Value]):
    """Key → value; any thread may use it.

    Parameters
    ----------
    most
        What all values may cost together. A value that costs more is not kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, cost: int) -> None:
        with self._lock:
            if cost > self._most:
                return
            if key in self._values:
                self._held -= self._values.pop(key)[1]
            self._values[key] = value, cost
            self._held += cost
            while self._held > self._most:
                self._held -= self._values.popitem(last=False)[1][1]
