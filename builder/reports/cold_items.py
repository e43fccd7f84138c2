"""Figures of cold items: how well they are recommended from their text alone."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.errors import CheckpointError
from builder.evaluation.beyond_accuracy import ListMetrics, directions
from builder.evaluation.ranking import Scorer
from builder.evaluation.report import PARTS
from builder.evaluation.results import Result, result
from builder.model.checkpoint import load_backbone
from builder.model.linear import recency_weights
from builder.model.recommender import encode_texts
from builder.model.text_encoder import TextEncoder
from builder.progress import Progress, silent
from builder.reports.trained_run import TrainedRun

log = logging.getLogger(__name__)

NEIGHBOURS: Final = "frozen neighbours"
EARLIER: Final = {f"new items from rank {rank}": rank for rank in (5, 10)}
"""Values of the request option ``new_items`` whose price is shown."""


class TextNeighbours:
    """Cosine of an item's text vector with the mean text vector of the history.

    Parameters
    ----------
    vectors
        FP32 [n, h], of an encoder that was not trained for the log.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self._directions = directions(vectors)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        longest = int(histories.lengths.max(initial=0))
        items = len(self._vectors)
        # Its length does not matter to the order, so the sum does as well as the mean.
        profile = recency_weights(histories, items, decay=1.0, max_history=longest) @ self._vectors
        scores: NDArray[np.float32] = profile @ self._directions.T
        return scores


def with_new_items_earlier(run: TrainedRun) -> dict[str, Scorer]:
    """The full model asked with the option ``new_items``; none where it has no cold items."""
    if run.model.warm.all():
        return {}
    return {
        name: run.model.scorer(log=run.split.counted, new_items=rank)
        for name, rank in EARLIER.items()
    }


def cold_results(
    run: TrainedRun, list_metrics: ListMetrics, *, progress: Progress = silent
) -> dict[str, list[Result]]:
    """Results on the cold items, ranked in the whole catalogue and among each other.

    The run's parts, and `TextNeighbours` over the backbone that it was trained from. Where that
    backbone cannot be loaded any more, the neighbours are left out and the log says so. In the
    whole catalogue also `with_new_items_earlier`, whose order among each other is the full model's.
    """
    holdout: Holdout = run.split.cold
    frozen = _frozen_vectors(run, progress)
    scorers: dict[str, Scorer] = {} if frozen is None else {NEIGHBOURS: TextNeighbours(frozen)}
    scorers |= {name: run.model.scorer(part, run.split.counted) for name, part in PARTS.items()}
    among = np.zeros(len(list_metrics.counts), bool)
    among[run.split.cold_items] = True
    return {
        "among_all": [
            result(name, scorer, holdout, list_metrics)
            for name, scorer in (scorers | with_new_items_earlier(run)).items()
        ],
        "among_cold": [
            result(name, scorer, holdout, list_metrics, among=among)
            for name, scorer in scorers.items()
        ],
    }


def _frozen_vectors(run: TrainedRun, progress: Progress) -> NDArray[np.float32] | None:
    try:
        backbone, _ = load_backbone(run.training.backbone)
    except CheckpointError as error:
        log.warning("%s are left out: %s", NEIGHBOURS, error)
        return None
    own = run.model.encoder
    # Learnt attention pooling starts as the mean, so the mean is what there was before training.
    pooling = "mean" if own.pooling == "attention" else own.pooling
    encoder = TextEncoder(backbone, own.pad_id, pooling)
    texts = run.model.catalogue.texts
    vectors: NDArray[np.float32] = encode_texts(
        encoder, run.model.tokenizer, texts, progress=progress
    ).numpy()
    return vectors
