"""The effects of events beside integrated gradients, which know the network from inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from scipy import stats

from builder.model.scoring import TorchUserEncoder, UserEncoderGraph, catalogue_of, histories_of
from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Catalogue
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.core.reasons import event_effects
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences


def test_events_that_speak_for_an_item_do_so_by_integrated_gradients_too(backbone: Path) -> None:
    """Sundararajan et al. (2017), from no events to all of them at once."""
    model = recommender(backbone)
    catalogue = catalogue_of(model, "network")
    scorer = Scorer(catalogue, TorchUserEncoder(model.adapter))
    graph = UserEncoderGraph(model.adapter)
    random = np.random.default_rng(0)
    past = sequences(*[random.permutation(ITEMS)[:6].tolist() for _ in range(20)])
    everything = np.arange(ITEMS, dtype=np.int32)
    alike = []
    for history in histories_of(past, 6):
        places = np.arange(6, dtype=np.int32)
        effects = event_effects(scorer, history, places, everything, NO_NEW_ITEMS)
        for item in everything:
            by_event = _attributed(graph, history, catalogue, item)
            alike.append(stats.spearmanr(by_event, effects[:, item]).statistic)
    low, _ = stats.bootstrap((alike,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert low > 0.1


def _attributed(
    graph: UserEncoderGraph, history: History, catalogue: Catalogue, item: int
) -> Floats:
    """What each of the H events adds to the logit of an item, FP32 [H]."""
    actions, ages = torch.from_numpy(history.actions), torch.from_numpy(history.ages)

    def logit(events: torch.Tensor) -> torch.Tensor:
        users = len(events)
        count = torch.full((users, 1), len(actions), dtype=torch.int32)
        state: torch.Tensor = graph(
            events, actions.expand(users, -1), ages.expand(users, -1), count
        )
        return state @ torch.from_numpy(catalogue.vectors[item])

    vectors = torch.from_numpy(catalogue.vectors[history.slots])[None]
    found: torch.Tensor = IntegratedGradients(logit).attribute(vectors, n_steps=8)
    by_event: Floats = found.detach().sum(-1)[0].numpy()
    return by_event
