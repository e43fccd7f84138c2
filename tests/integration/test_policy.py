"""The policy of a repository, and rules that change, on a real server in both layouts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import InvalidInput, RecommenderClient
from model_repository.core.attributes import Attributes, NumberColumn, list_column, text_column
from model_repository.steps.catalogue_files import save_catalogue
from perf.serve import Served, served
from tests.integration.test_serving import until
from tests.integration.tiny_repository import CATALOGUE, Layout, catalogue, write_tiny_repository
from tests.shared import first_of

LAYOUTS: tuple[Layout, ...] = ("fused", "ensemble")
POLICY = {"default": {"top_k": 4}, "always": {"filter": "not id in @recalled"}}
KNOWN = replace(
    catalogue(),
    attributes=Attributes(
        {
            "stock": NumberColumn(np.arange(CATALOGUE) % 3.0),
            "genres": list_column([["even"] if item % 2 == 0 else [] for item in range(CATALOGUE)]),
            "brand": text_column([f"b{item // 10}" for item in range(CATALOGUE)]),
        }
    ),
)


@pytest.fixture(scope="module", params=first_of(LAYOUTS))
def rules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    write_tiny_repository(root / "models", layout=request.param)
    recommend = root / "models" / "recommend" / "1"
    save_catalogue(recommend, KNOWN)
    (recommend / "policy.json").write_text(json.dumps(POLICY))
    (root / "rules" / "lists").mkdir(parents=True)
    (root / "rules" / "lists" / "recalled.txt").write_text("i29\n")
    return root / "rules"


@pytest.fixture(scope="module")
def running(rules: Path) -> Iterator[Served]:
    with served(rules.parent / "models", "--rules", str(rules)) as found:
        yield found


@pytest.fixture
def client(running: Served) -> Iterator[RecommenderClient]:
    with RecommenderClient(running.address, timeout=20) as found:
        yield found


def test_rules_hold_beside_the_policy(client: RecommenderClient) -> None:
    assert client.recommend([]).ids == ("i28", "i27", "i26", "i25")
    found = client.recommend([], filter='"even" in genres and stock > 0', top_k=3)
    assert found.ids == ("i28", "i26", "i22")
    found = client.recommend(
        [],
        boost="*3 if stock == 0",
        limits="at most 2 per brand; at least 1 where brand == 'b0'",
        pins="i5 at 2",
        trace=True,
    )
    assert found.ids[1] == "i5"
    assert len([item for item in found.ids if int(item[1:]) >= 20]) <= 2
    assert found.trace is not None
    assert found.trace.items["i5"] == ["pin: rank 2"]
    assert found.trace.removed["i29"] == "filter"
    with pytest.raises(InvalidInput, match=r"no attribute 'stok'.*Did you mean stock"):
        client.recommend([], filter="stok > 0")


@pytest.mark.parametrize(
    "text", ["true", 'true) or (id == "i29"', 'id == "i29"', 'true; id == "i29"', '"']
)
def test_no_request_gets_around_the_policy(client: RecommenderClient, text: str) -> None:
    with suppress(InvalidInput):
        assert "i29" not in client.recommend([], filter=text).ids


def test_pages_have_each_item_once(client: RecommenderClient) -> None:
    page = client.recommend([], cursor="start", top_k=7)
    found = list(page.ids)
    while page.cursor:
        page = client.recommend([], cursor=page.cursor, top_k=7)
        found += page.ids
    assert found == [f"i{item}" for item in range(28, -1, -1)]


def test_rules_change_while_it_serves(
    client: RecommenderClient, rules: Path, running: Served
) -> None:
    best = client.recommend([], filter="stock > 0").ids
    assert best[0] == "i28"
    (rules / "new.csv").write_text("item_id,stock\ni28,0\n")
    (rules / "new.csv").rename(rules / "attributes.csv")
    until(lambda: client.recommend([], filter="stock > 0").ids[0] == "i26")
    (rules / "lists" / "recalled.txt").write_text("i26\n")
    until(lambda: client.recommend([]).ids[0] == "i29")
    assert running.restarts == 0
