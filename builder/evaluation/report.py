"""The table of figures: the parts of a model, on the same users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import Ranking, Scorer, rank_holdout
from builder.model.calibration import (
    LabelledLogits,
    draw_pairs,
    expected_calibration_error,
    joined,
)
from builder.model.recommender import Recommender
from builder.model.scoring import Part
from builder.progress import Progress, silent
from model_repository.core.calibration import Calibration

PROTOCOL: Final = (
    "full ranking of the catalogue, one held-out event per user, seen items masked, stable sort, "
    "ties count against the target; everything chosen on validation"
)
REPLAY_PROTOCOL: Final = (
    "full ranking of the catalogue for each event of the test window, in the order of time, seen "
    "items masked, ties count against the target; histories and counts know everything before the "
    "event, all else was learnt before the window; intervals and p take events as independent"
)
PARTS: Final[dict[str, Part]] = {
    "full model": "full",
    "network alone": "network",
    "text alone": "text",
}
CALIBRATION_SEED: Final = 0


@dataclass(frozen=True)
class Row:
    """Figures of one scorer on `users` held-out events.

    ``ece`` is the calibration error, if any, and ``seen_before`` how many of the targets are items
    that their user had before; None in files of before it was counted.
    """

    name: str
    users: int
    metrics: dict[str, float]
    ndcg_standard_error: float
    ece: float | None = None
    seen_before: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def row(
    name: str,
    scorer: Scorer,
    holdout: Holdout,
    items: int,
    ece: float | None = None,
    ranked: Callable[[int], object] = lambda _: None,
) -> Row:
    ranking = rank_holdout(scorer, holdout, items, ranked=ranked)
    error = _standard_error(ranking)
    return Row(name, len(holdout), ranking.metrics(), error, ece, holdout.seen_before)


def about_seen(seen: int | None, targets: int) -> str:
    """What the targets that their users had before do to the figures; empty without such ones."""
    if not seen:
        return ""
    return (
        f"{seen:,} of the {targets:,} test targets are items that their users had before: such an "
        "item alone of those seen is not masked, which makes the figures too good, and recommend "
        "leaves seen items out without include_seen"
    )


def model_rows(
    prefix: str,
    model: Recommender,
    holdout: Holdout,
    known: Sequences,
    *,
    progress: Progress = silent,
) -> list[Row]:
    """Rows for the full model and its parts; the full one has its calibration error.

    The trend is counted by the events of ``known`` before each target.
    """
    rows: list[Row] = []
    done = 0

    def ranked(users: int) -> None:
        nonlocal done
        done += users
        progress("evaluate", done, len(PARTS) * len(holdout))

    for name, part in PARTS.items():
        scorer = model.scorer(part, known)
        ece = calibration_error(scorer, model.calibration, holdout) if part == "full" else None
        rows.append(row(f"{prefix}{name}", scorer, holdout, len(model.catalogue), ece, ranked))
    return rows


def calibration_error(scorer: Scorer, calibration: Calibration, holdout: Holdout) -> float:
    """ECE on the held-out events against as much weight of random unseen items."""
    pairs = labelled_logits(scorer, holdout, seed=CALIBRATION_SEED)
    return expected_calibration_error(calibration, pairs)


def labelled_logits(
    scorer: Scorer, holdout: Holdout, *, seed: int, chunk: int = 512, progress: Progress = silent
) -> LabelledLogits:
    """Logits of the held-out items and of random unseen ones, see `draw_pairs`."""
    random = np.random.default_rng(seed)
    found = []
    done = 0
    for part in holdout.chunks(chunk):
        pairs = draw_pairs(scorer.scores(part.histories), part, random)
        found.append(replace(pairs, users=pairs.users + done))
        done += len(part)
        progress("calibrate", done, len(holdout))
    return joined(found)


def _standard_error(ranking: Ranking) -> float:
    gains = ranking.ndcg_per_user(10)
    return float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
