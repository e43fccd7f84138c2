"""How popular the items of a catalogue are."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from builder.data.sequences import Sequences
from model_repository.core.arrays import Indices
from model_repository.core.catalogue import Catalogue

LONGEST: Final = 1_000
"""Items of the list: enough that some are left without those that a user has seen."""


def most_popular(histories: Sequences, items: int) -> Indices:
    """What is recommended where nothing is known of a user's state.

    The items INT32 [p] with the most events, most first; equal ones in the catalogue's order.
    ``items`` is how many the catalogue has. Those without an event are left out.
    """
    counts = np.bincount(histories.items, minlength=items)
    order = np.argsort(-counts, kind="stable")[:LONGEST]
    found: Indices = order[counts[order] > 0].astype(np.int32)
    return found


def with_popularity(catalogue: Catalogue, histories: Sequences) -> Catalogue:
    """The same with `Catalogue.popular`, counted from ``histories``.

    So is ``log_events``, where the model does not know it.
    """
    popular = most_popular(histories, len(catalogue))
    log_events = catalogue.log_events
    if not len(log_events):
        counts = np.bincount(histories.items, minlength=len(catalogue))
        log_events = np.log1p(counts).astype(np.float32)
    return replace(catalogue, popular=popular, log_events=log_events)
