"""Chooses on the validation users how much what is popular counts, and for how long."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from builder.data.decayed_counts import DecayedCounts
from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.decayed_popularity import TIME_CONSTANTS
from builder.progress import Progress, silent
from builder.training.improvement import is_better
from builder.training.linear_term_choice import CHOSEN_AT, gains_by_weight, gains_of
from model_repository.core.arrays import Floats
from model_repository.core.trend import NO_TREND, Trend, trend_logits

log = logging.getLogger(__name__)

WEIGHT: Final = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Two time constants at once, or popularity of all time beside one, brought nothing: chosen on one
half of movietweetings-100k's validation users, one had an NDCG@10 of .1929 on the other half, the
best of such pairs .1925 (ten divisions; the network alone .1477). Nor did a network that learnt
beside the trend: .1776 in the test, .1766 with the trend added to the usual one."""


def choose_trend(
    logits: Floats,
    validation: Holdout,
    known: Sequences,
    *,
    progress: Progress = silent,
) -> tuple[Trend, Floats]:
    """The trend with the best NDCG@`CHOSEN_AT` beside logits FP32 [U, n], and what it adds to them.

    The events of ``known`` are counted, those before each target. The trend that comes back has no
    counts. It is `NO_TREND` where times are not known, or where it is no better than chance.
    """
    asked = validation.histories.request_times
    nothing = np.zeros((1, 1), np.float32)
    if asked is None or known.times is None:
        return NO_TREND, nothing
    items = logits.shape[1]
    before = gains_of(logits, validation)
    trend, gains, best = NO_TREND, before, nothing
    for done, constant in enumerate(TIME_CONSTANTS, 1):
        added = trend_logits(DecayedCounts(known, items, constant).at(asked), 1.0)
        tried = gains_by_weight(logits, added, WEIGHT, validation)
        number = int(tried.mean(1).argmax())
        if tried[number].mean() > gains.mean():
            trend = Trend(constant, WEIGHT[number], np.zeros(0), 0)
            gains, best = tried[number], added
        progress("choose the trend", done, len(TIME_CONSTANTS))
    if not is_better(gains, before):
        log.info("trend: none; what is popular at the time does not help on validation")
        return NO_TREND, nothing
    log.info(
        "trend: time constant %.3g days, weight %g; validation NDCG@%d %.4f, without it %.4f",
        trend.time_constant / 86_400,
        trend.weight,
        CHOSEN_AT,
        gains.mean(),
        before.mean(),
    )
    return trend, np.float32(trend.weight) * best
