"""Related items and a search from the real tritonserver, in both layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.serving import TritonServer
from client import InvalidInput, Item, RecommenderClient
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.shared import first_of


@pytest.fixture(params=first_of(["fused", "ensemble"]))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecommenderClient]:
    layout: Layout = request.param
    write_tiny_repository(tmp_path / "repository", layout=layout)
    with (
        TritonServer(tmp_path / "repository") as server,
        RecommenderClient(server.grpc_address, timeout=30) as client,
    ):
        yield client


def test_lists_are_held_to_an_item_a_text_or_a_query(client: RecommenderClient) -> None:
    found = client.related("i3", history=["i5"], top_k=4)
    assert len(found) == 4
    assert {"i3", "i5"}.isdisjoint(found.ids)
    assert found.similarities is not None
    assert (abs(found.similarities) <= 1 + 1e-5).all()
    assert client.recommend(["i5"], like="i3", top_k=4).ids == found.ids
    by_text = client.related(Item("new", "a b"), top_k=4)
    searched = client.recommend(["i5"], query="a b", top_k=4)
    assert len(by_text) == 4
    assert len(searched) == 4
    assert {int(item[1:]) % 2 for item in searched.ids} == {1}
    # Requests of all kinds go in one batch, and some of them wait for the encoder.
    items: list[str | Item] = ["i3", Item("new", "a b"), "i3"] * 4
    answers = list(client.related_many(items, top_k=4))
    alone = [client.related(item, top_k=4).ids for item in items[:2]]
    assert [each.result.ids for each in answers if each.result] == [
        alone[0],
        alone[1],
        alone[0],
    ] * 4
    with pytest.raises(InvalidInput, match="like is 'nobody', which is not in the catalogue"):
        client.related("nobody")
