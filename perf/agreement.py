"""Checks that the systems give the same answers: only then can their speeds be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client import RecommenderClient
from perf.errors import PerfError
from perf.workload import Workload

LEAST_COSINE: Final = 0.9999
LEAST_COSINE_INT8: Final = 0.95
LEAST_SHARED: Final = 0.9
_LOGIT: Final = 1e-3
_USERS: Final = 20

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def check_vectors(
    ours: Encode, others: Mapping[str, Encode], texts: Sequence[str], least: float = LEAST_COSINE
) -> dict[str, float]:
    """Return the smallest cosine over ``texts`` between our vectors and those of each other.

    The cosine, since some normalise and others do not.

    Raises
    ------
    PerfError
        One is below ``least``, or there are not as many vectors as texts.
    """
    expected = ours(texts)
    found = {}
    for name, encode in others.items():
        vectors = encode(texts)
        if vectors.shape != expected.shape or not np.isfinite(vectors).all():
            raise PerfError(f"{name} answers {vectors.shape} finite numbers, not {expected.shape}")
        cosines = (vectors * expected).sum(1) / (
            np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
        )
        found[name] = float(cosines.min())
        if not found[name] >= least:
            text = texts[int(cosines.argmin())]
            raise PerfError(
                f"{name} encodes {text!r} unlike us: cosine {found[name]:.6f}, below {least}; do "
                "both serve the encoder of the same checkpoint?"
            )
    return found


def check_recommendations(client: RecommenderClient, workload: Workload) -> list[list[str]]:
    """Hold ``recommend`` against ``rank`` on real users; return what each is recommended.

    Raises
    ------
    PerfError
        A recommended item was seen, comes twice or is not in order, or ``rank`` scores it
        otherwise.
    """
    found = []
    for user in workload.users[:_USERS]:
        best = client.recommend(user.history, top_k=10)
        ids = [item.id for item in best]
        if len(set(ids)) != len(ids) or set(ids) & set(user.history):
            raise PerfError(f"recommend answers {ids}: one comes twice, or was in {user.history}")
        logits = np.array([item.logit for item in best])
        ranked = np.array([item.logit for item in client.rank(user.history, ids)])
        if (np.diff(logits) > 0).any() or not np.allclose(logits, ranked, atol=_LOGIT):
            raise PerfError(f"recommend and rank score {ids} as {logits} and {ranked}")
        found.append(ids)
    return found


def check_same_items(
    name: str, ours: Sequence[Sequence[str]], others: Sequence[Sequence[str]]
) -> float:
    """Return the share of the items recommended by us that another repository recommends too.

    Raises
    ------
    PerfError
        It is below `LEAST_SHARED`: more than rounding takes apart.
    """
    counts = [len(set(one) & set(other)) for one, other in zip(ours, others, strict=True)]
    shared = sum(counts) / sum(map(len, ours))
    if shared < LEAST_SHARED:
        raise PerfError(
            f"{name} recommends {shared:.0%} of the items that we do; was it exported from the "
            "same checkpoint?"
        )
    return shared
