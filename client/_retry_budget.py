"""The budget that keeps retries from multiplying the load of a server in trouble."""

from __future__ import annotations

import threading


class RetryBudget:
    """Counts what calls earn and what retries and hedges spend.

    The reserve is a loan: calls pay it back before they earn. So n calls never make more than
    ``max(reserve, ratio * n)`` extra attempts, and savings of quiet hours are capped at the
    reserve.
    """

    def __init__(self, ratio: float, reserve: int) -> None:
        self._ratio = ratio
        self._cap = float(max(reserve, 1))
        self._balance = self._debt = float(reserve)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count a call."""
        with self._lock:
            if self._debt > 0:
                self._debt -= self._ratio
            else:
                self._balance = min(self._cap, self._balance + self._ratio)

    def spend(self) -> bool:
        """Take one extra attempt out of the budget, if there is one left."""
        with self._lock:
            # A tenth added ten times is a little less than one.
            if self._balance < 1 - 1e-9:
                return False
            self._balance -= 1
            return True
