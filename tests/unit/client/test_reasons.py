"""Why an item is recommended: what is read of an answer, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client import (
    Event,
    Item,
    MalformedResponse,
    Ranking,
    Reason,
    ReasonEvent,
    ReasonWord,
    RecommenderClient,
)
from client.__main__ import main
from client._calls import _join_rankings
from client.testing import FakeServer
from tests.unit.client.conftest import Triton

ONE = np.ones((1, 1), np.int32)
LIST = {
    "ITEM": np.array([["a", "b"]], object),
    "INTEREST": np.ones((1, 2), np.float32),
    "LOGIT": np.ones((1, 2), np.float32),
    "SKIPPED": ONE,
    "TRUNCATED": ONE,
}
WRITTEN = {
    "events": [
        {"place": 1, "effect": 0.5, "words": [{"word": "toy", "effect": 0.25}]},
        {"place": 0, "id": "50", "effect": 0.25},
    ],
    "terms": {"network": 1.5, "linear": -0.5},
    "neighbours": ["7"],
    "rules": ["boost *1.5"],
    "words": [{"word": "robots", "effect": 1.5}, {"word": "space", "effect": 1}],
    "of a later version": None,
}


REASON = Reason(
    (ReasonEvent(1, "new", 0.5, (ReasonWord("toy", 0.25),)), ReasonEvent(0, "50", 0.25)),
    {"network": 1.5, "linear": -0.5},
    ("7",),
    ("boost *1.5",),
    words=(ReasonWord("robots", 1.5), ReasonWord("space", 1.0)),
)


def written(*reasons: Any) -> dict[str, Any]:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in reasons]
    return {**LIST, "REASON": np.array([texts], object)}


def test_each_item_has_its_reason(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**written(WRITTEN, {"fallback": True}))
    history: list[str | Item | Event] = ["50", Event(Item("new", "a text"), action="buy")]
    found = client.recommend(history, explain=True)
    assert found.reasons == (REASON, Reason(fallback=True))
    (many,) = client.recommend_many([history], explain=True)
    assert many.result is not None
    assert many.result.reasons == found.reasons


def test_an_answer_without_reasons_has_none(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**LIST)
    assert client.recommend(["50"], explain=True).reasons is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (written("{"), r"REASON has shape \[1, 1\], \[1, 2\] is due"),
        (written("{", {}), "REASON cannot be read"),
        (written([], {}), "REASON cannot be read"),
        (written({"events": [{"place": 1, "effect": 1}]}, {}), "REASON cannot be read"),
        (written({"events": [{"place": -1, "effect": 1}]}, {}), "REASON cannot be read"),
        (written({"events": [{"place": "0", "effect": 1}]}, {}), "REASON cannot be read"),
        (written({"events": [{"place": 0}]}, {}), "REASON cannot be read"),
        (written({"terms": {"network": "much"}}, {}), "REASON cannot be read"),
        (written({"words": [{"word": "toy"}]}, {}), "REASON cannot be read"),
        (written({"words": ["toy"]}, {}), "REASON cannot be read"),
        ({**LIST, "REASON": np.ones((1, 2), np.float32)}, "REASON is FP32, BYTES is due"),
    ],
)
def test_what_is_no_reason(
    client: RecommenderClient,
    triton: Triton,
    respond: Callable[..., Any],
    wrong: dict[str, Any],
    says: str,
) -> None:
    triton.answer = lambda _: respond(**wrong)
    with pytest.raises(MalformedResponse, match=f"recommend: {says}"):
        client.recommend(["50"], explain=True)


def test_the_fake_server_gives_reasons(connect: type[RecommenderClient]) -> None:
    with FakeServer(["a", "b"]) as server, connect(server.address, timeout=60) as client:
        assert client.recommend(["x"]).reasons is None
        found = client.recommend(["w", "x", "y", "z"], explain=True)
        assert found.reasons is not None
        assert len(found.reasons) == len(found)
        for item, reason in zip(found, found.reasons, strict=True):
            assert [(each.place, each.id) for each in reason.events] == [
                (3, "z"), (2, "y"), (1, "x"),
            ]  # fmt: skip
            assert sum(reason.terms.values()) == pytest.approx(item.logit)


def test_the_terminal_shows_them(
    triton: Triton, respond: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    triton.answer = lambda _: respond(**written(WRITTEN, {"fallback": True}))
    at = ["recommend", "--history", "50,60", "--explain", "--target", triton.address]
    assert main(at) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        (
            "a: because of 60 +0.50 ('toy' +0.25), 50 +0.25; words 'robots' +1.50, 'space' +1.00; "
            "like 7; moved by boost *1.5; logit: network +1.50, linear -0.50"
        ),
        "b: popular",
    ]
    assert main([*at, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["reasons"]
    toy = {"word": "toy", "effect": 0.25}
    assert found[0]["events"][0] == {"place": 1, "id": "60", "effect": 0.5, "words": [toy]}
    assert found[1]["fallback"] is True


RANKED = {
    "INTEREST": np.array([[0.25, 0.5]], np.float32),
    "LOGIT": np.array([[1, 2]], np.float32),
    "SKIPPED": ONE,
    "TRUNCATED": ONE,
    "REASON": np.array([[json.dumps(WRITTEN), "{}"]], object),
}


def test_each_candidate_has_its_reason(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**RANKED)
    history: list[str | Item | Event] = ["50", Event(Item("new", "a text"))]
    assert client.rank(history, ["a", "b"], explain=True).reasons == (REASON, Reason())
    triton.answer = lambda _: respond(**RANKED | {"REASON": np.array([["{", "{}"]], object)})
    with pytest.raises(MalformedResponse, match="rank: REASON cannot be read"):
        client.rank(history, ["a", "b"], explain=True)


def test_reasons_of_a_split_ranking_come_in_the_order_asked() -> None:
    def part(*reasons: Reason) -> Ranking:
        numbers = np.ones(len(reasons), np.float32)
        return Ranking(("x",) * len(reasons), numbers, numbers, 0, 0, reasons=reasons)

    first, second = part(REASON, Reason()), part(Reason(fallback=True))
    joined = _join_rankings([first, second], texts_of_user=0)
    assert joined.reasons == (REASON, Reason(), Reason(fallback=True))
    assert _join_rankings([first, replace(second, reasons=None)], texts_of_user=0).reasons is None


def test_the_fake_server_gives_reasons_of_a_ranking(connect: type[RecommenderClient]) -> None:
    with FakeServer(["a", "b"]) as server, connect(server.address, timeout=60) as client:
        assert client.rank(["x"], ["a"]).reasons is None
        found = client.rank(["x"], ["a", "b"], explain=True)
        assert found.reasons is not None
        assert [reason.events[0].id for reason in found.reasons] == ["x", "x"]


def test_the_terminal_shows_those_of_a_ranking_best_first(
    triton: Triton, respond: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    triton.answer = lambda _: respond(**RANKED)
    at = ["rank", "--history", "50,60", "--candidates", "a,b", "--explain"]
    assert main([*at, "--target", triton.address]) == 0
    shown = capsys.readouterr().out.splitlines()[-2:]
    assert shown[0] == "b: nothing is known of it"
    assert shown[1].startswith("a: because of 60 +0.50 ('toy' +0.25)")
    assert main([*at, "--target", triton.address, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in found["items"]] == ["b", "a"]
    assert [len(each["words"]) for each in found["reasons"]] == [0, 2]
