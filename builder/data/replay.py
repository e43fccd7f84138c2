"""Temporal replay: the events of a window, asked about one after the other as they happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout, Split, evenly

MOST: Final = 2_000
"""Events that are asked, evenly spread over a window; each costs a ranking of the catalogue."""


def replayed(split: Split) -> Split:
    """Ask about every target in the windows of a temporal split, in the order of time.

    A user is asked about each time. The history is all that the user did before, in the window
    too. Counts know every earlier event of all users, see `Split.counted`. What is learnt stays as
    it is. Validation is asked in the same way as test, so that what is chosen suits the test: the
    first event of a user in a window, which a temporal split asks about, is unlike the later ones.
    Above `MOST` targets in a window only so many are asked about, evenly spread.

    Raises
    ------
    ValueError
        The split is not a temporal one.
    """
    log = split.everything
    if split.windows_from is None or log.times is None:
        raise ValueError("only a temporal split can be replayed")
    validation_from, test_from = split.windows_from
    places = log.target_places
    places = places[np.argsort(log.times[places], kind="stable")]
    times = log.times[places]
    validation = places[(times >= validation_from) & (times < test_from)]
    return replace(
        split,
        validation=_held_out(log, validation),
        test=_held_out(log, places[times >= test_from]),
        replayed=True,
    )


def _held_out(log: Sequences, places: NDArray[np.int64]) -> Holdout:
    return Holdout.of(log, places[evenly(len(places), min(len(places), MOST))])
