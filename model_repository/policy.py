"""Decides which of the items that the retriever found are recommended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .batch import Outcome, Request, Tensors, attempt
from .options import Options
from .slots import EXCLUDED_LOGIT


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items of the catalogue, best first: INT32, FP32 and FP32, each [n]."""

    index: NDArray[np.int32]
    interest: NDArray[np.float32]
    logit: NDArray[np.float32]

    def __getitem__(self, kept: slice | NDArray[np.bool_]) -> Candidates:
        return Candidates(self.index[kept], self.interest[kept], self.logit[kept])


Stage = Callable[[Candidates, Options], Candidates]


def drop_excluded(candidates: Candidates, _: Options) -> Candidates:
    """Drop what must not be recommended, which the retriever lists last, to fill its length."""
    return candidates[candidates.logit > EXCLUDED_LOGIT / 2]


def cut(candidates: Candidates, options: Options) -> Candidates:
    """Keep the best ``top_k``."""
    return candidates[: options.top_k]


STAGES: Final[Sequence[Stage]] = (drop_excluded, cut)


def item_names(items: Sequence[str]) -> NDArray[Any]:
    """Ids as they travel: an object array of UTF-8."""
    return np.array([item.encode() for item in items], np.object_)


def choose(items: NDArray[Any], candidates: Candidates, options: Options) -> Tensors:
    """ITEM, INTEREST and LOGIT [1, k] of what the stages leave of a user's best items.

    Raises
    ------
    FloatingPointError
        A logit is NaN. It compares false, and would leave without a trace.
    """
    if np.isnan(candidates.logit).any():
        raise FloatingPointError("there is a NaN among the logits of the best items")
    for stage in STAGES:
        candidates = stage(candidates, options)
    return {
        "ITEM": items[candidates.index][np.newaxis],
        "INTEREST": candidates.interest[np.newaxis],
        "LOGIT": candidates.logit[np.newaxis],
    }


class Policy:
    """Takes the retriever's items through the stages and names those that are left.

    Parameters
    ----------
    directory
        Holds ``items.json`` (the ids of the catalogue, in its order) and ``settings.json``
        (``{"max_top_k": int}``, the number of items that the retriever ranks).
    """

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._max_top_k: int = settings["max_top_k"]
        items: list[str] = json.loads((directory / "items.json").read_text("utf-8"))
        self._items = item_names(items)

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        """Return ITEM, INTEREST and LOGIT of each request, or why there are none."""
        return [attempt(self._recommend, request) for request in requests]

    def _recommend(self, request: Request) -> Tensors:
        options = Options.from_parameters(
            request.parameters, max_top_k=self._max_top_k, catalogue_size=len(self._items)
        )
        candidates = Candidates(
            request.tensors["INDEX"][0],
            request.tensors["INDEX_INTEREST"][0],
            request.tensors["INDEX_LOGIT"][0],
        )
        return choose(self._items, candidates, options)
