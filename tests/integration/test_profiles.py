"""What is told of a user, from the SDK to the ranking, on the real tritonserver in both layouts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data import Holdout
from builder.data.request_time import Clock
from builder.export.layout import Limits
from builder.export.options import ModelLayout
from builder.export.targets import TargetOptions
from builder.model.checkpoint import save_checkpoint
from builder.model.recommender import Recommender
from builder.serving import TritonServer
from client import InvalidInput, Profile, RecommenderClient
from tests.integration.small_run import export_run
from tests.shared import first_of
from tests.unit.builder.model.conftest import backbone
from tests.unit.builder.model.tiny import ITEMS, PROFILE, recommender, sequences
from tests.unit.model_repository.conftest import parts

__all__ = ["backbone", "parts"]

BATCH = 4
DELAY_MICROSECONDS = 2_000_000
"""Far longer than four threads take to send a request each: they become one batch."""
LIMITS = Limits(max_top_k=ITEMS, max_users=BATCH)
HISTORY = ["i1", "i2"]


@pytest.fixture(scope="module")
def model(backbone: Path) -> Recommender:
    return recommender(backbone, profile=(*PROFILE, *Clock(("hour", "weekday")).columns))


@pytest.fixture(scope="module")
def checkpoint(
    model: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("profiles") / "checkpoint"
    holdout = Holdout(sequences([0, 1], [3, 4, 5]), np.array([2, 6], np.int32))
    save_checkpoint(path, model, holdout, config={}, metrics={})
    (path / "encoder/tokenizer.json").write_bytes((backbone / "tokenizer.json").read_bytes())
    return path


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[ModelLayout], Path]:
    """Gives the repository of a layout, not to be changed."""

    @cache
    def export(layout: ModelLayout) -> Path:
        path = tmp_path_factory.mktemp(layout) / "models"
        export_run(checkpoint, path, LIMITS, options=TargetOptions(layout=layout))
        return path

    return export


@pytest.fixture(scope="module", params=first_of(get_args(ModelLayout)))
def server(
    request: pytest.FixtureRequest, exported: Callable[[ModelLayout], Path]
) -> Iterator[TritonServer]:
    with TritonServer(exported(request.param), grpc_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(server.grpc_address, timeout=60) as connected:
        yield connected


def logits(model: Recommender, *profile: int) -> NDArray[np.float32]:
    """FP32 [n], the checkpoint's own."""
    history = sequences([int(item[1:]) for item in HISTORY])
    profiles = np.array([profile], np.int32)
    found: NDArray[np.float32] = model.scorer().scores(replace(history, profiles=profiles))[0]
    return found


PROFILES: list[tuple[Profile | None, tuple[int, ...]]] = [
    (None, (0, 0, 0, 0)),
    ({"age": 24, "gender": "F"}, (2, 1, 0, 0)),
    ({"age": "55", "gender": "M", "hour": 20, "weekday": 5}, (3, 2, 21, 6)),
    ({"gender": "M"}, (0, 2, 0, 0)),
    ({"age": 19.5, "gender": "never seen"}, (1, 0, 0, 0)),
    ({"hour": 0, "weekday": "0"}, (0, 0, 1, 1)),
    ({"hour": 24, "weekday": 7}, (0, 0, 0, 0)),  # there is no such time
]


def test_each_profile_gets_the_ranking_of_its_own(
    client: RecommenderClient, model: Recommender
) -> None:
    everything = [f"i{item}" for item in range(ITEMS)]
    rankings = set()
    for profile, ids in PROFILES:
        expected = logits(model, *ids)
        ranking = client.rank(HISTORY, everything, profile=profile)
        np.testing.assert_allclose(ranking.logits, expected, rtol=1e-4, atol=1e-4)
        found = client.recommend(HISTORY, top_k=ITEMS, include_seen=True, profile=profile)
        assert [item.id for item in found] == [item.id for item in ranking.sorted()]
        rankings.add(tuple(item.id for item in found))
    assert len(rankings) > 1


def test_what_the_model_does_not_know_is_refused_by_name(client: RecommenderClient) -> None:
    with pytest.raises(
        InvalidInput, match=r"'aeg' the value 24.* columns are age, gender"
    ) as found:
        client.recommend(HISTORY, profile={"aeg": 24})
    assert found.value.field == "profile"
    assert found.value.value == {"aeg": 24}


def test_a_bad_profile_harms_no_other_request_of_its_batch(
    exported: Callable[[ModelLayout], Path], model: Recommender, tmp_path: Path
) -> None:
    shutil.copytree(exported("fused"), tmp_path / "models")
    config = tmp_path / "models/recommend/config.pbtxt"
    text = config.read_text()
    assert "dynamic_batching {" in text
    delay = f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY_MICROSECONDS}"
    config.write_text(text.replace("dynamic_batching {", delay))
    sent: list[Profile] = [
        {"age": 24, "gender": "F"},
        {"aeg": 24},
        {"age": 55, "gender": "M"},
        {"gender": "M"},
    ]
    with (
        TritonServer(tmp_path / "models", grpc_port=0) as server,
        RecommenderClient(server.grpc_address, timeout=60) as client,
        ThreadPoolExecutor(BATCH) as pool,
    ):
        futures = [
            pool.submit(client.recommend, HISTORY, top_k=ITEMS, include_seen=True, profile=profile)
            for profile in sent
        ]
        with pytest.raises(InvalidInput, match="'aeg'"):
            futures[1].result()
        for future, ids in ((futures[0], (2, 1)), (futures[2], (3, 2)), (futures[3], (0, 2))):
            expected = np.sort(logits(model, *ids, 0, 0))[::-1]
            np.testing.assert_allclose(future.result().logits, expected, rtol=1e-4, atol=1e-4)
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:  # Triton counts a batch after its answers have left
            (counted,) = client.statistics(model="recommend")
            if counted.executions:
                break
    assert (counted.executions, counted.success.count + counted.fail.count) == (1, BATCH)
