"""Whole lists as ``recommend`` makes them, with the options of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.errors import ConfigError
from builder.evaluation.beyond_accuracy import LENGTH
from builder.evaluation.ranking import ndcg_gain, user_chunk
from builder.model.recommender import Recommender
from builder.model.scoring import LoggedTrend, TorchUserEncoder, catalogue_of, histories_of
from builder.model.uncertainty import uncertainties
from model_repository.core import policy
from model_repository.core.arrays import NO_ITEMS
from model_repository.core.attributes import NO_ATTRIBUTES, Attributes
from model_repository.core.catalogue import Candidates
from model_repository.core.contract import OPTIONS
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.list_maker import ListMaker
from model_repository.core.policy.facts import FixedFacts
from model_repository.core.requests import UserRequest
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.users import History


class PolicyLists:
    """Makes lists of a model under a policy, by the code that serves it.

    Parameters
    ----------
    learnt
        What the model learnt from: how many events an item has, where the model does not know it.
    attributes
        Those that a policy may name.
    log
        Its events are what is known of the trend at the time of each request; see `PartScorer`.
    """

    def __init__(
        self,
        model: Recommender,
        learnt: Sequences,
        attributes: Attributes = NO_ATTRIBUTES,
        log: Sequences | None = None,
    ) -> None:
        ids = Identifiers.of(model.catalogue.item_ids)
        catalogue = catalogue_of(model)
        catalogue = replace(
            catalogue,
            ids=ids,
            attributes=attributes,
            uncertainty=uncertainties(model.popularity, learnt, len(catalogue)),
        )
        if not len(catalogue.log_events):
            counts = np.bincount(learnt.items, minlength=len(catalogue))
            catalogue = replace(catalogue, log_events=np.log1p(counts).astype(np.float32))
        trend = None
        if catalogue.trend and log is not None and log.times is not None:
            trend = LoggedTrend(catalogue.trend, log)
        self.catalogue = catalogue
        self._at_requests = trend is not None
        self._scorer = Scorer(catalogue, TorchUserEncoder(model.adapter), trend=trend)
        self._lists = ListMaker(self._scorer)
        self._facts = FixedFacts(catalogue).current()
        self._max_history = model.adapter.config.max_history

    def lists(self, holdout: Holdout, options: Mapping[str, Any]) -> NDArray[np.int32]:
        """Catalogue indices INT32 [U, 10], best first, -1 where a list is shorter.

        A target that the user has seen before may be recommended, as in `rank_holdout`.
        ``options`` are those of a request; what is left out has its default.

        Raises
        ------
        ConfigError
            A stage of the policy cannot follow its options.
        """
        found = np.full((len(holdout), LENGTH), -1, np.int32)
        done = 0
        for part in holdout.chunks(user_chunk(len(self.catalogue))):
            for plan, candidates, user in self.searched(part, options):
                items = self._lists.listed(
                    plan, candidates, user, self._lists.anywhere(plan)
                ).index[:LENGTH]
                found[done, : len(items)] = items
                done += 1
        return found

    def searched(
        self, holdout: Holdout, options: Mapping[str, Any]
    ) -> Iterator[tuple[policy.Plan, Candidates, Users]]:
        """For each user the plan of a request, and the candidates that it chooses from.

        All users are encoded at once. Raises as `lists` does.
        """
        options = {option.name: option.default for option in OPTIONS} | dict(options)
        histories = holdout.histories
        read = histories_of(histories, self._max_history)
        times = histories.request_times if self._at_requests else None
        users = self._scorer.users(
            read,
            profiles=histories.profiles,
            times=None if times is None else times.tolist(),
        )
        try:
            plans = [
                policy.plan(
                    self._request(holdout, user, history, options), self.catalogue, self._facts
                )
                for user, history in enumerate(read)
            ]
        except InvalidRequest as error:
            raise ConfigError(f"the policy: {error}") from error
        best = self._lists.candidates(users, plans)
        for user, (plan, candidates) in enumerate(zip(plans, best, strict=True)):
            yield plan, candidates, users[[user]]

    def _request(
        self, holdout: Holdout, user: int, history: History, options: dict[str, Any]
    ) -> UserRequest:
        profiles = holdout.histories.profiles
        seen = holdout.histories.items_of(user).astype(np.int32)
        return UserRequest(
            options,
            texts=(),
            history=history,
            places=np.arange(len(history.slots), dtype=np.int32),
            events=len(seen),
            skipped=0,
            seen=seen[seen != holdout.targets[user]],
            excluded=NO_ITEMS,
            candidates=NO_ITEMS,
            profile=NO_ITEMS if profiles is None else profiles[user],
            id=holdout.histories.user_ids[user],  # so that what explores says the same each time
        )


def accuracy(top: NDArray[np.int32], targets: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
    """NDCG@10 and HR@10 FP64 [U] of lists INT32 [U, 10] with one relevant item each."""
    hit = top == targets[:, np.newaxis]
    there = hit.any(axis=1)
    rank = np.where(there, hit.argmax(axis=1) + 1, LENGTH + 1)
    return {f"ndcg@{LENGTH}": ndcg_gain(rank, LENGTH), f"hr@{LENGTH}": there.astype(np.float64)}
