"""How much items are like an item, a text or a query, and the lists that are held to it.

Items that are bought or watched together have vectors that point the same way. So an item is like
another one by the cosine of their vectors, after the mean of all is taken off. A text that the
catalogue lacks has the vector that the network makes of it. A query is compared with the texts of
the items alone: who looks for words wants these, and not what goes together with them.

`python -m perf related` has the figures that decided this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices
from .catalogue import Candidates, Catalogue
from .item_sets import ItemSet
from .items import SHORTEST, unit
from .score_terms import Users
from .scoring import Scorer
from .top_k import largest

WEIGHT: Final = 24.0
"""What a cosine of 1 weighs beside a logit."""
MOST_SIMILAR: Final = 200
"""Items that a list is made of; more where it needs more. What is less alike does not come."""
_BLOCK: Final = 2**16
_READ: Final = 2**14
"""Where a request allows so few items, each is compared by itself, and no index is asked."""
_GATHERED: Final = 8
"""To compare one in so many items, each by itself, takes as long as to compare all."""


class DirectionIndex(Protocol):
    """Finds the directions nearest to one without reading all of them."""

    def nearest(
        self, direction: Floats, number: int, member: NDArray[np.bool_] | None
    ) -> Indices | None:
        """Items INT32 [m] among which the ``number`` nearest to a direction FP32 [w] lie.

        All are different, and of all ``member`` BOOL [n] is true, where it is given. A few of the
        nearest may be missed, but m is at least ``number``; None where there are not so many, or
        where to read all directions is quicker.
        """
        ...


class ItemDirections:
    """The item vectors of a catalogue, after their mean is taken off, at length 1."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._vectors = catalogue.vectors

    def of(self, items: Indices) -> Floats:
        """FP32 [m, d] of items INT32 [m]."""
        return unit(self._vectors[items] - self._mean)

    def products(self, direction: Floats) -> Floats:
        """The products FP32 [n] of all with a direction FP32 [d]."""
        found: Floats = self._vectors @ direction
        found -= self._mean @ direction
        found /= self._lengths
        return found

    def products_of(self, items: Indices, direction: Floats) -> Floats:
        """Those FP32 [m] of items INT32 [m]."""
        found: Floats = self.of(items) @ direction
        return found

    @cached_property
    def _mean(self) -> Floats:
        mean: Floats = self._vectors.mean(axis=0)
        return mean

    @cached_property
    def _lengths(self) -> Floats:
        lengths = np.empty(len(self._vectors), np.float32)
        for start in range(0, len(lengths), _BLOCK):
            part = slice(start, start + _BLOCK)
            lengths[part] = np.linalg.norm(self._vectors[part] - self._mean, axis=1)
        return np.maximum(lengths, np.float32(SHORTEST))


class TextDirections:
    """The text vectors of a catalogue, centred and at length 1."""

    def __init__(self, catalogue: Catalogue) -> None:
        nearby = catalogue.neighbourhood
        self._items = nearby.items
        self._near = nearby.directions[:, : len(nearby.text_mean)]
        self._others = catalogue.other_texts
        self._number = len(catalogue)

    def of(self, items: Indices) -> Floats:
        """FP32 [m, h] of items INT32 [m]; 0 for those whose own is not held."""
        near, place = self._places(items)
        found = np.zeros((len(items), self._near.shape[1]), np.float32)
        found[near] = self._near[place[near]]
        if len(self._others):
            found[~near] = self._others[(items - place)[~near]]
        return found

    def products(self, direction: Floats) -> Floats:
        """The products FP32 [n] of all with a direction FP32 [h]; -inf where none is held."""
        found = np.full(self._number, -np.inf, np.float32)
        found[self._items] = self._near @ direction
        if len(self._others):
            outside = np.ones(len(found), np.bool_)
            outside[self._items] = False
            found[outside] = self._others @ direction
        return found

    def products_of(self, items: Indices, direction: Floats) -> Floats:
        """Those FP32 [m] of items INT32 [m]."""
        found: Floats = self.of(items) @ direction
        if not len(self._others):
            near, _ = self._places(items)
            found[~near] = -np.inf
        return found

    def _places(self, items: Indices) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether the neighbourhood holds each of items [m], and how many before it it holds."""
        place = self._items.searchsorted(items)
        near = np.zeros(len(items), np.bool_)
        inside = place < len(self._items)
        near[inside] = self._items[place[inside]] == items[inside]
        return near, place


class Likeness(Protocol):
    """How much each item of a catalogue is like one thing."""

    def all(self) -> Floats:
        """FP32 [n], a new array; -inf for items of which it is not known."""
        ...

    def of(self, items: Indices) -> Floats:
        """FP32 [m] of items INT32 [m]."""
        ...

    def nearest(self, number: int, member: NDArray[np.bool_] | None) -> Indices | None:
        """Items among which the ``number`` that are most alike lie: see `DirectionIndex`.

        None where nothing tells them without reading all.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cosine:
    """With a direction FP32 [w] (a `Likeness`)."""

    directions: ItemDirections | TextDirections
    direction: Floats
    index: DirectionIndex | None

    def all(self) -> Floats:
        return self.directions.products(self.direction)

    def of(self, items: Indices) -> Floats:
        return self.directions.products_of(items, self.direction)

    def nearest(self, number: int, member: NDArray[np.bool_] | None) -> Indices | None:
        return None if self.index is None else self.index.nearest(self.direction, number, member)


class Similarity:
    """Says how much the items of a catalogue are like what a request names.

    Parameters
    ----------
    item_index, text_index
        Over `ItemDirections` and `TextDirections`; None to read all of them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        item_index: DirectionIndex | None = None,
        text_index: DirectionIndex | None = None,
    ) -> None:
        self._neighbourhood = catalogue.neighbourhood
        self._items, self._item_index = ItemDirections(catalogue), item_index
        self._texts, self._text_index = TextDirections(catalogue), text_index

    def to_item(self, item: int) -> Cosine:
        """To an item of the catalogue."""
        (direction,) = self._items.of(np.array([item], np.int32))
        return Cosine(self._items, direction, self._item_index)

    def to_text(self, vector: Floats) -> Cosine:
        """To an item that the catalogue lacks, of the text vector FP32 [h]."""
        return Cosine(self._items, self._directions(vector)[len(vector) :], self._item_index)

    def to_query(self, vector: Floats) -> Cosine:
        """To words of the text vector FP32 [h]; -inf for items whose own is not held."""
        return Cosine(self._texts, self._directions(vector)[: len(vector)], self._text_index)

    def _directions(self, vector: Floats) -> Floats:
        found: Floats = self._neighbourhood.directions_of(vector[np.newaxis])[0]
        return found


class Held:
    """A list that is held to what is similar: see `best`.

    Parameters
    ----------
    masked
        INT32 [E], items that must not come.
    allowed
        The only items that may; None for all.
    weight
        What a similarity of 1 weighs beside a logit.
    """

    def __init__(
        self,
        scorer: Scorer,
        likeness: Likeness,
        masked: Indices,
        allowed: ItemSet | None,
        weight: float = WEIGHT,
    ) -> None:
        self._scorer = scorer
        self._likeness = likeness
        self._masked = np.unique(masked)
        self._allowed = allowed
        self._weight = np.float32(weight)

    def similarity(self, items: Indices) -> Floats:
        """FP32 [m] of items INT32 [m]."""
        return self._likeness.of(items)

    def best(self, user: Users | None, wanted: int) -> Candidates:
        """The best ``wanted`` of the most similar items, by similarity and interest together.

        Of `MOST_SIMILAR`, or of ``wanted`` where that is more. ``user`` is one; None where nothing
        is known, so that similarity alone decides.
        """
        items = self._first if wanted <= MOST_SIMILAR else self._most_similar(wanted)
        return self.of(user, items)[:wanted]

    def of(self, user: Users | None, items: Indices) -> Candidates:
        """Items INT32 [m] as candidates, best first.

        Their score is the interest, were the logit less by the weight for each by which the
        similarity is less than the largest. So boosts weigh as in any list.
        """
        catalogue = self._scorer.catalogue
        together = self._weight * (self.similarity(items) - self._most)
        if user is None:
            logit = interest = np.full(len(items), np.nan, np.float32)
        else:
            scores = self._scorer.rank(user, 0, items)
            logit, interest = scores.logit, scores.interest
            if np.isnan(logit).any():  # it compares false, and would stand anywhere
                raise FloatingPointError("there is a NaN among the logits of similar items")
            together = together + logit
        order = np.argsort(-together, kind="stable")
        score = catalogue.calibration.interest(together)
        found = Candidates(catalogue, items, logit, interest, score)
        return found[order]

    @cached_property
    def _first(self) -> Indices:
        return self._most_similar(MOST_SIMILAR)

    @cached_property
    def _most(self) -> np.float32:
        """The largest similarity of those that may come."""
        return np.float32(self.similarity(self._first[:1])[0] if len(self._first) else 0)

    def _most_similar(self, number: int) -> Indices:
        """The ``number`` items INT32 [k] that are most alike, most first; fewer if there are."""
        some = self._among(number)
        if some is None:
            items = np.arange(len(self._scorer.catalogue), dtype=np.int32)
            similarity = self._likeness.all()
            similarity[self._masked] = -np.inf
            if self._allowed is not None:
                similarity[self._allowed.outside] = -np.inf
        else:
            items = np.setdiff1d(some, self._masked)  # ascending, as those of the catalogue are
            similarity = self.similarity(items)
        (places,) = largest(similarity[np.newaxis], min(number, len(items)))
        found: Indices = items[places[similarity[places] > -np.inf]]
        return found

    def _among(self, number: int) -> Indices | None:
        """Items INT32 [m] among which the ``number`` that are most alike lie; None for all."""
        items, allowed = len(self._scorer.catalogue), self._allowed
        if allowed is not None and len(allowed) <= min(_READ, items // _GATHERED):
            return allowed.items
        if allowed is None and not len(self._masked):
            return self._likeness.nearest(number, None)
        member = np.ones(items, np.bool_) if allowed is None else allowed.member.copy()
        member[self._masked] = False
        # What is seen is often what is most alike: the others then lie farther away.
        return self._likeness.nearest(number + len(self._masked), member)
