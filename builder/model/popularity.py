"""How popular items are: what of it an item without training events inherits.

A cold item is expected to be as popular as its neighbours by text are in the mean, see
`model_repository.core.items`. An item of the last weeks of a log has few events only because the
log ends, so its events are taken for the share of the log in which it was there to be met::

    expected = (1 + events) / ((share + EARLIEST) / (1 + EARLIEST))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from builder.data.sequences import Sequences
from model_repository.core.arrays import Floats

EARLIEST: Final = 0.1
"""Added to the share, so that one event on the last day is not taken for hundreds: an item of the
last moment has 11 times its events."""


@dataclass(frozen=True, eq=False)
class Popularity:
    """Logarithms of the events of n items.

    Attributes
    ----------
    events
        FP32 [n], of 1 + the targets among them: what the network has learnt of an item's popularity
        follows this.
    expected
        FP32 [n], of what these would be had the item been there all along.
    """

    events: Floats
    expected: Floats

    @classmethod
    def of(cls, log: Sequences, items: int) -> Popularity:
        """Count the events of a log; without times every item was there all along."""
        targets = log.items[log.target_places]
        events = np.log1p(np.bincount(targets, minlength=items)).astype(np.float32)
        if log.times is None:
            return cls(events, events)
        first = np.full(items, np.iinfo(np.int64).max)
        np.minimum.at(first, log.items, log.times)
        # By events, not by time: a log may grow.
        share = 1 - np.searchsorted(np.sort(log.times), first) / len(log.times)
        missed = np.log((1 + EARLIEST) / (share + EARLIEST))
        return cls(events, (events + missed).astype(np.float32))

    def lent(self, bias: Floats) -> tuple[Floats, Floats]:
        """What items with biases FP32 [n] lend to new ones: ``Neighbourhood.bias`` and ``rate``.

        FP32 [n] each; see `model_repository.core.items.inherited_bias`.
        """
        known = self.of_all(len(bias))
        return bias - known.events, np.exp(known.expected)

    def of_all(self, items: int) -> Popularity:
        """Of a catalogue of so many items, of which the last may be new and have no events."""
        pad = (0, items - len(self.events))
        return Popularity(np.pad(self.events, pad), np.pad(self.expected, pad))


UNKNOWN: Final = Popularity(np.zeros(0, np.float32), np.zeros(0, np.float32))
"""All are as popular: the bias of a cold item is the mean of its neighbours'."""
