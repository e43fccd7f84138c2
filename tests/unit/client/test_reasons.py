"""Why an item is recommended: what is read of an answer, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from client import (
    Event,
    Item,
    MalformedResponse,
    Reason,
    ReasonEvent,
    RecommenderClient,
)
from client.__main__ import main
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
    "events": [{"place": 1, "effect": 0.5}, {"place": 0, "id": "50", "effect": 0.25}],
    "terms": {"network": 1.5, "linear": -0.5},
    "neighbours": ["7"],
    "rules": ["boost *1.5"],
    "of a later version": None,
}


def written(*reasons: Any) -> dict[str, Any]:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in reasons]
    return {**LIST, "REASON": np.array([texts], object)}


def test_each_item_has_its_reason(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**written(WRITTEN, {"fallback": True}))
    history: list[str | Item | Event] = ["50", Event(Item("new", "a text"), action="buy")]
    found = client.recommend(history, explain=True)
    reason = Reason(
        (ReasonEvent(1, "new", 0.5), ReasonEvent(0, "50", 0.25)),
        {"network": 1.5, "linear": -0.5},
        ("7",),
        ("boost *1.5",),
    )
    assert found.reasons == (reason, Reason(fallback=True))
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
            "a: because of 60 +0.50, 50 +0.25; like 7; moved by boost *1.5; "
            "logit: network +1.50, linear -0.50"
        ),
        "b: popular",
    ]
    assert main([*at, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["reasons"]
    assert found[0]["events"][0] == {"place": 1, "id": "60", "effect": 0.5}
    assert found[1]["fallback"] is True
