"""Profiles of users and items in both layouts, and in the gate that asks with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data import Holdout
from builder.errors import GateError
from builder.export.layout import Layout, Limits
from builder.export.ranking_gate import check_ranking
from builder.export.recommender import recommender as exportable_of
from builder.export.targets.tensorrt import TensorRT
from builder.model.recommender import Recommender
from builder.model.scoring import TorchUserEncoder, catalogue_of, histories_of
from builder.repository import from_text
from model_repository.core.batch import Request
from model_repository.core.contract import ENCODER, PROFILE, USER_ENCODER
from model_repository.core.errors import InvalidRequest
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from model_repository.steps.user_models import load_scorer, load_user_encoder
from tests.new_text import logit_of_text
from tests.unit.builder.export.checkpoints import embedded, export, write_checkpoint
from tests.unit.builder.export.in_process import Server
from tests.unit.builder.model.tiny import ITEM_PROFILE, ITEMS, recommender, sequences
from tests.unit.builder.model.tiny import PROFILE as COLUMNS
from tests.unit.model_repository.conftest import user

HISTORIES = replace(
    sequences([0, 1], [3, 4, 5], [2]),
    profiles=np.array([[1, 2], [0, 0], [3, 1]], np.int32),
)
VALIDATION = Holdout(HISTORIES, np.array([2, 6, 7], np.int32))
LIMITS = Limits(max_top_k=ITEMS, max_rows=4)


@pytest.fixture(scope="module")
def profiled(backbone: Path) -> Recommender:
    model = recommender(backbone, profile=COLUMNS, item_profile=ITEM_PROFILE)
    return replace(model, warm=np.arange(ITEMS) % 4 > 0, cold_limit=3)


@pytest.fixture(scope="module")
def run(profiled: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("profiled") / "checkpoint"
    return write_checkpoint(directory, profiled, backbone, VALIDATION)


@pytest.fixture(scope="module")
def published(run: Path) -> dict[str, Path]:
    for layout in ("fused", "ensemble"):
        done = export(run, run.parent / layout, embedded(layout=layout), LIMITS)
        assert done.figures.ranking is not None
        assert done.figures.ranking.users == 3
    return {layout: run.parent / layout for layout in ("fused", "ensemble")}


@pytest.fixture(params=["fused", "ensemble"])
def server(request: pytest.FixtureRequest, published: dict[str, Path]) -> Server:
    return Server(published[request.param])


def users(model: str, number: int) -> list[Request]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(number):
        told = {
            name: value
            for name, value in (
                ("age", int(random.integers(10, 50))),
                ("gender", str(random.choice(["F", "M", "x"]))),
            )
            if random.random() < 0.7
        }
        columns: dict[str, Any] = {} if random.random() < 0.2 else {"profile": [json.dumps(told)]}
        history = [f"i{item}" for item in random.integers(0, ITEMS, random.integers(0, 9))]
        if model == "rank":
            columns["candidate"] = [f"i{item}" for item in range(ITEMS)]
        found.append(user(history, **columns))
    return found


def checkpoint_logits(model: Recommender, request: Request, asked: str) -> NDArray[np.float32]:
    """FP32 [n], by the checkpoint itself."""
    history = [int(item[1:]) for item in request.tensors["HISTORY"][0]]
    profile = np.zeros((1, 2), np.int32)
    if "PROFILE" in request.tensors:
        told = json.loads(request.tensors["PROFILE"][0][0])
        if "age" in told:
            profile[0, 0] = 1 + (told["age"] >= 20) + (told["age"] >= 30)
        profile[0, 1] = {"F": 1, "M": 2}.get(told.get("gender"), 0)
    scorer = model.scorer()
    histories = replace(sequences(history), profiles=profile)
    ask = scorer.logits if asked == "rank" else scorer.scores
    found: NDArray[np.float32] = ask(histories)[0]
    return found


@pytest.mark.parametrize("asked", ["rank", "recommend"])
def test_both_layouts_score_as_the_checkpoint_does(
    profiled: Recommender, server: Server, asked: str
) -> None:
    requests = users(asked, 40)
    for request, answer in zip(requests, server(asked, *requests), strict=True):
        assert not isinstance(answer, Exception)
        logits = checkpoint_logits(profiled, request, asked)
        if asked == "recommend":
            logits = logits[[int(item[1:]) for item in answer["ITEM"][0]]]
        np.testing.assert_allclose(answer["LOGIT"][0], logits, rtol=1e-4, atol=1e-4)
        alone = server.tensors(asked, request)
        np.testing.assert_allclose(alone["LOGIT"], answer["LOGIT"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [1, 2, 5, ITEMS])
def test_a_list_is_the_checkpoints_however_long(
    profiled: Recommender, published: dict[str, Path], wanted: int
) -> None:
    """Shorter than the place of the cold items too, where one may come by itself."""
    directory = published["fused"] / "recommend/1"
    served = load_scorer(directory, load_user_encoder(directory))
    profile = np.zeros((1, 2), np.int32)
    random = np.random.default_rng(0)
    for _ in range(40):
        items = random.integers(0, ITEMS, random.integers(0, 7)).astype(np.int32)
        history = History(items, np.zeros_like(items), np.full(len(items), -1))
        asking = served.users([history], profiles=profile)
        (found,) = served.best(asking, [np.unique(items)], [wanted])
        histories = replace(sequences(items.tolist()), profiles=profile)
        scores = profiled.scorer().scores(histories)[0]
        scores[items] = -np.inf
        expected = -np.sort(-scores)[:wanted]
        expected = expected[np.isfinite(expected)]
        np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-4)


def test_a_text_of_the_request_is_an_item_without_a_profile(
    profiled: Recommender, server: Server
) -> None:
    request = user(["i1"], candidate=["new", "i2"], candidate_text=["the cats", ""])
    answer = server.tensors("rank", request)
    expected = logit_of_text(profiled, "the cats", checkpoint_logits(profiled, request, "rank"))
    assert answer["LOGIT"][0, 0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_bad_profile_harms_no_other_request(server: Server) -> None:
    good = user(["i1"], profile=['{"gender": "F"}'], candidate=["i2"])
    bad = user(["i1"], profile=['{"gendre": "F"}'], candidate=["i2"])
    no_json = user(["i1"], profile=["gender=F"], candidate=["i2"])
    first, refused, unread, last = server("rank", good, bad, no_json, good)
    assert isinstance(refused, InvalidRequest)
    assert "'gendre'" in str(refused)
    assert isinstance(unread, InvalidRequest)
    alone = server.tensors("rank", good)
    for found in (first, last):
        assert not isinstance(found, Exception)
        np.testing.assert_allclose(found["LOGIT"], alone["LOGIT"], rtol=1e-5)


def test_the_ranking_gate_asks_with_profiles(profiled: Recommender) -> None:
    asked = []

    class Asked(Scorer):
        def users(self, *arguments: Any, **named: Any) -> Users:
            asked.append(named["profiles"].tolist())
            return super().users(*arguments, **named)

    scorer = Asked(catalogue_of(profiled), TorchUserEncoder(profiled.adapter))
    figure = check_ranking(scorer, profiled, VALIDATION, bound=0.001)
    assert asked == [[[1, 2], [0, 0], [3, 1]]]
    assert figure.engine == pytest.approx(figure.checkpoint)


def test_the_ranking_gate_sees_a_profile_that_is_lost(profiled: Recommender) -> None:
    # Users get what the checkpoint puts first for them: to lose what their profiles say is a loss.
    catalogue = catalogue_of(profiled)
    scores = profiled.scorer().scores(HISTORIES)
    for history, score in zip(histories_of(HISTORIES, 6), scores, strict=True):
        score[history.slots] = -np.inf
    best = Holdout(HISTORIES, scores.argmax(1).astype(np.int32))
    encode = TorchUserEncoder(profiled.adapter)
    assert check_ranking(Scorer(catalogue, encode), profiled, best, bound=0.0).checkpoint == 1
    lost = replace(catalogue, profile=np.zeros_like(catalogue.profile))
    with pytest.raises(GateError, match="ranking: NDCG@10 on 3 validation users"):
        check_ranking(Scorer(lost, encode), profiled, best, bound=0.005)


def test_the_networks_know_nothing_of_profiles(
    profiled: Recommender, run: Path, layout: Layout
) -> None:
    """The state of a user without a profile, to which the catalogue's FP32 tables are added."""
    exported = exportable_of(run, TensorRT(), LIMITS)
    assert list(exported.graphs) == [ENCODER, USER_ENCODER]
    assert exported.layout.sizes == layout.sizes
    assert not {PROFILE} & set(USER_ENCODER.inputs)
    tables = catalogue_of(profiled).profile
    assert tables.dtype == np.float32
    for stored, table in zip(tables, profiled.adapter.profile, strict=True):
        np.testing.assert_array_equal(stored[: len(table)], table.detach().numpy())


def test_every_model_of_users_takes_a_profile_or_none(published: dict[str, Path]) -> None:
    for layout, models in (("fused", ("rank", "recommend")), ("ensemble", ("rank_texts", "rank"))):
        for model in models:
            text = (published[layout] / model / "config.pbtxt").read_text("utf-8")
            (profile,) = (each for each in from_text(text, model).input if each.name == "PROFILE")
            assert profile.optional
