"""What arrives at a real gRPC server, and what its well-formed answers become."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client import (
    ClientClosed,
    Encoding,
    Event,
    InvalidInput,
    Item,
    Ranking,
    Recommendations,
    RecommenderClient,
    ScoredItem,
)
from tests.unit.client.conftest import Triton

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = TEXT.filter(bool)


def parameters(request: Any) -> dict[str, Any]:
    return {
        name: (
            value.WhichOneof("parameter_choice"),
            getattr(value, value.WhichOneof("parameter_choice")),
        )
        for name, value in request.parameters.items()
        if name != "timeout"
    }


def test_rank_sends_ids_and_its_option(client: RecommenderClient, triton: Triton) -> None:
    client.rank(["50", "172"], ["181", "1", "7"], on_unknown="skip")
    assert triton.requests[0].model_name == "rank"
    assert triton.inputs() == {
        "HISTORY": ("BYTES", [1, 2], ["50", "172"]),
        "CANDIDATE": ("BYTES", [1, 3], ["181", "1", "7"]),
    }
    assert parameters(triton.requests[0]) == {"on_unknown": ("string_param", "skip")}


def test_texts_actions_and_times_travel_where_some_entry_has_them(
    client: RecommenderClient, triton: Triton
) -> None:
    client.rank(
        [Event("50", "buy", 7), Event(Item("51", "a text"), time=8)], ["181", Item("1", "neu ü")]
    )
    assert triton.inputs() == {
        "HISTORY": ("BYTES", [1, 2], ["50", "51"]),
        "HISTORY_TEXT": ("BYTES", [1, 2], ["", "a text"]),
        "HISTORY_ACTION": ("BYTES", [1, 2], ["buy", ""]),
        "HISTORY_TIME": ("INT64", [1, 2], [7, 8]),
        "CANDIDATE": ("BYTES", [1, 2], ["181", "1"]),
        "CANDIDATE_TEXT": ("BYTES", [1, 2], ["", "neu ü"]),
    }


def test_columns_without_a_value_stay_at_home(client: RecommenderClient, triton: Triton) -> None:
    client.rank(["50", Item("51"), Event("52"), Event(Item("53", ""))], [Item("1"), Item("2", "")])
    assert triton.inputs().keys() == {"HISTORY", "CANDIDATE"}


def test_zero_is_a_time(client: RecommenderClient, triton: Triton) -> None:
    client.rank([Event("50", time=0)], ["a"])
    assert triton.inputs()["HISTORY_TIME"] == ("INT64", [1, 1], [0])


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (-5, -5),
        (np.int64(2**62), 2**62),
        (datetime(1970, 1, 1, 0, 0, 9, 999_999, tzinfo=timezone.utc), 9),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone.utc), -1),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
    ],
)
def test_times_become_unix_seconds(
    client: RecommenderClient, triton: Triton, time: int | datetime, seconds: int
) -> None:
    client.rank([Event("50", time=time)], ["a"])
    assert triton.inputs()["HISTORY_TIME"] == ("INT64", [1, 1], [seconds])


def test_a_new_user_is_asked_about_too(client: RecommenderClient, triton: Triton) -> None:
    client.rank([], ["a"])
    assert triton.inputs()["HISTORY"] == ("BYTES", [1, 0], [])
    assert triton.requests[0].raw_input_contents[0] == b""


def test_no_candidates_need_no_answer(client: RecommenderClient, triton: Triton) -> None:
    """Some engines take no empty tensor: the same comes back whatever the target."""
    ranking = client.rank(["50", Item("new", "a text")], [])
    assert not triton.requests
    assert list(ranking) == ranking.sorted() == []
    assert ranking.interests.shape == ranking.logits.shape == (0,)
    assert ranking.logits.dtype == np.float32
    assert (ranking.skipped, ranking.truncated) == (0, 0)
    with pytest.raises(InvalidInput, match="history"):
        client.rank([""], [])
    client.close()
    with pytest.raises(ClientClosed):
        client.rank([], [])


def test_recommend_sends_typed_options(client: RecommenderClient, triton: Triton) -> None:
    top_k: Any = np.int64(3)
    client.recommend(["50"], top_k=top_k, exclude=["9", Item("8", "x")], include_seen=True)
    assert triton.requests[0].model_name == "recommend"
    assert triton.inputs() == {
        "HISTORY": ("BYTES", [1, 1], ["50"]),
        "EXCLUDE": ("BYTES", [1, 2], ["9", "8"]),
    }
    assert parameters(triton.requests[0]) == {
        "top_k": ("int64_param", 3),
        "include_seen": ("bool_param", True),
    }


def test_what_is_left_out_is_not_sent(client: RecommenderClient, triton: Triton) -> None:
    client.recommend([])
    assert triton.inputs() == {"HISTORY": ("BYTES", [1, 0], [])}
    assert not parameters(triton.requests[0])


def test_encode_sends_one_text_a_row(client: RecommenderClient, triton: Triton) -> None:
    client.encode(iter(["one", "", "drei ß"]))
    assert triton.requests[0].model_name == "encode"
    assert triton.inputs() == {"TEXT": ("BYTES", [3, 1], ["one", "", "drei ß"])}
    assert not parameters(triton.requests[0])


@given(history=st.lists(IDS, max_size=6), candidates=st.lists(st.builds(Item, IDS, TEXT)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(
    client: RecommenderClient, triton: Triton, history: list[str], candidates: list[Item]
) -> None:
    triton.requests.clear()
    ranking = client.rank(history, candidates)
    if not candidates:
        assert not triton.requests
        return
    sent = triton.inputs()
    assert sent["HISTORY"][2] == history
    assert sent["CANDIDATE"][2] == [item.id for item in candidates] == list(ranking.items)
    assert sent.get("CANDIDATE_TEXT", (0, 0, [""] * len(candidates)))[2] == [
        item.text for item in candidates
    ]


def test_a_ranking_keeps_the_order_asked(client: RecommenderClient) -> None:
    ranking = client.rank(["50"], ["a", "b", "c"])
    assert isinstance(ranking, Ranking)
    assert ranking.items == ("a", "b", "c")
    assert ranking.logits.tolist() == [0, 1, 2]
    assert ranking.logits.dtype == ranking.interests.dtype == np.float32
    assert (ranking.skipped, ranking.truncated) == (1, 2)
    assert ranking[0] == ScoredItem("a", 0.5, 0.0)
    assert ranking[-1].id == "c"
    assert [item.id for item in ranking] == ["a", "b", "c"]
    assert [item.id for item in ranking[1:]] == ["b", "c"]
    assert [item.id for item in ranking.sorted()] == ["c", "b", "a"]
    with pytest.raises(IndexError):
        ranking[3]


def test_skipped_candidates_sort_last_and_ties_keep_their_order(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    logits = np.array([[np.nan, -1, 2, -1, np.nan, -np.inf]], np.float32)
    count = np.zeros((1, 1), np.int32)
    triton.answer = lambda _: respond(
        INTEREST=1 / (1 + np.exp(-logits)), LOGIT=logits, SKIPPED=count, TRUNCATED=count
    )
    ranking = client.rank([], list("abcdef"), on_unknown="skip")
    assert [item.id for item in ranking.sorted()] == list("cbdfae")
    assert np.isnan(ranking.sorted()[-1].interest)
    assert np.isnan(ranking[0].logit)


def test_results_cannot_be_changed(client: RecommenderClient) -> None:
    ranking = client.rank([], ["a"])
    with pytest.raises(ValueError, match="read-only"):
        ranking.logits[0] = 9
    with pytest.raises(AttributeError):
        ranking.skipped = 9  # type: ignore[misc]


def test_recommendations_are_a_sequence(client: RecommenderClient) -> None:
    recommendations = client.recommend(["50"], top_k=2)
    assert isinstance(recommendations, Recommendations)
    assert len(recommendations) == 2
    assert [item.id for item in recommendations] == ["item-0", "item-1"]
    assert recommendations.ids == recommendations.items == ("item-0", "item-1")
    assert recommendations[0].interest == 0.5
    assert (recommendations.skipped, recommendations.truncated) == (1, 2)


def test_fewer_recommendations_than_asked_are_fine(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    none = np.zeros((1, 0), np.float32)
    count = np.zeros((1, 1), np.int32)
    triton.answer = lambda _: respond(
        ITEM=np.zeros((1, 0), object), INTEREST=none, LOGIT=none, SKIPPED=count, TRUNCATED=count
    )
    assert list(client.recommend([])) == []


def test_encoding_has_a_vector_and_a_flag_a_text(client: RecommenderClient) -> None:
    encoding = client.encode(["one", "two"])
    assert isinstance(encoding, Encoding)
    assert encoding.vectors.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert encoding.vectors.dtype == np.float32
    assert encoding.truncated.tolist() == [False, True]


def test_tensors_that_a_newer_server_adds_are_ignored(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    def answer(request: Any) -> Any:
        response = type(triton).answer(request)
        response.MergeFrom(respond(EXPLANATION=np.array([["because"]], object)))
        return response

    triton.answer = answer
    assert len(client.rank([], ["a"])) == 1


def test_a_profile_travels_as_json(client: RecommenderClient, triton: Triton) -> None:
    profile: dict[str, Any] = {
        "age": 24,
        "score": np.float32(0.5),
        "visits": np.int64(3),
        "größe": "ü",
    }
    client.rank([], ["a"], profile=profile)
    client.recommend([], profile={"age": 24})
    first, second = (triton.inputs(number)["PROFILE"] for number in (0, 1))
    assert first[:2] == second[:2] == ("BYTES", [1, 1])
    assert json.loads(first[2][0]) == {"age": 24, "score": 0.5, "visits": 3, "größe": "ü"}
    assert second[2] == ['{"age": 24}']


def test_a_profile_that_was_needed_once_goes_along_empty_ever_after(
    client: RecommenderClient, triton: Triton
) -> None:
    client.recommend([])
    client.recommend([], profile={})
    assert not any("PROFILE" in triton.inputs(number) for number in (0, 1))
    client.recommend([], profile={"age": 24})
    client.rank([], ["a"])
    assert triton.inputs(3)["PROFILE"] == ("BYTES", [1, 1], [""])


def test_each_user_of_many_has_a_profile(client: RecommenderClient, triton: Triton) -> None:
    histories = [["1"], ["2"], ["3"]]
    answers = client.recommend_many(histories, profiles=[{"age": 1}, None, {"age": 3}])
    assert [each.user for each in answers] == histories
    sent: dict[tuple[str, ...], Any] = {
        tuple(triton.inputs(number)["HISTORY"][2]): triton.inputs(number).get("PROFILE")
        for number in range(3)
    }
    assert sent[("1",)][2] == ['{"age": 1}']
    assert sent[("3",)][2] == ['{"age": 3}']
    assert sent[("2",)] is None or sent[("2",)][2] == [""]
    ranked = client.rank_many([(["4"], ["a"])], profiles=iter([{"age": 4}]))
    assert [each.user for each in ranked] == [(["4"], ["a"])]
    assert triton.inputs(3)["PROFILE"][2] == ['{"age": 4}']


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ([{"age": 1}], "profiles is 1: there are more users"),
        ([{"age": 1}] * 3, "profiles is 2: there are fewer users"),
        (iter([]), "profiles is 0: there are more users"),
        ({"age": 1}, r"profiles is \{'age': 1\}: pass a list"),
    ],
)
def test_profiles_that_are_not_as_many_as_users_are_refused(
    client: RecommenderClient, profiles: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(client.recommend_many([["1"], ["2"]], profiles=profiles))
