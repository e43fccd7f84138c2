"""How often each item was met until a moment, old events counting less.

Which log is counted says what a figure knew of other users:

- For validation targets it is ``split.counted_on_validation``, for test targets
  ``split.counted``. Outside of a replay these are ``split.train`` and ``split.learnt``.
- In leave-one-out both hold events of other users from before and after a target. The later ones
  do not count: an event counts only where its time is strictly earlier than the target's.
- In a temporal split both end where the window of the targets begins, or earlier, so within the
  window nothing is added.
- In a temporal replay both are the whole log, so every event before the target counts.

The target itself never counts, since it is not earlier than itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences


class DecayedCounts:
    """The decayed count of every item at any moment.

    ``count_i(t) = Σ exp(-(t' - time_e) / τ)`` over the events e of item i with ``time_e < t``,
    where t' is the time of the last of all events before t. So where nothing is known of the time
    before t, as after the end of a log, the trend is that of the last time that is known. A server
    does the same.

    Parameters
    ----------
    log
        The events that are counted, context too; hand on a view of the log to count less.
    items
        Catalogue size n.
    time_constant
        τ in seconds, above 0. Infinity counts every earlier event as one.

    Raises
    ------
    ValueError
        The log has no times, or τ is not above 0. Callers refuse such a log by its option.
    """

    def __init__(self, log: Sequences, items: int, time_constant: float) -> None:
        if log.times is None:
            raise ValueError("counts by time need a log with times")
        if not time_constant > 0:
            raise ValueError(f"the time constant is {time_constant}; it must be above 0 seconds")
        order = np.argsort(log.times, kind="stable")
        self._times = log.times[order]
        self._items = log.items[order]
        self._size = items
        self._time_constant = time_constant

    def at(self, times: NDArray[np.int64]) -> NDArray[np.float32]:
        """FP32 [U, n], the count of every item at each of the moments INT64 [U], in any order.

        One sweep over the events, and work for n items at each moment. Ask for as many moments at
        once as may be held.
        """
        found = np.zeros((len(times), self._size), np.float32)
        # "left": an event at the moment itself lies behind it, and does not count.
        stops = np.searchsorted(self._times, times, side="left")
        state = np.zeros(self._size, np.float64)
        start, now = 0, None
        for row in np.argsort(times, kind="stable"):
            new = slice(start, stops[row])
            moment = self._times[max(new.stop - 1, 0)] if len(self._times) else times[row]
            # Every exponent is at most 0, so nothing overflows however long the log.
            if now is not None:
                state *= np.exp((now - moment) / self._time_constant)
            weights = np.exp((self._times[new] - moment) / self._time_constant)
            state += np.bincount(self._items[new], weights, minlength=self._size)
            found[row] = state
            start, now = new.stop, moment
        return found
