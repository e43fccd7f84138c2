"""Reads ratings: numbers, truths, and such as ``4/5``, ``4,5``, ``80%``, ``★★`` and ``5 stars``."""

from __future__ import annotations

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
    r"(?:(?:/|out of|of)\s*\d+(?:\.\d+)?)?\s*(?:[Ss]tars?|[Pp]oints?|★+|%)?\s*$"
)
_ONLY_STARS: Final = r"^\s*[★⭐☆]+\s*$"  # a hollow one is none


def numbers_of(text: pa.Array) -> NDArray[np.float64]:
    """FP64 [B]; true and false are 1 and 0. Not finite where the text is no number."""
    try:
        ratings: NDArray[np.float64] = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        encoded = text.dictionary_encode()  # ratings are few
        ratings = _parsed(encoded.dictionary)[encoded.indices.to_numpy()]
    return ratings


def _parsed(text: pa.Array) -> NDArray[np.float64]:
    found = pc.extract_regex(text, _RATING)
    parts = [pc.fill_null(pc.struct_field(found, name), "") for name in ("whole", "rest")]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(".", pa.large_string()))
    numbers = pc.if_else(found.is_valid(), joined, text)
    stars = pc.count_substring_regex(text, "[★⭐]").cast(text.type)
    numbers = pc.if_else(pc.match_substring_regex(text, _ONLY_STARS), stars, numbers)
    plain = numbers.to_pandas().str.strip()
    plain = plain.where(~plain.str.lower().isin([*_TRUTHS]), plain.str.lower().map(_TRUTHS))
    values: NDArray[np.float64] = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
    return values
