"""Builds the FAISS index of a large catalogue, and checks its recall with real users."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from builder.errors import ExportError, GateError
from builder.export.options import IndexName
from builder.progress import Progress, silent
from model_repository.engines.item_index import ItemIndex, on_sphere, queries
from model_repository.steps.user_models import INDEX_FILE

AUTO_FROM: Final = 50_000
"""Items from which ``--index auto`` takes the index."""

RECALL_AT: Final = 100
RECALL: Final = 0.99
_AIM: Final = 0.992
"""What the number of lists that are read is chosen for: one user at a time, FAISS rounds otherwise
than for a batch."""
_USERS: Final = 1_000
"""About so many users are asked, if there are more."""

_LISTS: Final = 4.0
"""Lists, over the square root of the number of items. Of 1,000,000 items, 4,096 lists were searched
in 0.5 ms and 1,024 in 0.8, and took seven times as long to make (19 s on one core)."""
_LARGEST_SHARE: Final = 4
"""At most one list in so many is read: beyond that, an index is not worth its memory."""
_ROUNDS: Final = 10
SAMPLE: Final = 64
"""Rounds of k-means, and vectors that it sees for each list."""


@dataclass(frozen=True)
class IndexFigure:
    """What was built, and the gate's figure.

    Attributes
    ----------
    lists, probes
        Lists that the vectors are divided into, and how many of them a search reads.
    recall
        Part of the `RECALL_AT` items that the network scores highest for a user which the index
        finds; the mean over ``users``.
    seconds
        How long it took to build and to set.
    """

    lists: int
    probes: int
    users: int
    recall: float
    bound: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def takes_index(choice: IndexName, items: int) -> bool:
    """Whether a catalogue of so many items is searched with an index."""
    return choice == "approximate" or (choice == "auto" and items >= AUTO_FROM)


def write_index(
    directory: Path, states: NDArray[np.float32], *, progress: Progress = silent
) -> IndexFigure:
    """Write ``index.faiss`` beside what `load_scorer` reads, and hold it to exact search.

    ``states`` FP32 [U, d] are those of real users, as the served network computes them. A search
    reads as few lists as find enough of what they are to find.

    Raises
    ------
    ExportError
        FAISS is not installed.
    GateError
        Even the most lists that are worth it find too little.
    """
    try:
        import faiss
    except ImportError as error:
        raise ExportError(
            "an index over the catalogue needs the package faiss-cpu, here and where it is "
            "served: pip install 'tritonrec[index]'; or export with --index exact"
        ) from error
    began = time.perf_counter()
    # [v, b]: its inner product with [state, 1] is the network's logit.
    vectors = np.column_stack(
        [np.load(directory / f"{name}.npy") for name in ("item_vectors", "item_bias")]
    )
    items, width = vectors.shape
    lists = number_of_lists(items)
    index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(width + 1), width + 1, lists)
    set_clustering(index)
    progress("build index", 0, 3)
    points = on_sphere(vectors)
    index.train(points)
    progress("build index", 1, 3)
    index.add(points)
    progress("build index", 2, 3)
    states = states[:: max(1, len(states) // _USERS)]
    wanted = min(RECALL_AT, items)
    with_one = np.column_stack([states, np.ones(len(states), np.float32)])
    _, expected = faiss.knn(with_one, vectors, wanted, faiss.METRIC_INNER_PRODUCT)

    def finds_enough(probes: int) -> bool:
        index.nprobe = probes
        return recall_of(index.search(queries(states), wanted)[1], expected) >= _AIM

    index.nprobe = probes = fewest_lists(lists, finds_enough)
    faiss.write_index(index, str(directory / INDEX_FILE))
    # What is served, as it is served.
    served = ItemIndex(directory / INDEX_FILE)
    found = [served.nearest(state, wanted) for state in states]
    recall = recall_of([[] if few is None else few for few in found], expected)
    progress("build index", 3, 3)
    seconds = round(time.perf_counter() - began, 2)
    figure = IndexFigure(lists, probes, len(states), recall, RECALL, seconds)
    # Written so that a NaN fails.
    if not recall >= RECALL:
        raise GateError(
            f"index: it finds {recall:.4f} of the best {wanted} items, on {len(states)} validation "
            f"users with {probes} of {lists} lists read, and {RECALL} is required; nothing was "
            "published. Export with --index exact"
        )
    return figure


def number_of_lists(items: int) -> int:
    """Into how many lists the vectors of so many items are divided."""
    return min(items, round(_LISTS * float(np.sqrt(items))))


def set_clustering(index: Any) -> None:
    """Say how an index of FAISS finds the centres of its lists."""
    index.cp.niter = _ROUNDS
    index.cp.min_points_per_centroid = 1  # else it warns of small catalogues
    index.cp.max_points_per_centroid = SAMPLE


def fewest_lists(lists: int, finds_enough: Callable[[int], bool]) -> int:
    """How few of the lists a search may read; the most that are worth it where none find enough.

    The more are read, the more is found.
    """
    most = max(1, lists // _LARGEST_SHARE)
    return 1 + bisect.bisect_left(range(1, most), True, key=finds_enough)  # noqa: FBT003


def recall_of(found: Iterable[ArrayLike], expected: Iterable[NDArray[Any]]) -> float:
    """Part of the expected indices [k] of each user that was found, the mean over users."""
    return float(
        np.mean([np.isin(best, some).mean() for some, best in zip(found, expected, strict=True)])
    )
