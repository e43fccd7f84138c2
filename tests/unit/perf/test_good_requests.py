from __future__ import annotations

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from builder.repository.golden import GoldenRequest
from perf.good_requests import (
    answer_of,
    difference,
    good_requests,
    key_of,
    names_of,
    of_events,
)
from perf.wire_requests import framed

RECOMMEND = GoldenRequest("recommend", {"HISTORY": [["a", "b"]]}, {}, {"top_k": 2})


def test_a_golden_request_is_sent_with_each_set_of_optional_inputs() -> None:
    requests = list(good_requests(RECOMMEND))
    assert key_of(requests[0]) == ("recommend", frozenset({"HISTORY"}))
    assert len({key_of(request) for request in requests}) == len(requests) == 2**5
    assert {request.parameters["top_k"].int64_param for request in requests} == {2}
    shapes = {each.name: list(each.shape) for request in requests for each in request.inputs}
    assert shapes == {
        "HISTORY": [1, 2],
        "HISTORY_TEXT": [1, 2],
        "HISTORY_ACTION": [1, 2],
        "HISTORY_TIME": [1, 2],
        "PROFILE": [1, 1],
        "EXCLUDE": [1, 0],
    }
    sizes = {
        each.name: len(raw)
        for request in requests
        for each, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    assert (sizes["HISTORY_TIME"], sizes["HISTORY_TEXT"], sizes["EXCLUDE"]) == (16, 8, 0)


def test_a_golden_request_without_values_has_the_shape_of_none() -> None:
    (request, *_) = good_requests(GoldenRequest("recommend", {"HISTORY": [[]]}, {}))
    assert list(request.inputs[0].shape) == [1, 0]


def test_events_are_of_known_items_and_of_one_that_is_not() -> None:
    nothing = GoldenRequest("observe", {"ITEM": [[]]}, {})
    (found,) = of_events([RECOMMEND, nothing])
    assert found.inputs["ITEM"][0][:2] == ["a", "b"]
    numbers = {name: output.values for name, output in found.outputs.items()}
    assert numbers == {"ACCEPTED": (2,), "UNKNOWN": (1,), "REPEATED": (0,)}
    requests = list(good_requests(found))
    assert len({key_of(request) for request in requests}) == len(requests) == 2**3
    assert {tuple(each.shape) for request in requests for each in request.inputs} == {(1, 3)}


def test_there_are_no_events_without_a_model_that_takes_them() -> None:
    assert list(of_events([RECOMMEND])) == []


def test_names_are_what_golden_requests_call_items() -> None:
    assert names_of([RECOMMEND]) == [b"a", b"b"]


def test_an_answer_is_read() -> None:
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name="ITEM", datatype="BYTES", shape=[1, 2])
    response.outputs.add(name="LOGIT", datatype="FP32", shape=[1, 2])
    response.raw_output_contents.extend(
        [framed(b"x", b"y"), np.array([1, 2], np.float32).tobytes()]
    )
    answer = answer_of(response.SerializeToString())
    assert answer["ITEM"].tolist() == [[b"x", b"y"]]
    assert answer["LOGIT"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("items", "logit", "told"),
    [
        ([b"x"], [1.0], ""),
        ([b"x"], [1.0000001], ""),
        ([b"x"], [1.1], "LOGIT is"),
        ([b"x"], [float("nan")], "LOGIT is"),
        ([b"y"], [1.0], "ITEM is"),
        ([b"x"], [1.0, 1.0], "LOGIT is"),
    ],
)
def test_a_difference_is_told(items: list[bytes], logit: list[float], told: str) -> None:
    expected = {"ITEM": np.array([b"x"], np.object_), "LOGIT": np.array([1], np.float32)}
    found = {"ITEM": np.array(items, np.object_), "LOGIT": np.array(logit, np.float32)}
    assert difference(found, expected).startswith(told)
    assert bool(difference(found, expected)) == bool(told)


def test_an_output_that_is_missing_is_a_difference() -> None:
    assert difference({}, {"LOGIT": np.zeros(1, np.float32)}) == "has [] and not ['LOGIT']"
