"""Events that happen while a model is served, as requests tell of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from .batch import Request, Tensors
from .contract import (
    EVENT_ID,
    FARTHEST_AHEAD,
    LONGEST_EVENT_VALUE,
    OBSERVED_ACTION,
    OBSERVED_ITEM,
    OBSERVED_TIME,
    TensorSpec,
)
from .errors import InvalidRequest
from .options import NO_OPTIONS
from .tensors import check_length, check_unit, seconds, strings

REMEMBERED: Final = 100_000
"""Ids of events that are remembered: some two minutes of 1,000 events a second."""


class Event(NamedTuple):
    """Something that a user did: an item's id, Unix seconds, what was done, and the event's id.

    Of the last two ``b""`` stands for not known.
    """

    item: bytes
    time: int
    action: bytes = b""
    id: bytes = b""


def read_events(request: Request, now: int) -> list[Event]:
    """The events of a request to ``observe``; ``now`` is the server's clock in Unix seconds.

    Raises
    ------
    InvalidRequest
        It cannot be counted as sent: none of it is.
    """
    NO_OPTIONS.read(request.parameters)
    tensors = request.tensors
    items = _column(tensors, OBSERVED_ITEM, None)
    if items is None:
        raise InvalidRequest(f"{OBSERVED_ITEM.name} is missing; send the ids of the items")
    count = len(items)
    none = [b""] * count
    actions = _column(tensors, OBSERVED_ACTION, count) or none
    ids = _column(tensors, EVENT_ID, count) or none
    times = _times(tensors, count, now)
    return [Event(*each) for each in zip(items, times, actions, ids, strict=True)]


def _column(tensors: Tensors, spec: TensorSpec, count: int | None) -> list[bytes] | None:
    values = strings(tensors, spec.name)
    if values is None:
        return None
    if count is not None:
        check_length(spec.name, len(values), OBSERVED_ITEM.name, count)
    longest = max(map(len, values), default=0)
    if longest > LONGEST_EVENT_VALUE:
        place = next(place for place, each in enumerate(values) if len(each) == longest)
        raise InvalidRequest(
            f"{spec.name}[{place}] has {longest} bytes, and at most {LONGEST_EVENT_VALUE} are "
            "kept; shorten it"
        )
    return values


def _times(tensors: Tensors, count: int, now: int) -> list[int]:
    times = seconds(tensors, OBSERVED_TIME.name)
    if times is None:
        return [now] * count
    name = OBSERVED_TIME.name
    check_length(name, len(times), OBSERVED_ITEM.name, count)
    check_unit(name, times)
    wrong = np.flatnonzero((times < 0) | (times > now + FARTHEST_AHEAD))
    if wrong.size:
        place = int(wrong[0])
        time = int(times[place])
        if time < 0:
            raise InvalidRequest(
                f"{name}[{place}] is {time}, which is before 1970; send Unix seconds, or 0 for the "
                "server's clock"
            )
        raise InvalidRequest(
            f"{name}[{place}] is {time}, {time - now} seconds ahead of the server's clock, and at "
            f"most {FARTHEST_AHEAD} are allowed; set the clocks, or send 0 for the server's"
        )
    return [each or now for each in times.tolist()]


class EventIds:
    """The ids of the latest events, to tell those that are sent again."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def fresh(self, events: Iterable[Event]) -> list[Event]:
        """The events whose ids are new, which are remembered from now on, and those without id."""
        found = []
        for event in events:
            if event.id:
                if event.id in self._known:
                    continue
                self._known[event.id] = None
            found.append(event)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found
