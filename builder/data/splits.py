"""What to learn from, what to choose on, what to report: two ways to split a log in time.

Both go by the order of ``Sequences``, where equal times keep the order of the log, so a split
depends on nothing but the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Holdout:
    """One event per user, held out.

    Attributes
    ----------
    histories
        ``U`` users: everything before the target that may be known.
    targets
        INT32 [U], catalogue index of what each user met next.
    """

    histories: Sequences
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, start: int, stop: int) -> Holdout:
        """Users ``start`` to ``stop``."""
        return Holdout(self.histories.rows(start, stop), self.targets[start:stop])

    def chunks(self, size: int) -> Iterator[Holdout]:
        """All users, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.rows(start, min(start + size, len(self)))


@dataclass(frozen=True, eq=False)
class Split:
    """Training histories, and the events to choose on and to report on."""

    train: Sequences
    validation: Holdout
    test: Holdout


def leave_one_out(sequences: Sequences) -> Split:
    """Hold out each user's last event for test and the one before it for validation.

    The validation event belongs to the test history. Users with fewer than 3 events are for
    training only.

    Raises
    ------
    DataError
        No user has 3 events.
    """
    starts, stops = sequences.offsets[:-1], sequences.offsets[1:]
    enough = sequences.lengths >= 3
    if not enough.any():
        raise DataError(
            "leave-one-out: no user has 3 events (one to learn from, one for validation, one for "
            "test); give a longer log or a lower minimum rating"
        )
    return Split(
        train=sequences.part(starts, np.where(enough, stops - 2, stops), sequences.lengths > 0),
        validation=_hold_out(sequences, stops - 2, enough),
        test=_hold_out(sequences, stops - 1, enough),
    )


def temporal_split(
    sequences: Sequences, validation_from: int | None = None, test_from: int | None = None
) -> Split:
    """Split at two moments, the same for all users.

    Training has the events before ``validation_from``. A user's target is their first event in
    the window: from ``validation_from`` up to ``test_from`` for validation, from ``test_from`` on
    for test. The history is everything before the window, possibly nothing. Users without an
    event in a window are not in that holdout, those without one before ``validation_from`` not
    in training.

    Parameters
    ----------
    sequences
        Events with times.
    validation_from, test_from
        Unix seconds. None for the times before which 80 % and 90 % of the events lie.

    Raises
    ------
    ConfigError
        The moments are not in order.
    DataError
        The log has no times, or a part of the split would be empty.
    """
    times = sequences.times
    if times is None:
        raise DataError(
            "temporal split: the log has no times; name its time column, or use leave-one-out"
        )
    if not len(times):
        raise DataError("temporal split: there are no events; give a longer log")
    if validation_from is None:
        validation_from = int(np.quantile(times, 0.8, method="higher"))
    if test_from is None:
        test_from = int(np.quantile(times, 0.9, method="higher"))
    if validation_from >= test_from:
        raise ConfigError(
            f"temporal split: validation starts at {validation_from}, test at {test_from} (Unix "
            "seconds); test must start later, so give both moments"
        )
    starts, stops = sequences.offsets[:-1], sequences.offsets[1:]
    validation = _first_at(sequences, times, validation_from)
    test = _first_at(sequences, times, test_from)
    split = Split(
        train=sequences.part(starts, validation, validation > starts),
        validation=_hold_out(sequences, validation, validation < test),
        test=_hold_out(sequences, test, test < stops),
    )
    sizes = {
        "training": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
    }
    if not all(sizes.values()):
        found = ", ".join(f"{count} users in {part}" for part, count in sizes.items())
        raise DataError(
            f"temporal split at {validation_from} and {test_from} (Unix seconds): {found}, and "
            f"each part needs one; the log runs from {times.min()} to {times.max()}, so give "
            "moments inside it"
        )
    return split


def _first_at(sequences: Sequences, times: NDArray[np.int64], moment: int) -> NDArray[np.int64]:
    """INT64 [U], flat position of each user's first event at or after the moment."""
    before = np.concatenate([[0], np.cumsum(times < moment)])
    counts: NDArray[np.int64] = np.diff(before[sequences.offsets])
    return sequences.offsets[:-1] + counts


def _hold_out(
    sequences: Sequences, targets: NDArray[np.int64], users: NDArray[np.bool_]
) -> Holdout:
    return Holdout(
        histories=sequences.part(sequences.offsets[:-1], targets, users),
        targets=sequences.items[targets[users]],
    )
