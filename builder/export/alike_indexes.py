"""Builds the indexes of a large catalogue over items that are alike, and says what they find."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from builder.export.index_gate import (
    RECALL,
    SAMPLE,
    fewest_lists,
    number_of_lists,
    recall_of,
    set_clustering,
)
from builder.progress import Progress, silent
from model_repository.core.arrays import Floats, Indices
from model_repository.core.catalogue import Catalogue
from model_repository.core.similarity import MOST_SIMILAR, ItemDirections, TextDirections
from model_repository.core.top_k import take
from model_repository.engines.direction_index import SPARE, DirectionIndex
from model_repository.steps.user_models import ALIKE_FILES

_WIDTH: Final = 256
"""Numbers of a byte each that an index holds of a direction: those along the axes on which
directions differ most. With 192 an index missed up to a third of what some names are like, however
many lists it read: their own directions lie on other axes."""
_AIM: Final = 0.999
"""What the number of lists is chosen for. The interest of a user brings any of the `MOST_SIMILAR`
items to the front."""
_SURE: Final = 2
"""Times as many are read. Few queries miss anything, and these miss much, so a sample says little.
"""
_QUERIES: Final = 250
_BLOCK: Final = 2**16

_Directions = ItemDirections | TextDirections


@dataclass(frozen=True)
class AlikeFigure:
    """What an index finds.

    Attributes
    ----------
    of
        What it is over, "items" or "texts".
    lists, probes
        Lists that the directions are divided into, and how many of them a search reads.
    recall
        Part of the items most like a query that the index finds, the mean over ``queries``; of the
        first 10 or `MOST_SIMILAR`, whichever is less.
    seconds
        Of processor time, to build and to set.
    """

    of: str
    lists: int
    probes: int
    queries: int
    recall: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_alike_indexes(
    directory: Path, catalogue: Catalogue, words: Floats, *, progress: Progress = silent
) -> list[AlikeFigure]:
    """Write an index over the item vectors and one over the texts, beside the catalogue.

    ``words`` FP32 [Q, h] are text vectors of what is searched for. An index that finds less than
    `RECALL` is left out: the search for what is alike then reads all items.
    """
    items = np.linspace(0, len(catalogue) - 1, min(_QUERIES, len(catalogue))).astype(np.int32)
    of_items, of_texts = ItemDirections(catalogue), TextDirections(catalogue)
    nearby = catalogue.neighbourhood
    asked: dict[str, tuple[_Directions, Floats]] = {"items": (of_items, of_items.of(items))}
    if len(nearby.items) + len(catalogue.other_texts) == len(catalogue) and len(words):
        directions = nearby.directions_of(words)[:, : words.shape[1]]
        asked["texts"] = (of_texts, np.ascontiguousarray(directions))
    figures = []
    for done, (of, (directions_of, queries)) in enumerate(asked.items()):
        progress("build indexes of what is alike", done, len(asked))
        file = directory / ALIKE_FILES[of]
        figure = _write(file, of, directions_of, len(catalogue), queries)
        if figure.recall >= RECALL:
            figures.append(figure)
        else:
            file.unlink()
    progress("build indexes of what is alike", len(asked), len(asked))
    return figures


def _write(
    file: Path, of: str, directions: _Directions, items: int, queries: Floats
) -> AlikeFigure:
    import faiss

    began = time.process_time()
    lists = number_of_lists(items)
    sample = directions.of(np.unique(np.linspace(0, items - 1, SAMPLE * lists).astype(np.int32)))
    index = faiss.IndexPreTransform(_shortening(sample), _lists(sample.shape[1], lists))
    index.train(sample)
    expected = np.zeros((len(queries), 0), np.int64)
    largest = np.zeros((len(queries), 0), np.float32)
    for block in _blocks(items):
        part = directions.of(block)
        index.add(part)
        wanted = min(MOST_SIMILAR, len(part))
        products, places = faiss.knn(queries, part, wanted, faiss.METRIC_INNER_PRODUCT)
        largest = np.concatenate([largest, products], axis=1)
        expected = np.concatenate([expected, block[places]], axis=1)
        kept = np.argsort(-largest, axis=1)[:, :MOST_SIMILAR]
        largest, expected = take(largest, kept), take(expected, kept)
    of_lists = faiss.extract_index_ivf(index)

    def finds_enough(probes: int) -> bool:
        of_lists.nprobe = probes
        _, found = index.search(queries, min(SPARE * MOST_SIMILAR, items))
        return _recall(found, expected) >= _AIM

    probes = min(lists, _SURE * fewest_lists(lists, finds_enough))
    of_lists.nprobe = probes
    faiss.write_index(index, str(file))
    # What is served, as it is served.
    served = DirectionIndex(file)
    nearest = [served.nearest(query, min(MOST_SIMILAR, items), None) for query in queries]
    recall = _recall([[] if found is None else found for found in nearest], expected)
    seconds = round(time.process_time() - began, 2)
    return AlikeFigure(of, lists, probes, len(queries), recall, seconds)


def _recall(found: Sequence[ArrayLike] | NDArray[Any], expected: NDArray[np.int64]) -> float:
    """Words name an item that is by far the nearest, and may lie in a list of others."""
    return min(recall_of(found, expected[:, :10]), recall_of(found, expected))


def _shortening(sample: Floats) -> Any:
    """What FAISS turns directions FP32 [n, w] into short ones with.

    It is no PCA: without a mean that is taken off, products of short directions stay near those of
    the whole ones.
    """
    import faiss

    width = sample.shape[1]
    _, axes = np.linalg.eigh(sample.T @ sample)  # the last ones are the largest
    rows = np.ascontiguousarray(axes[:, -min(width, _WIDTH) :].T, np.float32)
    found = faiss.LinearTransform(width, len(rows), False)  # noqa: FBT003
    faiss.copy_array_to_vector(rows.ravel(), found.A)
    found.is_trained = True
    return found


def _lists(width: int, lists: int) -> Any:
    import faiss

    width = min(width, _WIDTH)
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(width),
        width,
        lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.spherical = True
    set_clustering(index)
    return index


def _blocks(items: int) -> Iterator[Indices]:
    for start in range(0, items, _BLOCK):
        yield np.arange(start, min(start + _BLOCK, items), dtype=np.int32)
