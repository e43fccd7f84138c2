"""Answers ``observe``: counts events as they happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from .batch import Outcome, Prompt, Request, Tensors, attempt
from .contract import ACCEPTED, REPEATED, UNKNOWN
from .events import Event, EventIds, read_events
from .identifiers import Identifiers
from .live_trend import LiveCounts


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events were counted, are of unknown items, and were sent before."""

    accepted: int
    unknown: int
    repeated: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.accepted + other.accepted,
            self.unknown + other.unknown,
            self.repeated + other.repeated,
        )

    def tensors(self) -> Tensors:
        return {
            spec.name: np.array([[number]], np.int32)
            for spec, number in (
                (ACCEPTED, self.accepted),
                (UNKNOWN, self.unknown),
                (REPEATED, self.repeated),
            )
        }


class EventCounter:
    """Counts events once each.

    Parameters
    ----------
    ids
        Of the catalogue.
    time_constant
        Of the trend, in seconds.
    """

    def __init__(self, ids: Identifiers, time_constant: float, counts: LiveCounts) -> None:
        self._ids = ids
        self._time_constant = time_constant
        self._counts = counts
        self._event_ids = EventIds()

    def fresh(self, events: Iterable[Event]) -> list[Event]:
        """Those that were not sent before; see `EventIds.fresh`."""
        return self._event_ids.fresh(events)

    def known(self, events: Sequence[Event]) -> list[tuple[int, int]]:
        """The catalogue index and the time of each event whose item the catalogue has."""
        indices = self._ids.indices([event.item for event in events])
        return [
            (index, event.time)
            for index, event in zip(indices, events, strict=True)
            if index is not None
        ]

    def count(self, events: Sequence[tuple[int, int]]) -> None:
        """Count events that `known` returned."""
        rows = np.array(events, np.int64).reshape(-1, 2)
        self._counts.add(rows[:, 0].astype(np.int32), rows[:, 1], self._time_constant)


def unix_time() -> float:
    return datetime.now(timezone.utc).timestamp()


class Observe(Prompt):
    """ACCEPTED, UNKNOWN and REPEATED of the events of each request.

    Parameters
    ----------
    keep
        Is given the events of a batch before they are counted, those of unknown items included: a
        later catalogue may have them.
    note
        Is told of each batch.
    clock
        Unix seconds.
    """

    def __init__(
        self,
        counter: EventCounter,
        keep: Callable[[Sequence[Event]], None],
        note: Callable[[Tally], None] = lambda _: None,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._counter = counter
        self._keep = keep
        self._note = note
        self._clock = clock

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        now = int(self._clock())
        found = [attempt(lambda each: read_events(each, now), request) for request in requests]
        kept: list[Event] = []
        counted: list[tuple[int, int]] = []
        outcomes: list[Outcome] = []
        together = Tally(0, 0, 0)
        for events in found:
            if isinstance(events, Exception):
                outcomes.append(events)
                continue
            fresh = self._counter.fresh(events)
            known = self._counter.known(fresh)
            kept += fresh
            counted += known
            tally = Tally(len(known), len(fresh) - len(known), len(events) - len(fresh))
            outcomes.append(tally.tensors())
            together += tally
        self._keep(kept)
        self._counter.count(counted)
        self._note(together)
        return outcomes
