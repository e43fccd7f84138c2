"""What is refused before anything is sent: the server of these clients does not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

from client import Connection, Event, InvalidInput, Item, RecommenderClient, Unavailable

NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("history", "field", "says"),
    [
        ("50", "history", "a str is one value; pass a list"),
        (b"50", "history", "a bytes is one value"),
        (50, "history", "pass a list"),
        (None, "history", "pass a list"),
        (Event("50"), "history", "pass a list"),
        ({"50", "51"}, "history", "a set has no order"),
        (["50", 51], "history[1]", "always a str"),
        (["50", None], "history[1]", "a str, an Item or an Event"),
        ([b"50"], "history[0]", "always a str"),
        ([np.int64(50)], "history[0]", "always a str"),
        (["50", ""], "history[1]", "not empty"),
        ([Event("50"), Event("")], "history[1]", "not empty"),
        ([Item("")], "history[0]", "not empty"),
        ([Item(50)], "history[0].id", "is a str"),  # type: ignore[arg-type]
        ([Event(50)], "history[0].item", "a str or an Item"),  # type: ignore[arg-type]
        ([Event(Item(50))], "history[0].item.id", "is a str"),  # type: ignore[arg-type]
        ([Event(Item("50", 1))], "history[0].item.text", "a str or None"),  # type: ignore[arg-type]
        ([Event("50", action=1)], "history[0].action", "a str or None"),  # type: ignore[arg-type]
        (["a", "b\ud800"], "history[1]", "surrogate"),
        ([Item("a", "b\udfff")], "history[0]", "surrogate"),
        ([Event("a", action="\ud800")], "history[0]", "surrogate"),
        ([Event("50", time=NOW.replace(tzinfo=None))], "history[0].time", "without a time zone"),
        ([Event("50", time=1.5)], "history[0].time", "whole Unix seconds"),  # type: ignore[arg-type]
        ([Event("50", time="2020-01-01")], "history[0].time", "whole Unix seconds"),  # type: ignore[arg-type]
        ([Event("50", time=True)], "history[0].time", "whole Unix seconds"),
        ([Event("50", time=2**63)], "history[0].time", "whole Unix seconds"),
        (
            [Event("50", time=1), "51", Event("52", time=NOW)],
            "history[1].time",
            "2 of 3 events have a time; give one to all or to none",
        ),
    ],
)
def test_history(nowhere: RecommenderClient, history: Any, field: str, says: str) -> None:
    for call in (lambda: nowhere.rank(history, ["1"]), lambda: nowhere.recommend(history)):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field
        assert str(caught.value).startswith(f"{field} is ")
        assert says in str(caught.value)
        assert caught.value.code is None


@pytest.mark.parametrize(
    ("items", "position", "says"),
    [
        ("50", "", "a str is one value"),
        (50, "", "pass a list"),
        (Item("50"), "", "pass a list"),
        (["50", 51], "[1]", "a str or an Item"),
        ([Event("50")], "[0]", "a str or an Item"),
        (["50", ""], "[1]", "not empty"),
        ([Item("50", "x"), Item("")], "[1]", "not empty"),
        ([Item("50", b"x")], "[0].text", "a str or None"),  # type: ignore[arg-type]
        (["50", "\udc80"], "[1]", "surrogate"),
    ],
)
def test_candidates_and_exclude(
    nowhere: RecommenderClient, items: Any, position: str, says: str
) -> None:
    for field, call in (
        ("candidates", lambda: nowhere.rank([], items)),
        ("exclude", lambda: nowhere.recommend([], exclude=items)),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field + position
        assert says in str(caught.value)


@pytest.mark.parametrize("top_k", [0, -1, 2**31, 2**70, 2.0, "10", True, None])
def test_top_k(nowhere: RecommenderClient, top_k: Any) -> None:
    with pytest.raises(InvalidInput, match=r"top_k is .*positive int") as caught:
        nowhere.recommend([], top_k=top_k)
    assert (caught.value.field, caught.value.value) == ("top_k", top_k)


@pytest.mark.parametrize("flag", [1, 0, None, "yes", np.float32(1)])
def test_include_seen(nowhere: RecommenderClient, flag: Any) -> None:
    with pytest.raises(InvalidInput, match="include_seen"):
        nowhere.recommend([], include_seen=flag)


@pytest.mark.parametrize("on_unknown", ["Skip", "", None, True])
def test_on_unknown(nowhere: RecommenderClient, on_unknown: Any) -> None:
    with pytest.raises(InvalidInput, match="'error' or 'skip'"):
        nowhere.rank([], ["a"], on_unknown=on_unknown)


@pytest.mark.parametrize(
    ("texts", "field"),
    [("text", "texts"), ([], "texts"), (["a", 1], "texts[1]"), (["a", "\ud800"], "texts[1]")],
)
def test_texts(nowhere: RecommenderClient, texts: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        nowhere.encode(texts)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "timeout", ["1", b"1", True, float("nan"), float("inf"), float("-inf"), 1e12, [1]]
)
def test_timeout(nowhere: RecommenderClient, timeout: Any) -> None:
    calls = (
        lambda: nowhere.rank([], ["a"], timeout=timeout),
        lambda: nowhere.recommend([], timeout=timeout),
        lambda: nowhere.encode(["a"], timeout=timeout),
        lambda: nowhere.ready(timeout=timeout),
        lambda: nowhere.live(timeout=timeout),
        lambda: RecommenderClient(timeout=timeout),
    )
    for call in calls:
        with pytest.raises(InvalidInput, match="pass seconds, or None for no deadline"):
            call()


@pytest.mark.parametrize("size", [0, -1, 2**31, 1e6, True, None])
def test_max_message_bytes(size: Any) -> None:
    with pytest.raises(InvalidInput, match="below 2 GiB"):
        Connection(max_message_bytes=size)


def test_a_large_value_is_shortened_in_the_message_only(nowhere: RecommenderClient) -> None:
    text = "x" * 1_000_000 + "\ud800"
    with pytest.raises(InvalidInput) as caught:
        nowhere.encode([text])
    assert len(str(caught.value)) < 300
    assert caught.value.value == text


def test_a_string_that_numpy_made_is_a_string(nowhere: RecommenderClient) -> None:
    with pytest.raises(Unavailable):  # so it was sent
        nowhere.rank(np.array(["50", "51"]), np.array(["1"], object))


@pytest.mark.parametrize(
    ("profile", "field", "says"),
    [
        ("age=24", "profile", "pass a mapping"),
        ([("age", 24)], "profile", "pass a mapping"),
        ({1: 24}, "profile", "the name of a column is a str"),
        ({"age": None}, "profile['age']", "a str, an int or a float"),
        ({"age": True}, "profile['age']", "a str, an int or a float"),
        ({"age": [24]}, "profile['age']", "a str, an int or a float"),
        ({"age": b"24"}, "profile['age']", "a str, an int or a float"),
        ({"age": float("nan")}, "profile['age']", "leave out what is not known"),
        ({"age": np.float32("inf")}, "profile['age']", "leave out what is not known"),
        ({"name": "\ud800"}, "profile", "surrogate"),
        ({"\udfff": 1}, "profile", "surrogate"),
    ],
)
def test_profile(nowhere: RecommenderClient, profile: Any, field: str, says: str) -> None:
    for call in (
        lambda: nowhere.rank([], ["1"], profile=profile),
        lambda: nowhere.recommend([], profile=profile),
        lambda: list(nowhere.recommend_many([[]], profiles=[profile])),
        lambda: list(nowhere.rank_many([([], ["1"])], profiles=[profile])),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field
        assert says in str(caught.value)
        assert caught.value.code is None


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda client: client.recommend([], query="\ud83d"), "query"),
        (lambda client: client.recommend([], filter="a\udc00"), "filter"),
        (lambda client: client.recommend([], request_id="\ud800"), "request_id"),
        (lambda client: client.ready(models=["rank", "\ud800"]), "models[1]"),
        (lambda client: client.statistics(model="\ud800"), "model[0]"),
        (lambda client: client.statistics(model=5), "model[0]"),
    ],
)
def test_what_utf_8_cannot_carry(
    nowhere: RecommenderClient, call: Callable[[RecommenderClient], object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(nowhere)
    assert caught.value.field == field


def test_a_number_that_python_alone_can_hold(nowhere: RecommenderClient) -> None:
    with pytest.raises(InvalidInput, match="explore_rate"):
        nowhere.recommend([], explore="greedy", explore_rate=10**400)
    with pytest.raises(Unavailable):  # the default is a value
        nowhere.recommend([], explore="greedy", explore_rate=0.0)
