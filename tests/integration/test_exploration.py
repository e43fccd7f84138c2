"""Lists that explore, from the real server: by the SDK, the terminal, and any client of Triton."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from builder.serving import TritonServer
from client import InvalidInput, Recommendations, RecommenderClient
from client.__main__ import main
from tests.integration.tiny_repository import write_tiny_repository

RATES = {"greedy": 0.9, "softmax": 5.0, "thompson": 5.0}
KINDS = {"greedy": "exact", "softmax": "exact", "thompson": "estimated", "ucb": "deterministic"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("models")
    write_tiny_repository(repository, layout="fused")
    with TritonServer(repository) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(server.grpc_address, timeout=30) as made:
        yield made


def shown(found: Recommendations) -> tuple[tuple[str, ...], list[float]]:
    assert found.propensities is not None
    return found.ids, found.propensities.tolist()


@pytest.mark.parametrize("method", KINDS)
def test_the_id_of_a_request_decides(client: RecommenderClient, method: Any) -> None:
    rate = RATES.get(method, 1.0)

    def ask(name: str | None) -> Recommendations:
        return client.recommend(["i3"], explore=method, explore_rate=rate, top_k=5, request_id=name)

    first = ask("a")
    assert first.propensity_kind == KINDS[method]
    assert shown(ask("a")) == shown(first)
    assert min(shown(first)[1]) > 0
    different = {ask(None).ids for _ in range(10)}
    assert (len(different) > 1) == (method in RATES)
    by_many = [
        each.result.ids
        for each in client.recommend_many([["i3"]] * 10, explore=method, explore_rate=rate)
        if each.result is not None
    ]
    assert (len(set(by_many)) > 1) == (method in RATES)


def test_a_plain_request_and_the_terminal_say_the_same(
    server: TritonServer, client: RecommenderClient, capsys: pytest.CaptureFixture[str]
) -> None:
    history = InferInput("HISTORY", [1, 0], "BYTES")
    history.set_data_from_numpy(np.zeros((1, 0), object))
    with InferenceServerClient(server.grpc_address) as plain:
        answer = plain.infer(
            "recommend",
            [history],
            request_id="a",
            parameters={"explore": "softmax", "explore_rate": 5.0, "top_k": 5},
        )
    found = client.recommend([], explore="softmax", explore_rate=5, top_k=5, request_id="a")
    assert tuple(each.decode() for each in answer.as_numpy("ITEM")[0]) == found.ids
    assert answer.as_numpy("PROPENSITY")[0].tolist() == shown(found)[1]
    assert answer.as_numpy("PROPENSITY_KIND").tolist() == [[b"exact"]]
    asked = ["--explore", "softmax", "--explore-rate", "5", "--top-k", "5", "--json"]
    assert main(["recommend", *asked, "--target", server.grpc_address]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["propensity_kind"] == "exact"
    assert len(told["propensities"]) == 5


def test_limits_and_pins_hold(client: RecommenderClient) -> None:
    for name in "abcde":
        found = client.recommend(
            [], explore="greedy", explore_rate=1, pins='"i7" at 2', top_k=4, request_id=name
        )
        assert found.ids[1] == "i7"
        assert shown(found)[1][1] == 1


def test_a_rate_that_is_no_probability_says_so(client: RecommenderClient) -> None:
    with pytest.raises(InvalidInput, match=r"explore_rate is 2\.0; with explore 'greedy'"):
        client.recommend([], explore="greedy", explore_rate=2)
