"""Bootstrap intervals and randomisation tests over users."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES: Final = 2_000
PERMUTATIONS: Final = 9_999
CONFIDENCE: Final = 0.95
_SEED: Final = 0
_HELD: Final = 4_000_000
"""Numbers held at once."""

Interval = tuple[float, float]


def intervals(values: NDArray[np.float64]) -> list[Interval]:
    """95 % percentile bootstrap intervals (Efron & Tibshirani 1993) of column means.

    ``values`` is FP64 [U, M], one row a user. All columns share the resamples.
    """
    users = len(values)
    if users == 0:
        raise ValueError("there are no users to resample")
    random = np.random.default_rng(_SEED)
    step = max(1, _HELD // users)
    means = []
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        drawn = random.integers(users, size=(rows, users)) + users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        means.append(times @ values / users)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class Difference:
    """The mean difference of two scorers on the same users.

    Attributes
    ----------
    difference
        Second less first.
    interval
        95 % paired bootstrap interval.
    p
        Two-sided paired randomisation test: the chance of a difference this large if which of the
        two a user's figure came from did not matter (Smucker et al. 2007).
    """

    difference: float
    interval: Interval
    p: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    """Compare per-user figures FP64 [U], the same user in the same place.

    One user tells nothing of others: p is 1, and the interval is that user's difference alone.
    """
    change = second - first
    if not change.any():  # a test of nothing but zeros has nothing to permute
        return Difference(0.0, (0.0, 0.0), 1.0)
    if len(change) == 1:  # either sign is as far from 0; scipy takes no sample of one
        return Difference(float(change[0]), intervals(change[:, None])[0], 1.0)
    p = stats.permutation_test(
        (change,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, _HELD // len(change)),
        rng=np.random.default_rng(_SEED),
    ).pvalue
    return Difference(float(change.mean()), intervals(change[:, None])[0], float(p))
