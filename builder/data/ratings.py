"""Reads ratings: numbers, truths, and such as ``4/5``, ``4,5``, ``80%``, ``★★`` and ``5 stars``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_TRUTHS: Final = {"true": "1", "false": "0", "yes": "1", "no": "0"}
# A comma before three digits may stand for thousands, so that is no number.
_RATING: Final = (
    r"^\s*(?P<whole>-?\d+)(?:[.,](?P<rest>\d{1,2}|\d{4,}))?\s*"
    r"(?:(?:/|out of|of)\s*(?P<scale>\d+(?:\.\d+)?))?\s*"
    r"(?:[Ss]tars?|[Pp]oints?|★+|(?P<percent>%))?\s*$"
)
_ONLY_STARS: Final = r"^\s*[★⭐☆]+\s*$"  # a hollow one is none


def numbers_of(text: pa.Array) -> NDArray[np.float64]:
    """FP64 [B]; true and false are 1 and 0. Not finite where the text is no number."""
    return ratings_of(text)[0]


def ratings_of(text: pa.Array) -> tuple[NDArray[np.float64], dict[float, int]]:
    """The same, and the scales that the text tells, with the place of the first of each.

    A scale is 5 of ``4/5`` and 100 of ``80%``. Ratings of several are not compared.
    """
    try:
        return text.cast(pa.float64()).to_numpy(), {}
    except pa.ArrowInvalid:
        encoded = text.dictionary_encode()  # ratings are few
        places = encoded.indices.to_numpy()
        ratings, scales = (values[places] for values in _parsed(encoded.dictionary))
    found, first = np.unique(scales, return_index=True)
    told = zip(found.tolist(), first.tolist(), strict=True)
    return ratings, {scale: row for scale, row in told if np.isfinite(scale)}


def scales_in_words(scales: Iterable[float]) -> str:
    """Such as ``of 5 and of 10``, to follow on ratings."""
    shown = [f"of {scale:g}" for scale in sorted(scales)]
    return " and ".join([", ".join(shown[:-1]), shown[-1]])


def _parsed(text: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ratings, and the scale of each, FP64 [n]; NaN where there is none."""
    found = pc.extract_regex(text, _RATING)
    parts = [pc.fill_null(pc.struct_field(found, name), "") for name in ("whole", "rest")]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(".", pa.large_string()))
    numbers = pc.if_else(found.is_valid(), joined, text)
    stars = pc.count_substring_regex(text, "[★⭐]").cast(text.type)
    numbers = pc.if_else(pc.match_substring_regex(text, _ONLY_STARS), stars, numbers)
    plain = numbers.to_pandas().str.strip()
    plain = plain.where(~plain.str.lower().isin([*_TRUTHS]), plain.str.lower().map(_TRUTHS))
    values: NDArray[np.float64] = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
    scale, percent = (pc.struct_field(found, name) for name in ("scale", "percent"))
    scale = pc.if_else(pc.equal(percent, "%"), "100", scale)
    return values, pd.to_numeric(scale.to_pandas(), errors="coerce").to_numpy(np.float64)
