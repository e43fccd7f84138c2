"""Reasons from the real tritonserver, in both layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.serving import TritonServer
from client import Event, Item, Recommendations, RecommenderClient
from tests.integration.tiny_repository import Layout, write_tiny_repository

HISTORY = [Event("i3", action="view"), Event(Item("new", "a b")), Event("i5"), Event("gone")]


@pytest.fixture(params=["fused", "ensemble"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecommenderClient]:
    layout: Layout = request.param
    write_tiny_repository(tmp_path / "repository", layout=layout)
    with (
        TritonServer(tmp_path / "repository") as server,
        RecommenderClient(server.grpc_address, timeout=30) as client,
    ):
        yield client


def test_an_item_comes_with_its_reason(client: RecommenderClient) -> None:
    plain = client.recommend(HISTORY, top_k=4)
    assert plain.reasons is None
    found = client.recommend(HISTORY, top_k=4, explain=True)
    assert (found.ids, found.skipped) == (plain.ids, 1)
    _check(found)
    # Beside others that ask for none, and for a new user.
    answers = list(client.recommend_many([HISTORY, [], HISTORY[:1]], top_k=4, explain=True))
    for answer in answers:
        assert answer.result is not None
        _check(answer.result)


def _check(found: Recommendations) -> None:
    assert found.reasons is not None
    assert len(found.reasons) == len(found)
    named = set()
    for item, reason in zip(found, found.reasons, strict=True):
        assert sum(reason.terms.values()) == pytest.approx(item.logit, abs=1e-3)
        named |= {(event.place, event.id) for event in reason.events}
    assert named <= {(0, "i3"), (1, "new"), (2, "i5")}
    assert named or found.skipped == 0
