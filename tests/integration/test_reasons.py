"""Reasons from the real tritonserver, in both layouts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from builder.serving import TritonServer
from client import Event, Item, Reason, Recommendations, RecommenderClient
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.shared import first_of

HISTORY = [Event("i3", action="view"), Event(Item("new", "a b")), Event("i5"), Event("gone")]


@pytest.fixture(scope="module", params=first_of(["fused", "ensemble"]))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    layout: Layout = request.param
    repository = tmp_path_factory.mktemp("reasons") / layout
    write_tiny_repository(repository, layout=layout)
    with TritonServer(repository) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(server.grpc_address, timeout=30) as connected:
        yield connected


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


def test_a_ranked_text_tells_its_words(client: RecommenderClient) -> None:
    """The logit of a text is the sum of its words here: 5 of a story, 4 of a toy, 1 of others."""
    history = HISTORY[:1]
    candidates: list[str | Item] = ["i4", Item("new", "a toy story"), "gone"]
    plain = client.rank(history, candidates, on_unknown="skip")
    assert plain.reasons is None
    found = client.rank(history, candidates, on_unknown="skip", explain=True)
    assert found.logits[:2].tolist() == plain.logits[:2].tolist()
    assert found.reasons is not None
    known, text, skipped = found.reasons
    assert (known.words, skipped) == ((), Reason())
    assert [(each.word, each.effect) for each in text.words] == [
        ("story", 5), ("toy", 4), ("a", 1),
    ]  # fmt: skip
    assert text.sentence({}) == 'because of "story", "toy" and "a"'
    for reason, logit in zip(found.reasons[:2], found.logits[:2], strict=True):
        assert sum(reason.terms.values()) == pytest.approx(logit, abs=1e-3)


def test_words_come_in_a_plain_request_too(server: TritonServer) -> None:
    sent = {
        "HISTORY": ["i3"], "CANDIDATE": ["x", "i4"], "CANDIDATE_TEXT": ["toy", ""],
    }  # fmt: skip
    with grpc.InferenceServerClient(server.grpc_address) as plain:
        answer = plain.infer("rank", _tensors(sent), parameters={"explain": True})
        found = [json.loads(each) for each in answer.as_numpy("REASON")[0]]
        assert found[0]["words"] == [{"word": "toy", "effect": 4.0}]
        assert "words" not in found[1]
        assert plain.infer("rank", _tensors(sent)).as_numpy("REASON") is None


def test_the_chain_of_texts_alone_refuses_and_says_who_gives_reasons(server: TritonServer) -> None:
    sent = {"HISTORY_TEXT": ["toy"], "CANDIDATE_TEXT": ["a toy"]}
    with grpc.InferenceServerClient(server.grpc_address) as plain:
        if not plain.is_model_ready("rank_texts"):
            return  # of the other layout
        with pytest.raises(InferenceServerException, match=r"gives no reasons.*ask the model rank"):
            plain.infer("rank_texts", _tensors(sent), parameters={"explain": True})


def _tensors(sent: dict[str, list[str]]) -> list[Any]:
    found = []
    for name, values in sent.items():
        tensor = grpc.InferInput(name, [1, len(values)], "BYTES")
        tensor.set_data_from_numpy(np.array([[each.encode() for each in values]], np.object_))
        found.append(tensor)
    return found


def _check(found: Recommendations) -> None:
    assert found.reasons is not None
    assert len(found.reasons) == len(found)
    named = set()
    for item, reason in zip(found, found.reasons, strict=True):
        assert sum(reason.terms.values()) == pytest.approx(item.logit, abs=1e-3)
        named |= {(event.place, event.id) for event in reason.events}
    assert named <= {(0, "i3"), (1, "new"), (2, "i5")}
    assert named or found.skipped == 0
