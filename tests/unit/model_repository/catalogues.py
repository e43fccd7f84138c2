"""Small catalogues of plain arrays, and networks in numpy that stand in for the trained ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_repository.core.arrays import Floats
from model_repository.core.attributes import Attributes, text_column
from model_repository.core.calibration import Calibration
from model_repository.core.catalogue import Catalogue
from model_repository.core.handler import EncodedTexts
from model_repository.core.identifiers import Identifiers
from model_repository.core.items import Neighbourhood, unit
from model_repository.core.profile import ProfileColumn
from model_repository.core.requests import ReaderSettings, RequestReader
from model_repository.core.users import EventBatch

WIDTH = 4
TEXT_WIDTH = 5
MAX_HISTORY = 6
PROFILE = (ProfileColumn("age", edges=(30.0,)), ProfileColumn("gender", values=("F", "M")))


def catalogue(
    items: int = 30, *, cold: Sequence[int] = (), cold_rank: int = 0, seed: int = 0
) -> Catalogue:
    """Item number n is called ``in``; an event speaks for up to four items, and may do so twice.

    A user's profile has the columns `PROFILE`. Items have a column "genre".
    """
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> Floats:
        return random.normal(size=shape).astype(np.float32)

    neighbours = np.setdiff1d(np.arange(items, dtype=np.int32), np.array(cold, np.int32))
    return Catalogue(
        normal(items, WIDTH),
        normal(items),
        ids=Identifiers.of([f"i{number}" for number in range(items)]),
        linear_index=random.integers(0, items, (items, 4)).astype(np.int32),
        linear_value=2 * normal(items, 4),
        decay=np.float32(0.7) ** np.arange(MAX_HISTORY, dtype=np.float32),
        cold=np.array(cold, np.int32),
        cold_rank=cold_rank,
        neighbourhood=Neighbourhood(
            text_mean=normal(TEXT_WIDTH),
            text_weight=normal(TEXT_WIDTH, WIDTH),
            text_bias=normal(WIDTH),
            items=neighbours,
            directions=unit(normal(len(neighbours), TEXT_WIDTH + WIDTH)),
            bias=normal(len(neighbours)),
            rate=np.exp(normal(len(neighbours))),
        ),
        profile=normal(len(PROFILE), PROFILE[0].ids, WIDTH),
        calibration=Calibration(0.7, -0.3, 0.95),
        attributes=Attributes(
            {"genre": text_column([f"genre {number % 3}" for number in range(items)])}
        ),
        other_texts=unit(normal(len(cold), TEXT_WIDTH)),
    )


def reader(known: Catalogue, max_top_k: int, *, max_rows: int = 4) -> RequestReader:
    settings = ReaderSettings(
        max_rows=max_rows,
        max_history=MAX_HISTORY,
        actions=["view"],
        max_top_k=max_top_k,
        profile=[column.to_dict() for column in PROFILE],
    )
    return RequestReader(settings, known.ids)


class EventSums:
    """Encodes a user as a sum of what was done, the latest most; looks at no padding.

    Attributes
    ----------
    batches
        What it was given.
    """

    call_cost = 4

    def __init__(self, lengths: Sequence[int] = ()) -> None:
        self.lengths = lengths
        self.batches: list[EventBatch] = []

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Users and events of each batch."""
        return [batch.actions.shape for batch in self.batches]

    def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:
        return [self._states(batch) for batch in batches]

    def _states(self, batch: EventBatch) -> Floats:
        self.batches.append(batch)
        users, length = batch.actions.shape
        assert batch.vectors.shape == (users, length, WIDTH)
        assert batch.ages.shape == (users, length)
        assert batch.counts.shape == (users, 1)
        assert batch.vectors.dtype == np.float32
        assert batch.ages.dtype == np.int64
        assert batch.actions.dtype == batch.counts.dtype == np.int32
        later = batch.counts - 1 - np.arange(length)
        weight = np.where(later >= 0, 0.5 ** np.maximum(later, 0), 0).astype(np.float32)
        since = np.log2(batch.ages + 2).astype(np.float32)
        events = batch.vectors + (batch.actions + since)[..., np.newaxis] / 8
        states: Floats = 0.1 + (weight[..., np.newaxis] * events).sum(axis=1, dtype=np.float32)
        return states


class CountedTexts:
    """Encodes texts by their letters; those that begin with "cut" were too long.

    Attributes
    ----------
    asked
        The texts of each call.
    """

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        self.asked.append(list(texts))
        if any("breaks" in text for text in texts):
            raise RuntimeError("no vector for that")
        vectors = [
            np.random.default_rng(list(text.encode())).normal(size=TEXT_WIDTH) for text in texts
        ]
        return EncodedTexts(
            np.array(vectors, np.float32),
            np.array([text.startswith("cut") for text in texts], np.int32),
        )
