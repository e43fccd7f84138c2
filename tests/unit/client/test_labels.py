"""What a classifier's labels are called, and which of them apply; through both clients."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from client import MalformedResponse, RecommenderClient, Unsupported
from tests.unit.client.conftest import Triton

NAMED = {"labels": '["no", "ja ü"]', "activation": "softmax"}


@pytest.mark.parametrize(
    ("activation", "predicted"),
    [
        ("softmax", [("ja ü",), ("no",), ("no",)]),
        ("sigmoid", [("ja ü",), ("no",), ()]),
    ],
)
def test_the_activation_says_which_labels_apply(
    client: RecommenderClient, triton: Triton, activation: str, predicted: list[tuple[str, ...]]
) -> None:
    triton.parameters = {**NAMED, "activation": activation}
    found = client.classify(["a", "b", "c"])
    assert found.labels == ("no", "ja ü")
    assert found.activation == activation
    assert found.predicted() == predicted


def test_a_regression_predicts_no_labels(client: RecommenderClient, triton: Triton) -> None:
    triton.parameters = {**NAMED, "activation": "none"}
    with pytest.raises(Unsupported, match="regression predicts values"):
        client.classify(["a"]).predicted()


def test_each_version_is_asked_for_once(client: RecommenderClient, triton: Triton) -> None:
    triton.parameters = NAMED
    for _ in range(3):
        client.classify(["a"])
    assert [each.version for each in triton.config_requests] == ["7"]

    def newer(request: Any) -> Any:
        answer = type(triton).answer(request)
        answer.model_version = "8"
        return answer

    triton.answer = newer
    triton.parameters = {**NAMED, "labels": '["x", "y"]'}
    assert client.classify(["a"]).labels == ("x", "y")
    assert [each.version for each in triton.config_requests] == ["7", "8"]


def test_names_that_the_server_keeps_secret(client: RecommenderClient, triton: Triton) -> None:
    triton.config_abort = grpc.StatusCode.PERMISSION_DENIED
    for _ in range(2):
        found = client.classify(["a"])
        assert found.labels == ("LABEL_0", "LABEL_1")
        assert found.activation is None
        with pytest.raises(Unsupported, match="does not tell how"):
            found.predicted()
    assert len(triton.config_requests) == 1


def test_a_server_that_lacks_the_version_is_not_remembered(
    client: RecommenderClient, triton: Triton
) -> None:
    triton.parameters = NAMED
    triton.config_abort = grpc.StatusCode.NOT_FOUND  # of another server, while versions roll out
    assert client.classify(["a"]).labels == ("LABEL_0", "LABEL_1")
    triton.config_abort = None
    assert client.classify(["a"]).labels == ("no", "ja ü")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "no labels or no activation"),
        ({**NAMED, "labels": "no, yes"}, "no labels or no activation"),
        ({**NAMED, "labels": '{"0": "no"}'}, "no labels or no activation"),
        ({**NAMED, "labels": "[0, 1]"}, "no labels or no activation"),
        ({**NAMED, "activation": "tanh"}, "no labels or no activation"),
        ({**NAMED, "labels": '["a", "b", "c"]'}, "2 probabilities a text and 3 labels"),
    ],
)
def test_a_configuration_that_does_not_say(
    client: RecommenderClient, triton: Triton, parameters: dict[str, Any], says: str
) -> None:
    triton.parameters = parameters
    with pytest.raises(MalformedResponse, match=says):
        client.classify(["a"])


def test_parts_of_one_call_that_two_versions_answered(
    client: RecommenderClient, triton: Triton
) -> None:
    triton.parameters = NAMED
    triton.limit = 2

    def answer(request: Any) -> Any:
        found = type(triton).answer(request)
        found.model_version = str(request.inputs[0].shape[0])  # the last part is shorter
        return found

    triton.answer = answer
    assert client.classify(["a"] * 4).probabilities.shape == (4, 2)
    with pytest.raises(MalformedResponse, match="versions 1, 2 answered parts of one call"):
        client.classify(["a"] * 5)
