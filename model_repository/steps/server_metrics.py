"""Counters, and other figures, among Triton's own metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

import triton_python_backend_utils as pb_utils

_EVERY: Final = 0.1
"""Seconds between two times that Triton is told."""


class Counters:
    """Counters of one version of a model, by name; each with what it says.

    With ``gauge`` they are figures that are no numbers of something, and change by what is added.

    Triton is told a little later, from a thread: to tell it at once made a request with known items
    some 90 us slower. One thread does so for the whole process, since Triton 2.51 ends with signal
    11 when two tell it at the same time.
    """

    def __init__(
        self, model: str, version: str, described: Mapping[str, str], *, gauge: bool = False
    ) -> None:
        kind = pb_utils.MetricFamily.GAUGE if gauge else pb_utils.MetricFamily.COUNTER
        # A metric lives as long as its family does.
        self._families = [
            pb_utils.MetricFamily(name=name, description=description, kind=kind)
            for name, description in described.items()
        ]
        labels = {"model": model, "version": version}
        self._metrics = [family.Metric(labels=labels) for family in self._families]

    def increment(self, *amounts: int) -> None:
        """Add to each of them, in their order."""
        for place, amount in enumerate(amounts):
            if amount:
                _TELLER.add(self, place, amount)

    def tell(self, place: int, amount: int) -> None:
        """Add to one of them at once."""
        self._metrics[place].increment(amount)


class _Teller:
    """Gathers what is counted, and hands it on."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Counters, int]] = Counter()
        self._over = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, counters: Counters, place: int, amount: int) -> None:
        with self._changed:
            if not self._counts:  # else the thread is awake, and to wake it costs the request time
                self._changed.notify()
            self._counts[counters, place] += int(amount)
            if self._thread is None:
                self._thread = threading.Thread(target=self._tell, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Hand on what is left, and end."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._counts or self._over)
                if not self._counts:
                    return
                self._changed.wait_for(lambda: self._over, _EVERY)
                counts, self._counts = self._counts, Counter()
            for (counters, place), amount in counts.items():
                counters.tell(place, amount)


_TELLER: Final = _Teller()

close_counters: Final = _TELLER.close
