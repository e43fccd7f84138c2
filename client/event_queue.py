"""Events in the background: whoever has one goes on, and a thread tells the servers."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
import uuid
from collections import deque
from datetime import datetime, timezone
from types import TracebackType
from typing import Final

from client import _inputs
from client._sync import RecommenderClient
from client.errors import ClientClosed, ClientMisused, InvalidInput
from client.items import Event, Item

_logger = logging.getLogger(__name__)

_GATHER: Final = 0.02
"""Seconds that events wait for others."""
_BATCH: Final = 1_000
_PAUSES: Final = (0.1, 5.0)
"""Seconds after the first failure in a row, and the most after any: each doubles the last."""


class EventQueue:
    """Tells the servers of a client of events, in the background and in batches.

    ::

        with EventQueue(client) as events:
            events.add("50")

    While servers fail, events wait and are sent again; each is counted once. Any thread may add.

    Parameters
    ----------
    client
        Has to stay open for as long.
    most
        Events that may wait. Beyond that, new ones are lost.
    """

    def __init__(self, client: RecommenderClient, *, most: int = 10_000) -> None:
        self._client = client
        self._most = _inputs.read_count(most, "most")
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sent = 0
        self._lost = 0
        self._failing = False
        self._give_up_at: float | None = None
        self._taken = 0  # of those that waited; not yet sent or lost
        self._given_up = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="client-events", daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Events that the servers have taken."""
        return self._sent

    @property
    def lost(self) -> int:
        """Events that were refused, or for which there was no room or no time."""
        return self._lost

    def add(self, event: str | Item | Event) -> bool:
        """Have an event sent; returns at once, and says whether there was room.

        One without a time happens now, by the clock of this machine.

        Raises
        ------
        InvalidInput
            It is no event.
        ClientClosed
            The queue was closed.
        ClientMisused
            This process was forked from the one that made the queue, whose thread it does not have.
        """
        if os.getpid() != self._process:
            raise ClientMisused(
                "the queue of events was made before a fork, and sends nothing here; make a new "
                "one in this process"
            )
        _inputs.read_events([event])
        made = event if isinstance(event, Event) else Event(event)
        made = dataclasses.replace(
            made,
            id=made.id or uuid.uuid4().hex,
            time=_now() if made.time is None else made.time,
        )
        with self._changed:
            if self._give_up_at is not None:
                raise ClientClosed("the queue of events is closed: make a new one")
            if len(self._waiting) >= self._most:
                self._lost += 1
                return False
            self._waiting.append(made)
            self._changed.notify()
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, for up to ``timeout`` seconds; the rest is lost."""
        with self._changed:
            if self._give_up_at is None:
                self._give_up_at = time.monotonic() + timeout
            self._changed.notify()
        if os.getpid() != self._process:
            return
        self._thread.join(max(0.0, self._give_up_at - time.monotonic()))
        with self._lock:
            left = self._taken + len(self._waiting)
            if left and not self._given_up:
                _logger.warning("%d events are lost: there was no time to send them", left)
                self._lost += left
                self._waiting.clear()
            self._given_up = True  # of what is on its way nobody will hear

    def __enter__(self) -> EventQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while batch := self._next():
            self._send(batch)

    def _next(self) -> list[Event]:
        """Wait for events, and take a batch; none once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._give_up_at is not None)
            self._changed.wait_for(
                lambda: len(self._waiting) >= _BATCH or self._give_up_at is not None, _GATHER
            )
            self._taken = min(_BATCH, len(self._waiting))
            return [self._waiting.popleft() for _ in range(self._taken)]

    def _send(self, batch: list[Event]) -> None:
        pause, longest = _PAUSES
        while (error := self._told(batch)) is not None:
            refused = isinstance(error, InvalidInput) and error.field != "token"
            if refused and len(batch) > 1:  # one of them is at fault
                middle = len(batch) // 2
                for half in (batch[:middle], batch[middle:]):
                    if not self._given_up:
                        self._send(half)
                return
            final = refused or isinstance(error, ClientClosed)
            if not (final or self._failing):
                _logger.warning("events wait, since they cannot be sent: %s", error)
            self._failing = True
            if final or not self._waited(pause):
                self._count(batch, error)
                return
            pause = min(2 * pause, longest)
        self._count(batch, None)

    def _count(self, batch: list[Event], error: Exception | None) -> None:
        with self._lock:
            if self._given_up:  # they are counted
                return
            self._taken -= len(batch)
            if error is None:
                self._sent += len(batch)
            else:
                self._lost += len(batch)
                _logger.warning("%d events are lost: %s", len(batch), error)

    def _told(self, batch: list[Event]) -> Exception | None:
        try:
            self._client.observe(batch)
        except Exception as error:  # noqa: BLE001 - of the service that makes tokens, for example
            return error
        self._failing = False
        return None

    def _waited(self, pause: float) -> bool:
        """Wait before sending again; False where the time to close is over."""
        with self._changed:
            left = None if self._give_up_at is None else self._give_up_at - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._changed.wait_for(
                lambda: left is None and self._give_up_at is not None,
                pause if left is None else min(pause, left),
            )
        return True


def _now() -> int:
    return int(datetime.now(timezone.utc).timestamp())
