"""What a server needs to search by text, and not to score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from builder.model.neighbourhood import neighbourhood_among
from builder.model.recommender import Recommender, encode_texts
from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Catalogue

WORDS: Final[Mapping[str, Callable[[Sequence[str]], Sequence[str]]]] = {
    "first two words": lambda words: words[:2],
    "last two words": lambda words: words[-2:],
}
"""Of an item's text; it begins with a title as a rule, and ends with what many items share."""


def with_texts(catalogue: Catalogue, model: Recommender) -> Catalogue:
    """With the text vectors of the items that its neighbourhood does not hold."""
    _, directions = neighbourhood_among(model)
    outside = np.ones(len(catalogue), np.bool_)
    outside[catalogue.neighbourhood.items] = False
    width = model.text_vectors.shape[1]
    return replace(catalogue, other_texts=np.ascontiguousarray(directions[outside, :width]))


def queries(
    model: Recommender, items: Iterable[int], words: Callable[[Sequence[str]], Sequence[str]]
) -> Floats:
    """Text vectors FP32 [Q, h] of some words of the texts of items, as one searches for them."""
    texts = [" ".join(words(model.catalogue.texts[item].lower().split())) for item in items]
    found: Floats = encode_texts(model.encoder, model.tokenizer, texts).numpy()
    return found


def words_of_texts(model: Recommender, number: int = 250) -> Floats:
    """About ``number`` of such queries, of items all over the catalogue."""
    texts = len(model.catalogue.texts)
    items = np.unique(np.linspace(0, texts - 1, number // len(WORDS)).astype(np.int64)).tolist()
    return np.concatenate([queries(model, items, words) for words in WORDS.values()])
