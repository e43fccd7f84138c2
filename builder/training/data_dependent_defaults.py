"""Fills in the options that a run leaves open, from the size of its data.

The aim is a training that takes about as many steps, of about as much work, whatever the log: a
step of some thousand events, a validation after so many steps, a second stage of a fixed number
of them. Otherwise a log of 20,000 short histories would be tuned for hours, and one of 900 users
with a single event each learn from one step an epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from builder.data.sequences import Sequences
from builder.data.splits import VALIDATION_USERS, Holdout
from builder.training.config import TrainingConfig

log = logging.getLogger(__name__)

EVENTS_PER_STEP: Final = 3_000
STEPS_PER_EPOCH: Final = 16
BATCH: Final = (16, 2_048)
ROUND: Final = 200
"""Most steps between two validations."""
PATIENCE_STEPS: Final = 270
PATIENCE: Final = (5, 15)
"""On MovieLens-100K, where 270 steps are 15 validations, the first stage needs them to leave its
first plateau: with 5 its text alone has .0715 on the validation users (seed 0), with 15 .0773."""
HISTORY: Final = (20, 200)
"""On MovieLens-100K with context, where 95 % of the users have at most 308 events, the first stage
had a validation NDCG@10 of .1668 and .1724 with 200 (seeds 0 and 1, network alone .1505 and .1517)
and .1578 and .1686 with 100 (.1467 and .1465)."""
TUNE_STEPS: Final = 300
"""On MovieLens-100K 100 steps took text alone from .0715 to .0924 validation NDCG@10, 300 to .0993,
and on the test users from .0625 to .0733 and .0759; the full model .1057 and .1093 (one seed)."""
TUNE_ROUNDS: Final = 4
"""A validation sends every text through the layers that learn. The rate falls to 0, so the last
state is the best one: of twelve validations in nine trainings it was so in five, and within .0002
of the best in two more. The other two had 942 users with five events each, and 150 users."""
TUNE_TOKENS: Final = 4_000
"""Tokens that go through the learning layers in a step, of .7 seconds on two cores with MiniLM.

With 6,000 the stage takes half as long again. On MovieLens-100K's validation users (seed 0) the
full model had .1735 with 4,000 and .1689 with 6,000, text alone .1377 and .1420.
"""
TUNE_TEXTS: Final = (64, 512)
TUNE_SHARE: Final = 0.25
"""Most of the texts that learn in a step, but for `TUNE_TEXTS`. With 520 users and 1,000 films of
MovieLens-100K (18,000 events), 36 % took 344 seconds of one core, 24 % 248: validation NDCG@10
.1154 and .1118, by text alone .0896 and .0978. With the *few items* of ``perf quality`` all of them
took 306 and a quarter 119: .2990 and .2982, by text alone .2357 and .2335."""

MOST_USERS: Final = VALIDATION_USERS
"""Validation users that a choice is made on, and that the ranking gate of an export gets."""
SCORED_ON: Final = 10_000_000
"""Scores, users times items, that a choice is made on: fewer users where the catalogue is large."""


@dataclass(frozen=True)
class Schedule:
    """Steps of one stage: ``rounds`` of ``steps`` each, with a validation after every round.

    The learning rate has its full height after ``warmup`` steps.
    """

    rounds: int
    steps: int
    warmup: int

    @property
    def total(self) -> int:
        return self.rounds * self.steps


@dataclass(frozen=True)
class Plan:
    """What a step holds, how many each stage has, and after how many rounds in vain it ends."""

    batch_size: int
    patience: int
    adapter: Schedule
    tuning: Schedule


def chosen_on(validation: Holdout, items: int) -> Holdout:
    """The validation users that choices are made on; more would cost time alone."""
    return validation.spread(int(np.clip(SCORED_ON // items, MOST_USERS // 4, MOST_USERS)))


def choose_max_history(config: TrainingConfig, histories: Sequences) -> int:
    """As long as 95 % of `histories`, which recommendations are made from."""
    if config.max_history is not None:
        return config.max_history
    longest = int(np.quantile(histories.lengths, 0.95, method="higher"))
    chosen = int(np.clip(longest, *HISTORY))
    log.info("max history: %d events; 95 %% of the users have at most %d", chosen, longest)
    return chosen


def choose_tune_texts(config: TrainingConfig, tokens: Sequence[int]) -> int:
    """Texts that learn in a step of the second stage, by the lengths of all texts in tokens."""
    if config.tune_texts is not None:
        return config.tune_texts
    mean = float(np.mean(tokens))
    chosen = tune_texts(len(tokens), mean)
    log.info(
        "texts of %.0f tokens on average: %d of them learn in a step of the second stage",
        mean,
        chosen,
    )
    return chosen


def tune_texts(texts: int, tokens: float) -> int:
    """The same where no option says it, of so many texts with so many tokens on average."""
    return int(np.clip(min(TUNE_TOKENS / tokens, TUNE_SHARE * texts), *TUNE_TEXTS))


def plan_stages(config: TrainingConfig, windows: int, events: int) -> Plan:
    """Batch, rounds and steps for so many windows with so many events in all."""
    batch = config.batch_size or _batch_size(windows, events)
    steps = ceil(windows / batch)
    rounds = ceil(steps / ROUND)
    warmup = min(int(config.warmup_epochs * steps), ROUND)
    adapter = Schedule(config.epochs * rounds, ceil(steps / rounds), warmup)
    if config.tune_epochs is None:
        tune_rounds, tune_steps = TUNE_ROUNDS, ceil(TUNE_STEPS / TUNE_ROUNDS)
    else:
        tune_rounds, tune_steps = config.tune_epochs * rounds, adapter.steps
    tuning = Schedule(tune_rounds, tune_steps, min(warmup, tune_rounds * tune_steps // 10))
    patience = config.patience or int(np.clip(ceil(PATIENCE_STEPS / adapter.steps), *PATIENCE))
    log.info(
        "%d histories, or parts of them, with %d events: %d in a step, %d steps an epoch; a "
        "validation every %d steps, at most %d; a stage ends after %d without a better "
        "figure; the second stage has %d steps",
        windows,
        events,
        batch,
        steps,
        adapter.steps,
        adapter.rounds,
        patience,
        tuning.total,
    )
    return Plan(batch, patience, adapter, tuning)


def _batch_size(windows: int, events: int) -> int:
    """About `EVENTS_PER_STEP` events, but `STEPS_PER_EPOCH` steps; a power of two."""
    wanted = min(EVENTS_PER_STEP * windows / events, windows / STEPS_PER_EPOCH)
    return int(2 ** round(np.log2(np.clip(wanted, *BATCH))))
