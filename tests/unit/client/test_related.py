"""Items that are like another one: what is sent, and what is read of the answer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from client import InvalidInput, Item, RecommenderClient
from client.__main__ import main
from client.testing import FakeServer
from tests.unit.client.conftest import Triton


@pytest.fixture
def server() -> Any:
    with FakeServer(["a", "b", "c", "d"]) as running:
        yield running


@pytest.fixture
def asking(server: FakeServer) -> Any:
    with RecommenderClient(server.address, timeout=60) as client:
        yield client


def sent(server: FakeServer) -> dict[str, Any]:
    options = dict(server.requests[-1].options)
    options.pop("timeout", None)
    return options


def test_it_takes_the_options_of_recommend_but_those_that_it_gives() -> None:
    related, recommend = (
        inspect.signature(getattr(RecommenderClient, name)).parameters
        for name in ("related", "recommend")
    )
    assert set(recommend) - set(related) == {"like", "like_text", "query"}
    assert set(related) - set(recommend) == {"item"}
    many = inspect.signature(RecommenderClient.related_many).parameters
    assert "top_k" in many
    assert "like" not in many


def test_an_item_is_sent_as_an_option(server: FakeServer, asking: RecommenderClient) -> None:
    found = asking.related("b", history=["a"], exclude=["d"], top_k=3)
    assert found.ids == ("c",)
    assert sent(server) == {"like": "b", "top_k": 3}
    assert server.requests[-1].inputs == {"HISTORY": ["a"], "EXCLUDE": ["d"]}
    assert found.similarities is not None
    assert found.similarities.tolist() == [0.5]
    assert not found.similarities.flags.writeable


def test_the_text_of_an_item_goes_along(server: FakeServer, asking: RecommenderClient) -> None:
    asking.related(Item("new", "a text"))
    assert sent(server) == {"like": "new", "like_text": "a text"}


def test_a_search_is_an_option_of_recommend(server: FakeServer, asking: RecommenderClient) -> None:
    assert asking.recommend(["a"], query="space war").similarities is not None
    assert sent(server) == {"query": "space war"}


def test_other_lists_have_no_similarity(asking: RecommenderClient) -> None:
    assert asking.recommend(["a"]).similarities is None


def test_what_is_similar_may_be_not_known(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    one = np.zeros((1, 1), np.int32)
    scores = np.ones((1, 1), np.float32)
    triton.answer = lambda _: respond(
        ITEM=np.array([["a"]], object),
        INTEREST=scores,
        LOGIT=scores,
        SKIPPED=one,
        TRUNCATED=one,
        SIMILARITY=np.array([[-np.inf]], np.float32),
    )
    found = client.related("b")
    assert found.similarities is not None
    assert np.isneginf(found.similarities).all()


def test_a_stream_of_items(server: FakeServer, asking: RecommenderClient) -> None:
    answers = list(asking.related_many(["a", Item("new", "a text")], top_k=2))
    assert [each.user for each in answers] == ["a", Item("new", "a text")]
    assert [each.result.ids for each in answers if each.result] == [("b", "c"), ("a", "b")]
    (failed,) = asking.related_many([""], on_error="return")
    assert isinstance(failed.error, InvalidInput)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("", "an item id is not empty"),
        (5, "pass a str or an Item"),
        (Item("a", 5), "item.text"),  # type: ignore[arg-type]
        ("\ud800", "half of a surrogate pair"),
        (Item("a", "\ud800"), r"item\.text.*half of a surrogate pair"),
    ],
)
def test_what_is_no_item_is_refused(
    server: FakeServer, asking: RecommenderClient, item: Any, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        asking.related(item)
    assert not server.requests


def test_the_command(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--target", server.address]
    assert main(["related", "b", "--top-k", "1", "--history", "a", *at]) == 0
    assert sent(server) == {"like": "b", "top_k": 1}
    assert "similarities: 0.5000" in capsys.readouterr().out
    assert main(["related", "new", "--text", "a text", "--json", *at]) == 0
    assert sent(server) == {"like": "new", "like_text": "a text"}
    found = json.loads(capsys.readouterr().out)
    assert found["similarities"] == [0.5] * 4
    assert main(["recommend", "--query", "space war", *at]) == 0
    assert sent(server) == {"query": "space war"}
