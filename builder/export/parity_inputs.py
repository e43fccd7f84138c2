"""The inputs that the parity gate goes through: minimum, typical and maximum of every axis.

They are filled with the model's own tokens and vectors, so that values are as in serving.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.classifier.checkpoint import Classifier
from builder.export.layout import Layout
from builder.model.recommender import Recommender
from model_repository.core.contract import (
    EVENT,
    EVENT_ACTION,
    EVENT_AGE,
    EVENT_COUNT,
    INPUT_IDS,
    TOKEN_TYPE_IDS,
    ModelSpec,
)
from model_repository.core.users import NO_AGE

_MOST_TOKENS: Final = 16_384
"""Tokens of the largest batch of a grid: beyond, a larger one repeats what this one does and takes
minutes on a processor."""
_LONGEST_GAP: Final = 28
"""Times between two events are up to so many powers of two of a second, eight years."""

Inputs = dict[str, NDArray[Any]]


def encoder_inputs(model: Recommender, layout: Layout) -> Iterator[Inputs]:
    """Texts of the catalogue, cut and joined to every length; the first row of each is full."""
    random = np.random.default_rng(0)
    some = model.catalogue.texts[:200]
    tokens = np.concatenate([row.tokens for row in model.tokenizer(some)])
    for rows, length in _shapes(layout.limits.max_rows, layout.token_lengths, _MOST_TOKENS):
        ids = np.full((rows, length), model.encoder.pad_id, np.int32)
        for line, filled in zip(ids, _filled(rows, length, random), strict=True):
            start = random.integers(len(tokens))
            line[:filled] = np.take(tokens, np.arange(start, start + filled), mode="wrap")
        yield {INPUT_IDS.name: ids}


def user_encoder_inputs(model: Recommender, layout: Layout) -> Iterator[Inputs]:
    """Histories of the catalogue's items, empty ones among them; with times and without."""
    random = np.random.default_rng(0)
    vectors = model.item_vectors()[0].numpy()
    actions = model.adapter.config.actions
    for rows, length in _shapes(layout.limits.max_users, layout.event_lengths, _MOST_TOKENS):
        shape = (rows, length)
        counts = _filled(rows, length, random)
        counts[1::3] = 0
        beyond = np.arange(length) >= counts[:, np.newaxis]
        gaps = 2.0 ** random.uniform(0, _LONGEST_GAP, shape)
        since = np.cumsum(gaps[:, ::-1], axis=1)[:, ::-1].astype(np.int64)
        since[2::3] = NO_AGE
        yield {
            EVENT.name: vectors[random.integers(0, len(vectors), shape)],
            EVENT_ACTION.name: random.integers(0, actions + 1, shape, np.int32),
            EVENT_AGE.name: np.where(beyond, NO_AGE, since),
            EVENT_COUNT.name: counts[:, np.newaxis].astype(np.int32),
        }


def classifier_inputs(classifier: Classifier, layout: Layout, spec: ModelSpec) -> Iterator[Inputs]:
    """Random words, in pairs where the network tells two texts apart."""
    random = np.random.default_rng(0)
    special = set(classifier.tokenizer.all_special_ids)
    words = np.array(
        [token for token in range(len(classifier.tokenizer)) if token not in special], np.int32
    )
    for rows, length in _shapes(layout.limits.max_rows, layout.token_lengths, _MOST_TOKENS):
        lengths = _filled(rows, length, random)
        padding = np.arange(length) >= lengths[:, np.newaxis]
        ids = np.where(padding, classifier.pad_id, random.choice(words, (rows, length)))
        second = np.arange(length) >= random.integers(1, lengths + 1)[:, np.newaxis]
        values = {INPUT_IDS.name: ids, TOKEN_TYPE_IDS.name: second & ~padding}
        yield {tensor.name: values[tensor.name].astype(np.int32) for tensor in spec.inputs}


def _shapes(most: int, lengths: tuple[int, ...], cells: int) -> Iterator[tuple[int, int]]:
    """Rows and lengths: the fewest, some and the most rows of every length."""
    for length, kind in itertools.product(lengths, range(3)):
        largest = max(1, min(most, cells // length))
        rows = (1, min(3, largest), largest)
        if rows[kind] not in rows[:kind]:
            yield rows[kind], length


def _filled(rows: int, length: int, random: np.random.Generator) -> NDArray[np.int64]:
    """How much of each row is no padding, at least 1; the first row is full."""
    found: NDArray[np.int64] = random.integers(1, length + 1, rows)
    found[0] = length
    return found
