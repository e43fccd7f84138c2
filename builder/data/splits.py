"""Splits a log into training, validation and test events, by user or by time.

With either split, a share of the items can be held out too (`split_log`).

Both go by the order of ``Sequences``, where equal times keep the order of the log, so a split
depends on nothing but the log. Each held-out event is a target. Context, where a log has any, stays
in the histories, and users are counted by their targets.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.errors import ConfigError, DataError

Method = Literal["leave-one-out", "temporal"]
METHODS: Final = get_args(Method)
ItemChoice = Literal["random", "late"]
VALIDATION_USERS: Final = 2_000
"""Most users that leave-one-out takes an event for validation from; a choice needs no more."""
VALIDATION_SHARE: Final = 0.25
"""Most that it takes of the events that could be learnt from. Where users have three events, one is
the test and two are left: with every user's second held out nothing is ever seen together."""
REFIT_SHARE: Final = 0.05
"""Validation events are learnt from in the end if they are more than this share of the others."""
_USERS_AT_ONCE: Final = 1 << 14

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Holdout:
    """One event per user, held out; in a replay several, each a row of its own.

    Attributes
    ----------
    histories
        ``U`` users: everything before the target that may be known, and when the target came as
        their ``request_times``.
    targets
        INT32 [U], catalogue index of each user's next item.
    """

    histories: Sequences
    targets: NDArray[np.int32]

    @classmethod
    def of(cls, sequences: Sequences, places: NDArray[np.int64]) -> Holdout:
        """Hold out the events at flat positions INT64 [U], behind all that their users did before.

        Own events of the same second are known where they come first in the log.
        """
        histories = sequences.before(places)
        times = None if sequences.times is None else sequences.times[places]
        return cls(replace(histories, request_times=times), sequences.items[places])

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def seen_before(self) -> int:
        """How many of the targets are items that their user had before."""
        found = 0
        for part in self.chunks(_USERS_AT_ONCE):
            users = np.repeat(np.arange(len(part)), part.histories.lengths)
            found += len(np.unique(users[part.histories.items == part.targets[users]]))
        return found

    def rows(self, start: int, stop: int) -> Holdout:
        """Users ``start`` to ``stop``."""
        return Holdout(self.histories.rows(start, stop), self.targets[start:stop])

    def spread(self, most: int) -> Holdout:
        """At most `most` users, evenly spread over all."""
        if len(self) <= most:
            return self
        users = np.zeros(len(self), np.bool_)
        users[evenly(len(self), most)] = True
        offsets = self.histories.offsets
        return Holdout(self.histories.part(offsets[:-1], offsets[1:], users), self.targets[users])

    def chunks(self, size: int) -> Iterator[Holdout]:
        """All users, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.rows(start, min(start + size, len(self)))


@dataclass(frozen=True, eq=False)
class Split:
    """Training histories, and the events to choose on and to report on.

    Attributes
    ----------
    cold_items
        INT32 [C], ascending: catalogue indices of the items that were held out altogether. None of
        the other parts has an event of them.
    cold
        Each user's last event on one of them, behind the whole history before it, cold items
        included, as a service would send it. Empty without cold items.
    everything
        All events but those on cold items.
    refit
        The training histories with the validation events, to learn from once everything is chosen;
        None where these are no more than `REFIT_SHARE` of the training events.
    windows_from
        Unix seconds at which the windows of validation and of test begin; None without windows.
    replayed
        Whether validation and test are temporal replays, see `builder.data.replay`.
    """

    train: Sequences
    validation: Holdout
    test: Holdout
    cold_items: NDArray[np.int32]
    cold: Holdout
    everything: Sequences
    refit: Sequences | None = None
    windows_from: tuple[int, int] | None = None
    replayed: bool = False

    @property
    def learnt(self) -> Sequences:
        """What a model that is to be tested may learn from once everything is chosen."""
        return self.train if self.refit is None else self.refit

    @property
    def counted(self) -> Sequences:
        """The log that is counted until each test target, see `builder.data.decayed_counts`."""
        return self.everything if self.replayed else self.learnt

    @property
    def counted_on_validation(self) -> Sequences:
        """The log that is counted until each validation target."""
        return self.everything if self.replayed else self.train


def split_log(
    sequences: Sequences,
    items: int,
    *,
    method: str,
    hold_out_items: float = 0.0,
    hold_out: ItemChoice = "random",
    seed: int = 0,
    refit: bool = True,
) -> Split:
    """Split by one of `METHODS`, with some of the catalogue's `items` held out altogether.

    At "random" these are a share `hold_out_items` of those that have events; `seed` decides which.
    "late" ones are all whose first event, a target or not, lies in that last share of the events.
    Without ``refit`` nothing is to be learnt from the validation events.

    Raises
    ------
    ConfigError
        An unknown method.
    DataError
        The log cannot be split that way, no user has seen an item that is held out, or late items
        are asked for of a log without times.
    """
    if method not in METHODS:
        raise ConfigError(f"split {method!r}: must be one of {', '.join(METHODS)}")
    split = leave_one_out if method == "leave-one-out" else temporal_split
    if hold_out_items:
        cold_items = (
            _late_items(sequences, hold_out_items)
            if hold_out == "late"
            else _drawn_items(sequences, hold_out_items, seed)
        )
        is_cold = np.zeros(items, bool)
        is_cold[cold_items] = True
        found = replace(
            split(sequences.where(~is_cold[sequences.items])),
            cold_items=cold_items,
            cold=_last_cold(sequences, is_cold),
        )
    else:
        found = split(sequences)
    return found if refit else replace(found, refit=None)


def _drawn_items(sequences: Sequences, share: float, seed: int) -> NDArray[np.int32]:
    seen = np.unique(sequences.items)
    count = max(1, round(share * len(seen)))
    drawn = np.random.default_rng(seed).choice(seen, count, replace=False)
    return np.sort(drawn).astype(np.int32)


def _late_items(sequences: Sequences, share: float) -> NDArray[np.int32]:
    """INT32 [C], ascending: items whose first event lies in the last share of the events."""
    if sequences.times is None:
        raise DataError(
            "hold_out late: the log has no times, so no item is known to be late; name its time "
            "column, or give hold_out random"
        )
    late_from = np.quantile(sequences.times, 1 - share, method="higher")
    early = sequences.items[sequences.times < late_from]
    if not len(early):
        raise DataError(
            f"hold_out late: the first event of every item lies in the last {share:.0%} of the "
            "events; give a smaller hold_out_items, or a longer log"
        )
    return np.setdiff1d(sequences.items, early).astype(np.int32)


def _last_cold(sequences: Sequences, is_cold: NDArray[np.bool_]) -> Holdout:
    """Hold out each user's last target of items BOOL [n], if anything came before it."""
    cold = is_cold[sequences.items]
    if sequences.target is not None:
        cold &= sequences.target
    place = np.where(cold, np.arange(len(cold)), -1)
    # A user whose last mark lies before their own events has none.
    last = np.concatenate([[-1], np.maximum.accumulate(place)])[sequences.offsets[1:]]
    asked = last > sequences.offsets[:-1]
    if not asked.any():
        raise DataError(
            "hold_out_items: no user has an event on a held-out item behind another event; hold "
            "out a larger share, or give a longer log"
        )
    return _hold_out(sequences, last, asked)


def leave_one_out(sequences: Sequences) -> Split:
    """Hold out each user's last event for test and the one before it for validation.

    The validation event belongs to the test history. Users with fewer than 3 events are for
    training only. Where no user has 3, those with 2 are dealt out: of every ten one's last event
    is for validation and another's for test, and from the other eight both are learnt from.

    Where that would take more than `VALIDATION_USERS` or a `VALIDATION_SHARE` of the events, only
    so many users, evenly spread, have an event held out for validation.

    Raises
    ------
    DataError
        There are not even two users with 2 events.
    """
    targets = np.diff(sequences.targets_before)
    enough = targets >= 3
    if not enough.any():
        return _deal_out(sequences)
    most = min(VALIDATION_USERS, ceil(VALIDATION_SHARE * (targets.sum() - enough.sum())))
    validation = _some(sequences, enough, most)
    last, before = _last_target(sequences), _last_target(sequences, back=1)
    until_test = np.where(enough, last, sequences.offsets[1:])
    return _leave_out(
        sequences,
        validation=_hold_out(sequences, before, validation),
        test=_hold_out(sequences, last, enough),
        learnt=(np.where(validation, before, until_test), until_test),
    )


def _last_target(sequences: Sequences, back: int = 0) -> NDArray[np.int64]:
    """INT64 [U], flat position of each user's last target, or of one some targets before it.

    Where a user has not so many, it means nothing.
    """
    places = np.append(sequences.target_places, 0)
    found: NDArray[np.int64] = places[sequences.targets_before[1:] - 1 - back]
    return found


def _some(sequences: Sequences, users: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """At most `most` of those marked in BOOL [U], evenly spread by their ids.

    Not by their order, which rows of the log at other times would change.
    """
    places = np.flatnonzero(users)
    if len(places) <= most:
        return users
    places = np.array(sorted(places, key=sequences.user_ids.__getitem__))
    found = np.zeros(len(users), np.bool_)
    found[places[evenly(len(places), most)]] = True
    return found


def evenly(many: int, most: int) -> NDArray[np.int64]:
    """INT64 [most], positions evenly spread over `many`, the first and the last among them."""
    return np.linspace(0, many - 1, most).astype(np.int64)


def _deal_out(sequences: Sequences) -> Split:
    pairs = np.flatnonzero(np.diff(sequences.targets_before) == 2)
    if len(pairs) < 2:
        raise DataError(
            "leave-one-out: no user has 3 events (one to learn from, one for validation, one for "
            "test), and fewer than two have 2; give a longer log or a lower minimum rating"
        )
    log.warning("no user has 3 events: a tenth of the users are for validation, a tenth for test")
    place = np.full(len(sequences), -1)
    place[pairs] = np.arange(len(pairs)) % 10
    validation, test = _some(sequences, place == 0, VALIDATION_USERS), place == 1
    last, stops = _last_target(sequences), sequences.offsets[1:]
    return _leave_out(
        sequences,
        validation=_hold_out(sequences, last, validation),
        test=_hold_out(sequences, last, test),
        learnt=(np.where(validation | test, last, stops), np.where(test, last, stops)),
    )


def _leave_out(
    sequences: Sequences,
    *,
    validation: Holdout,
    test: Holdout,
    learnt: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Split:
    """Learn from each user's events up to a flat position: before validation, and after it."""
    starts = sequences.offsets[:-1]
    train, refit = (sequences.part(starts, stops, stops > starts) for stops in learnt)
    learnt_from, with_validation = (each.targets_before[-1] for each in (train, refit))
    return Split(
        train=train,
        validation=validation,
        test=test,
        cold_items=np.empty(0, np.int32),
        cold=Holdout(sequences.rows(0, 0), np.empty(0, np.int32)),
        everything=sequences,
        refit=refit if with_validation > (1 + REFIT_SHARE) * learnt_from else None,
    )


def temporal_split(
    sequences: Sequences, validation_from: int | None = None, test_from: int | None = None
) -> Split:
    """Split at two moments, the same for all users.

    Training has the events before ``validation_from``. A user's target is their first one in
    the window: from ``validation_from`` up to ``test_from`` for validation, from ``test_from`` on
    for test. The history is everything before it, possibly nothing. Users without a target in a
    window are not in that holdout, those without an event before ``validation_from`` not in
    training.

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
    stops = sequences.offsets[1:]
    until_validation = _first_at(sequences, times, validation_from)
    until_test = _first_at(sequences, times, test_from)
    validation = _next_target(sequences, until_validation)
    test = _next_target(sequences, until_test)
    split = _leave_out(
        sequences,
        validation=_hold_out(sequences, validation, validation < until_test),
        test=_hold_out(sequences, test, test < stops),
        learnt=(until_validation, until_test),
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
    return replace(split, windows_from=(validation_from, test_from))


def _first_at(sequences: Sequences, times: NDArray[np.int64], moment: int) -> NDArray[np.int64]:
    """INT64 [U], flat position of each user's first event at or after the moment."""
    before = np.concatenate([[0], np.cumsum(times < moment)])
    counts: NDArray[np.int64] = np.diff(before[sequences.offsets])
    return sequences.offsets[:-1] + counts


def _next_target(sequences: Sequences, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """INT64 [U], flat position of the first target from each position on; E where there is none."""
    places = np.append(sequences.target_places, len(sequences.items))
    return places[np.searchsorted(places[:-1], starts)]


def _hold_out(
    sequences: Sequences, targets: NDArray[np.int64], users: NDArray[np.bool_]
) -> Holdout:
    return Holdout.of(sequences, targets[users])
