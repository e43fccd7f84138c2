"""Temporal replay: the events of the test window, asked one after the other as they happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from builder.data.splits import Holdout, Split, evenly

MOST: Final = 2_000
"""Events that are asked, evenly spread over the window; each costs a ranking of the catalogue."""


def replayed(split: Split) -> Split:
    """Test a temporal split on every target in its test window, in the order of time.

    A user is asked about each time. The history is all that the user did before, in the window
    too. Counts know every earlier event of all users, see `Split.counted`. What is learnt stays as
    it is. Above `MOST` targets only so many are asked, evenly spread.

    Raises
    ------
    ValueError
        The split is not a temporal one.
    """
    log = split.everything
    if split.test_from is None or log.times is None:
        raise ValueError("only a temporal split can be replayed")
    places = log.target_places
    places = places[log.times[places] >= split.test_from]
    places = places[np.argsort(log.times[places], kind="stable")]
    places = places[evenly(len(places), min(len(places), MOST))]
    return replace(split, test=Holdout.of(log, places), replayed=True)
