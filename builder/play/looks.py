"""Looks at the metrics of a server, and what happened between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from builder.serving.live_figures import LiveFigures, Page, figures, read_page
from model_repository.core.contract import RANK, RECOMMEND

_EVERY: Final = 0.9
"""Seconds between looks that are kept, at least: several open pages look at the same ones."""
_KEPT: Final = 60
_ASKED: Final = (RANK.name, RECOMMEND.name)


class Looks:
    """Remembers the last looks; any thread may ask.

    Parameters
    ----------
    address
        ``host:port`` of the metrics.
    look
        What reads them.
    """

    def __init__(self, address: str, look: Callable[[str], Page] = read_page) -> None:
        self._address = address
        self._look = look
        self._pages: deque[Page] = deque(maxlen=2)
        self._rates: deque[float] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def now(self) -> LiveFigures | None:
        """What happened between the last two looks; None after the first one.

        Raises
        ------
        ServingError
            The server does not show its metrics.
        """
        with self._lock:
            if not self._pages or time.monotonic() - self._pages[-1].at >= _EVERY:
                self._pages.append(self._look(self._address))
                if len(self._pages) == 2:
                    models = self._figures().models
                    asked = [each.requests for each in models if each.model in _ASKED]
                    self._rates.append(sum(asked))
            return self._figures() if len(self._pages) == 2 else None

    @property
    def rates(self) -> list[float]:
        """Requests a second of ``rank`` and ``recommend``, one for each look, the latest last."""
        return list(self._rates)

    def _figures(self) -> LiveFigures:
        before, after = self._pages
        return figures(before, after, None)
