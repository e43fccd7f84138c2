"""Scores with a trained model by the ranking rule of serving: `model_repository.core`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from builder.data.decayed_counts import DecayedCounts
from builder.data.sequences import Sequences
from builder.model.interest import InterestAdapter, time_gaps
from builder.model.linear import LinearTerm
from builder.model.neighbourhood import served_neighbourhood
from builder.model.popularity import UNKNOWN
from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Catalogue
from model_repository.core.cold_items import lifts
from model_repository.core.identifiers import Identifiers
from model_repository.core.score_terms import LinearTerm as ServedLinearTerm
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.trend import NO_TREND, Trend, TrendRow, levels, trend_logits
from model_repository.core.users import NO_AGE, EventBatch, History, ages

if TYPE_CHECKING:
    from builder.model.recommender import Recommender

Part = Literal["full", "timeless", "network", "text"]
"""Everything; without the trend; without the linear term either; without anything that knows an
item by its id."""


class UserEncoderGraph(nn.Module):
    """The events of many users → their states FP32 [U, d], without what their profiles add.

    Takes item vectors FP32 [U, H, d], action ids INT32 [U, H], ages in seconds INT64 [U, H], and
    the number of events of each user INT32 [U, 1]; what lies behind those of a user counts for
    nothing. See ``USER_ENCODER`` in the contract.
    """

    def __init__(self, adapter: InterestAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, event: Tensor, action: Tensor, age: Tensor, count: Tensor) -> Tensor:
        return self.adapter.last_states(
            event, action.long(), time_gaps(age.long()), count.long().squeeze(1)
        )


class TorchUserEncoder:
    """The network as it is in PyTorch; see `model_repository.core.users.UserEncoder`."""

    lengths: Sequence[int] = ()
    call_cost = 200
    """A call of PyTorch's costs more than one of a compiled engine: some 400 us."""

    def __init__(self, adapter: InterestAdapter) -> None:
        self._graph = UserEncoderGraph(adapter.eval())
        self._device = adapter.bias.device

    @torch.no_grad()
    def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:
        return [
            self._graph(
                *(
                    torch.from_numpy(each).to(self._device)
                    for each in (batch.vectors, batch.actions, batch.ages, batch.counts)
                )
            )
            .cpu()
            .numpy()
            for batch in batches
        ]


def histories_of(sequences: Sequences, max_history: int) -> list[History]:
    """The last `max_history` events of every user, as a request's are read."""
    found = []
    for user in range(len(sequences)):
        kept = slice(max(0, len(sequences.items_of(user)) - max_history), None)
        slots = sequences.items_of(user)[kept].astype(np.int32)
        actions, times = sequences.actions_of(user), sequences.times_of(user)
        found.append(
            History(
                slots,
                np.zeros_like(slots) if actions is None else actions[kept].astype(np.int32),
                np.full(len(slots), NO_AGE) if times is None else ages(times[kept]),
            )
        )
    return found


@torch.no_grad()
def catalogue_of(model: Recommender, part: Part = "full") -> Catalogue:
    """The arrays that a server scores with, without attributes."""
    vectors, bias = model.item_vectors(text_only=part == "text")
    linear = model.linear
    # An item adds nothing where the term is switched off, and nothing is then looked up.
    beside = part in ("full", "timeless")
    kept = slice(None) if beside and linear.weight else slice(0)
    return Catalogue(
        vectors.numpy(),
        bias.numpy(),
        ids=Identifiers.of([str(item) for item in model.catalogue.item_ids]),
        linear_index=np.ascontiguousarray(linear.index[:, kept]),
        linear_value=linear.value[:, kept] * np.float32(linear.weight),
        decay=_decay(linear, model.adapter.config.max_history),
        cold=np.flatnonzero(~model.warm).astype(np.int32),
        cold_rank=model.cold_rank if beside else 0,
        neighbourhood=served_neighbourhood(model),
        profile=_profile(model.adapter),
        trend=model.trend if part == "full" else NO_TREND,
        calibration=model.calibration,
        log_events=_log_events(model),
    )


class PartScorer:
    """Scores the catalogue with a part of a model (a `builder.evaluation.ranking.Scorer`).

    Parameters
    ----------
    log
        Its events are what is known of the trend at the time of each request. None: the model's own
        counts are, whatever the time.
    new_items
        The request option of this name.
    """

    def __init__(
        self, model: Recommender, part: Part, log: Sequences | None = None, new_items: int = 0
    ) -> None:
        catalogue = catalogue_of(model, part)
        trend = None
        if catalogue.trend and log is not None and log.times is not None:
            trend = LoggedTrend(catalogue.trend, log)
        self._at_requests = trend is not None
        self._scorer = Scorer(catalogue, TorchUserEncoder(model.adapter), trend=trend)
        self._max_history = model.adapter.config.max_history
        self._cold_rank = new_items or catalogue.cold_rank

    def scores(self, histories: Sequences) -> Floats:
        """What ``recommend`` ranks by: `logits` with the cold items moved, where they are."""
        catalogue = self._scorer.catalogue
        cold = np.zeros(len(catalogue), np.bool_)
        cold[catalogue.cold] = True
        return with_cold_items(self.logits(histories), cold, histories, self._cold_rank)

    def logits(self, histories: Sequences) -> Floats:
        """What ``rank`` answers, FP32 [U, n]."""
        times = histories.request_times if self._at_requests else None
        return self._scorer.logits(
            self._scorer.users(
                histories_of(histories, self._max_history),
                profiles=histories.profiles,
                times=None if times is None else times.tolist(),
            )
        )


class LoggedTrend:
    """What was popular at a time, by the events of a log before it (a `TrendSource`)."""

    def __init__(self, trend: Trend, log: Sequences) -> None:
        self._weight = trend.weight
        self._counts = DecayedCounts(log, len(trend.level), trend.time_constant)

    def rows(self, times: Sequence[int]) -> list[TrendRow]:
        logits = trend_logits(self._counts.at(np.array(times, np.int64)), self._weight)
        return [TrendRow(row, time) for row, time in zip(logits, times, strict=True)]


def counted(trend: Trend, log: Sequences, items: int) -> Trend:
    """The same with the counts of a log, all of whose events are known, and of so many items."""
    if not trend or log.times is None:
        return NO_TREND
    level = levels(log.items, log.times, items, trend.time_constant)
    return replace(trend, level=level, until=int(log.times.max()))


def network_scores(
    adapter: InterestAdapter, vectors: Tensor, bias: Tensor, histories: Sequences
) -> Floats:
    """The network's logits FP32 [U, n], given item vectors [n, d] and biases [n]."""
    catalogue = Catalogue(
        vectors.detach().float().cpu().numpy(),
        bias.detach().float().cpu().numpy(),
        profile=_profile(adapter),
    )
    scorer = Scorer(catalogue, TorchUserEncoder(adapter))
    known = histories_of(histories, adapter.config.max_history)
    return scorer.logits(scorer.users(known, profiles=histories.profiles))


def with_cold_items(
    logits: Floats, cold: NDArray[np.bool_], histories: Sequences, rank: int
) -> Floats:
    """Logits FP32 [U, n] with the items of `cold` BOOL [n] moved, see `core.cold_items`.

    What a user has seen is not in the way. ``logits`` themselves where there is nothing to do.
    """
    if not rank or not cold.any():
        return logits
    masked = logits.copy()
    masked[np.repeat(np.arange(len(histories)), histories.lengths), histories.items] = -np.inf
    moved = np.flatnonzero(cold).astype(np.int32)
    ranks = np.full(len(logits), rank, np.int32)
    return logits + cold * lifts(masked, moved, ranks)[:, np.newaxis]


def linear_scores(linear: LinearTerm, histories: Sequences, max_history: int) -> Floats:
    """The linear term FP32 [U, n], before its weight."""
    term = ServedLinearTerm(linear.index, linear.value, _decay(linear, max_history))
    scores = np.zeros((len(histories), len(linear.index)), np.float32)
    known = histories_of(histories, max_history)
    term.add_to(scores, Users(np.zeros((len(known), 0), np.float32), known))
    return scores


def _log_events(model: Recommender) -> Floats:
    popularity = model.popularity
    if popularity is UNKNOWN:
        return popularity.events
    return popularity.of_all(len(model.catalogue)).events


def _decay(linear: LinearTerm, max_history: int) -> Floats:
    decay: Floats = np.float32(linear.decay) ** np.arange(max_history, dtype=np.float32)
    return decay


@torch.no_grad()
def _profile(adapter: InterestAdapter) -> Floats:
    """FP32 [P, ids, d], what each id of a profile adds to a user's state."""
    tables = [table.cpu().numpy() for table in adapter.profile]
    profile = np.zeros((len(tables), max(map(len, tables), default=0), adapter.config.width), "f4")
    for rows, table in zip(profile, tables, strict=True):
        rows[: len(table)] = table
    return profile
