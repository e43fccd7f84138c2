"""Whole lists with a policy: those that are served, and without one the plain ranking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.data import Holdout
from builder.errors import ConfigError
from builder.evaluation.policy_lists import PolicyLists, accuracy
from builder.evaluation.ranking import rank_holdout
from builder.export.attributes import all_attributes
from builder.model.recommender import Recommender
from builder.model.scoring import TorchUserEncoder, counted
from model_repository.core.handler import Recommend
from model_repository.core.requests import ReaderSettings, RequestReader
from model_repository.core.scoring import Scorer
from model_repository.core.trend import Trend
from tests.unit.builder.model.tiny import ITEM_PROFILE, ITEMS, recommender, sequences
from tests.unit.model_repository.catalogues import CountedTexts
from tests.unit.model_repository.conftest import user

LOG = sequences(
    *[[3, 4, 5], [5, 6], [5, 1, 2, 3]], times=[[10, 20, 30], [40, 50], [60, 70, 80, 90]]
)
HELD_OUT = Holdout(
    replace(
        sequences([0, 1, 2, 0], [], [5, 4], times=[[1, 2, 3, 4], [], [5, 6]]),
        request_times=np.array([45, 65, 100]),
    ),
    np.array([7, 3, 5], np.int32),  # the last was seen before
)


@pytest.fixture(scope="module")
def model(backbone: Path) -> Recommender:
    made = recommender(backbone, item_profile=ITEM_PROFILE)
    return replace(made, trend=counted(Trend(30.0, 1.0, np.zeros(0), 0), LOG, ITEMS))


def test_without_options_it_is_the_plain_ranking(model: Recommender) -> None:
    ranking = rank_holdout(model.scorer(log=LOG), HELD_OUT, ITEMS)
    top = PolicyLists(model, LOG, log=LOG).lists(HELD_OUT, {})
    np.testing.assert_array_equal(top, ranking.top[:, :10])
    found = accuracy(top, HELD_OUT.targets)
    np.testing.assert_allclose(found["ndcg@10"], ranking.ndcg_per_user(10))
    np.testing.assert_allclose(found["hr@10"], ranking.rank <= 10)


@pytest.mark.parametrize(
    "options",
    [
        {"diversity": 0.9, "top_k": 4},
        {"match": "genre", "top_k": 3},
        {"popularity_penalty": 1.0, "top_k": 3, "include_seen": True},
        {"explore": "softmax", "explore_rate": 5.0, "top_k": 4},
        {"explore": "thompson", "explore_rate": 5.0, "top_k": 4},
        {"explore": "ucb", "explore_rate": 5.0, "top_k": 4},
    ],
)
def test_with_options_it_is_what_a_server_recommends(
    model: Recommender, options: dict[str, object]
) -> None:
    attributes = all_attributes(model.catalogue)
    maker = PolicyLists(model, LOG, attributes)
    settings = ReaderSettings(max_rows=1, max_history=6, actions=[], max_top_k=ITEMS)
    reader = RequestReader(settings, maker.catalogue.ids)
    scorer = Scorer(maker.catalogue, TorchUserEncoder(model.adapter))
    recommend = Recommend(reader, scorer, CountedTexts())
    held_out = Holdout(sequences([0, 1, 2, 0], [], [5, 4]), np.array([7, 3, 8], np.int32))
    top = maker.lists(held_out, options)
    assert (top != PolicyLists(model, LOG).lists(held_out, {"top_k": options["top_k"]})).any()
    for number, (row, history) in enumerate(zip(top, ([0, 1, 2, 0], [], [5, 4]), strict=True)):
        asked = user([f"i{item}" for item in history], parameters=options)
        (answer,) = recommend([replace(asked, id=f"u{number}")])
        assert isinstance(answer, dict)
        items = [int(item[1:]) for item in answer["ITEM"][0]]
        assert row.tolist() == [*items, *[-1] * (10 - len(items))]


def test_a_policy_that_cannot_be_followed_is_a_fault_of_its_options(model: Recommender) -> None:
    maker = PolicyLists(model, LOG, all_attributes(model.catalogue))
    with pytest.raises(ConfigError, match=r"the policy: .*'brand'\. It has .*title, genre, year"):
        maker.lists(HELD_OUT, {"match": "brand"})


def test_accuracy_of_lists() -> None:
    top = np.array([[4, 2, 7], [1, 2, -1], [-1, -1, -1]], np.int32)
    found = accuracy(top, np.array([7, 5, 0], np.int32))
    assert found["ndcg@10"].tolist() == [0.5, 0, 0]
    assert found["hr@10"].tolist() == [1, 0, 0]
