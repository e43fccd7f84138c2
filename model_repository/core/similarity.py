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
from typing import Final

import numpy as np

from .arrays import Floats, Indices
from .catalogue import Candidates, Catalogue
from .item_sets import ItemSet
from .items import SHORTEST
from .score_terms import Users
from .scoring import Scorer
from .top_k import largest

WEIGHT: Final = 24.0
"""What a cosine of 1 weighs beside a logit."""
MOST_SIMILAR: Final = 200
"""Items that a list is made of; more where it needs more. What is less alike does not come."""
_BLOCK: Final = 2**16


class Similarity:
    """Cosines FP32 [n] of the items of a catalogue with what a request names."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def to_item(self, item: int) -> Floats:
        """With an item of the catalogue."""
        mean, _ = self._centre
        return self._to(self._catalogue.vectors[item] - mean)

    def to_text(self, vector: Floats) -> Floats:
        """With an item that the catalogue lacks, of the text vector FP32 [h]."""
        width = len(vector)
        return self._to(self._directions(vector)[width:])

    def to_query(self, vector: Floats) -> Floats:
        """With words of the text vector FP32 [h]; -inf for items whose own is not held."""
        nearby, width = self._catalogue.neighbourhood, len(vector)
        words = self._directions(vector)[:width]
        found = np.full(len(self._catalogue), -np.inf, np.float32)
        found[nearby.items] = nearby.directions[:, :width] @ words
        if len(others := self._catalogue.other_texts):
            outside = np.ones(len(found), np.bool_)
            outside[nearby.items] = False
            found[outside] = others @ words
        return found

    def _directions(self, vector: Floats) -> Floats:
        found: Floats = self._catalogue.neighbourhood.directions_of(vector[np.newaxis])[0]
        return found

    def _to(self, direction: Floats) -> Floats:
        mean, lengths = self._centre
        direction = direction / max(float(np.linalg.norm(direction)), SHORTEST)
        found: Floats = self._catalogue.vectors @ direction
        found -= mean @ direction
        found /= lengths
        return found

    @cached_property
    def _centre(self) -> tuple[Floats, Floats]:
        """The mean FP32 [d] of the item vectors, and their lengths FP32 [n] without it."""
        vectors = self._catalogue.vectors
        mean = vectors.mean(axis=0)
        lengths = np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            part = slice(start, start + _BLOCK)
            lengths[part] = np.linalg.norm(vectors[part] - mean, axis=1)
        return mean, np.maximum(lengths, np.float32(SHORTEST))


@dataclass(frozen=True, slots=True)
class Held:
    """A list that is held to what is similar: see `best`.

    Attributes
    ----------
    similarity
        FP32 [n], -inf for items that must not come.
    most
        The largest of them.
    weight
        What a similarity of 1 weighs beside a logit.
    """

    scorer: Scorer
    similarity: Floats
    most: float
    weight: float = WEIGHT

    @classmethod
    def to(
        cls,
        scorer: Scorer,
        similarity: Floats,
        masked: Indices,
        allowed: ItemSet | None,
        weight: float = WEIGHT,
    ) -> Held:
        """Without the items ``masked`` INT32 [E], and those that are not ``allowed``."""
        kept = similarity.copy()
        kept[masked] = -np.inf
        if allowed is not None:
            kept[allowed.outside] = -np.inf
        most = float(kept.max(initial=-np.inf))
        return cls(scorer, kept, most if np.isfinite(most) else 0.0, weight)

    def best(self, user: Users | None, wanted: int) -> Candidates:
        """The best ``wanted`` of the most similar items, by similarity and interest together.

        Of `MOST_SIMILAR`, or of ``wanted`` where that is more. ``user`` is one; None where nothing
        is known, so that similarity alone decides.
        """
        number = min(max(wanted, MOST_SIMILAR), len(self.similarity))
        (items,) = largest(self.similarity[np.newaxis], number)
        return self.of(user, items[self.similarity[items] > -np.inf])[:wanted]

    def of(self, user: Users | None, items: Indices) -> Candidates:
        """Items INT32 [m] as candidates, best first.

        Their score is the interest, were the logit less by ``weight`` for each by which the
        similarity is less than the largest. So boosts weigh as in any list.
        """
        catalogue = self.scorer.catalogue
        together = np.float32(self.weight) * (self.similarity[items] - np.float32(self.most))
        if user is None:
            logit = interest = np.full(len(items), np.nan, np.float32)
        else:
            scores = self.scorer.rank(user, 0, items)
            logit, interest = scores.logit, scores.interest
            if np.isnan(logit).any():  # it compares false, and would stand anywhere
                raise FloatingPointError("there is a NaN among the logits of similar items")
            together = together + logit
        order = np.argsort(-together, kind="stable")
        score = catalogue.calibration.interest(together)
        found = Candidates(catalogue, items, logit, interest, score)
        return found[order]
