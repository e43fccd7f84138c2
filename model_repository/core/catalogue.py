"""The catalogue: a model's items as plain arrays, which several processes may share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices
from .attributes import NO_ATTRIBUTES, Attributes
from .calibration import Calibration
from .identifiers import Identifiers
from .items import NO_NEIGHBOURHOOD, Neighbourhood
from .trend import NO_TREND, Trend

_UNCALIBRATED: Final = Calibration()
_NO_IDS: Final = Identifiers.of([])


def _no_indices() -> Indices:
    return np.zeros(0, np.int32)


def _no_floats() -> Floats:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The n items of a model, and what their scores are made of; what is left out has no effect.

    Attributes
    ----------
    vectors, bias
        FP32 [n, d] and [n]: the network's logit is ``state · vectors[i] + bias[i]``.
    cold_neighbours
        INT32 [c, r], the nearest of the items in whose place each cold one stands; empty where they
        are not known. No score needs them.
    text_part
        FP32 [n, d], the part of ``vectors`` that an item has of its text, and not of its events;
        empty where it is not known. No score needs it.
    other_texts
        FP32 [n - p, h], the centred text vectors at length 1 of the items that are not among the p
        of the ``neighbourhood``, in the order of the catalogue; empty where they are not known. A
        search needs them, and no score.
    ids
        Their ids.
    linear_index, linear_value, decay
        INT32 and FP32 [n, K], the items that an event on an item speaks for and by how much, and
        FP32 [A], the weight of an event that is the a-th before the latest.
    cold, cold_rank
        INT32 [c], the items without training events, and the rank that the best of them has at
        the latest, 2 or more; 0 for the rank of its logit.
    neighbourhood
        How texts that come with requests are placed.
    profile
        FP32 [P, ids, d], what an id of each column of a user's profile adds to the user's state.
    trend
        What is popular, as of the last event of the log.
    calibration
        From logits to interests.
    attributes
        Columns of the item file that were named at export.
    popular
        INT32 [p], the items with the most events, most first: what is recommended where there is
        no state of the user.
    uncertainty
        FP32 [n], the standard deviation of each item's logit; of 0 items where it is not known.
    log_events
        FP32 [n], logarithms of 1 + the events of each item that the model has learnt from; of
        length 0 where they are not known.
    """

    vectors: Floats
    bias: Floats
    ids: Identifiers = _NO_IDS
    linear_index: Indices = field(default_factory=_no_indices)
    linear_value: Floats = field(default_factory=_no_floats)
    decay: Floats = field(default_factory=_no_floats)
    cold: Indices = field(default_factory=_no_indices)
    cold_rank: int = 0
    neighbourhood: Neighbourhood = NO_NEIGHBOURHOOD
    profile: Floats = field(default_factory=_no_floats)
    trend: Trend = NO_TREND
    calibration: Calibration = _UNCALIBRATED
    attributes: Attributes = NO_ATTRIBUTES
    popular: Indices = field(default_factory=_no_indices)
    uncertainty: Floats = field(default_factory=_no_floats)
    cold_neighbours: Indices = field(default_factory=_no_indices)
    text_part: Floats = field(default_factory=_no_floats)
    log_events: Floats = field(default_factory=_no_floats)
    other_texts: Floats = field(default_factory=_no_floats)

    def __len__(self) -> int:
        return len(self.bias)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Some items of a catalogue, best first.

    Attributes
    ----------
    index
        INT32 [m].
    logit, interest
        FP32 [m].
    score
        FP32 [m], what they are ordered by: the interest, as the stages of the policy change it.
    propensity
        FP32 [m], how likely each was to be shown at its rank; None before ranks are given.
    """

    catalogue: Catalogue
    index: Indices
    logit: Floats
    interest: Floats
    score: Floats
    propensity: Floats | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, kept: slice | NDArray[Any]) -> Candidates:
        """The candidates at a slice, or at places [k] in their order, or where BOOL [m] says so."""
        propensity = None if self.propensity is None else self.propensity[kept]
        return Candidates(
            self.catalogue,
            self.index[kept],
            self.logit[kept],
            self.interest[kept],
            self.score[kept],
            propensity,
        )

    def by_score(self, score: Floats) -> Candidates:
        """The same with scores FP32 [m], largest first; equal ones stay in their order."""
        return replace(self, score=score)[np.argsort(-score, kind="stable")]

    @property
    def vectors(self) -> Floats:
        """Item vectors FP32 [m, d]."""
        return self.catalogue.vectors[self.index]

    def attribute(self, name: str) -> list[object]:
        """The values of an attribute, for each candidate; see `Attributes.values`."""
        return self.catalogue.attributes.values(name, self.index)
