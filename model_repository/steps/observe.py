"""The model ``observe``: counts the events of users, for ``rank`` and ``recommend`` of its server.

A version holds what `load_trend` reads. The environment says where events are kept, see `EVENTS`.
There is one instance, since one process alone may write the counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from ..core.contract import FARTHEST_AHEAD, MOST_VALUES
from ..core.events import Event
from ..core.observe import EventCounter, Observe, Tally, unix_time
from .catalogue_files import load_trend
from .event_journal import EventJournal
from .live_counts_file import create_live_counts, live_counts_path, publish_live_counts

EVENTS: Final = "TRITONREC_EVENTS"
"""The directory of the journal; unset or empty: events end with the server."""


def load(directory: Path, model: str) -> ObservedEvents:
    """The handler of a version in Triton, with metrics and what the log has to be told."""
    import triton_python_backend_utils as pb_utils

    from .server_metrics import Counters

    counters = Counters(
        model,
        directory.name,
        {
            "tritonrec_events_accepted": "Number of events that were counted",
            "tritonrec_events_unknown": "Number of events of items that the catalogue lacks",
            "tritonrec_events_repeated": "Number of events that were sent before",
        },
    )
    not_kept = Counters(
        model,
        directory.name,
        {"tritonrec_events_not_kept": "Number of events that a restart will not know"},
    )
    last = Counters(
        model,
        directory.name,
        {"tritonrec_trend_time": "Unix seconds of the last event that is known"},
        gauge=True,
    )
    return ObservedEvents(
        directory,
        live_counts_path(int(directory.name)),
        lambda tally: counters.increment(tally.accepted, tally.unknown, tally.repeated),
        last.increment,
        not_kept.increment,
        lambda said: pb_utils.Logger.log_warn(f"{model}: {said}"),
    )


class ObservedEvents(Observe):
    """`Observe`, with the counts in a file that others map and the events in a journal.

    Parameters
    ----------
    directory
        A version of the model.
    path
        Of the file of the counts.
    note
        Is told of each batch.
    advance
        Is told by how many seconds the last event is later than the last one before.
    lose
        Is told how many events of a batch are not kept.
    complain
        Is told, in words, what is not kept.
    """

    def __init__(
        self,
        directory: Path,
        path: Path,
        note: Callable[[Tally], None],
        advance: Callable[[int], None],
        lose: Callable[[int], None],
        complain: Callable[[str], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        ids, trend = load_trend(directory)
        self._until = trend.until
        self._path = path
        self._counts = create_live_counts(path, trend)
        self._advance = advance
        self._lose = lose
        self._note_batch = note
        self._told = 0
        self._journal = _journal(environment.get(EVENTS), complain)
        counter = EventCounter(ids, trend.time_constant, self._counts)
        if self._journal is not None:
            ahead = _replay(self._journal.read(), counter, trend.until, int(unix_time()))
            if ahead:
                complain(
                    f"{ahead} events of the journal are not counted: they lie in the future; was "
                    "the clock of this machine wrong?"
                )
        publish_live_counts(path)
        self._tell_time()
        super().__init__(counter, self._keep_events, self._note_events)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _keep_events(self, events: Sequence[Event]) -> None:
        kept = 0 if self._journal is None else self._journal.append(events, self._until)
        self._lose(len(events) - kept)

    def _note_events(self, tally: Tally) -> None:
        self._note_batch(tally)
        self._tell_time()

    def _tell_time(self) -> None:
        last = self._counts.last
        self._advance(last - self._told)
        self._told = last


def _journal(directory: str | None, complain: Callable[[str], None]) -> EventJournal | None:
    if not directory:
        complain(
            f"events are counted until the server ends, and not kept; set {EVENTS} to a directory "
            "to keep them"
        )
        return None
    try:
        return EventJournal(Path(directory), complain)
    except OSError as error:
        complain(
            f"events are counted until the server ends, and not kept: {error}; name another "
            f"directory with `python -m builder serve --events`, or with {EVENTS}"
        )
        return None


def _replay(kept: Iterable[tuple[Event, int]], counter: EventCounter, until: int, now: int) -> int:
    """Count the events of a journal that a log until ``until`` cannot hold.

    These are later, or were sent to a model that was made of this very log. Returns how many are
    left out, since they are ahead of ``now``: a clock was wrong, and with them all other counts
    would be old.
    """
    ahead = 0
    events = iter(kept)
    while part := list(islice(events, MOST_VALUES)):
        # Whatever is counted, every id is remembered.
        new = [(event, end) for event, end in part if counter.fresh([event])]
        missed = [event for event, end in new if event.time > until or end == until]
        possible = [event for event in missed if event.time <= now + FARTHEST_AHEAD]
        ahead += len(missed) - len(possible)
        counter.count(counter.known(possible))
    return ahead
