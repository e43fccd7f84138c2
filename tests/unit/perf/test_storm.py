from __future__ import annotations

import threading

import grpc
import pytest
from tritonclient.grpc import service_pb2

from client.testing import FakeServer
from perf.load import infer_request
from perf.storm import Arrivals, Outcome, storm, with_parameters

PATIENT = 30.0
REQUEST = with_parameters(infer_request("recommend", {"HISTORY": ["a"]}), PATIENT, background=True)


def test_how_requests_end_is_counted() -> None:
    with FakeServer(["a", "b"]) as server:
        (found,) = storm(server.address, [Arrivals([REQUEST], PATIENT, callers=2)], 0.3)
        assert found.ends.keys() == {"OK"}
        assert found.good > 0
        assert found.percentile(50)
        options = {"top_k": 10, "timeout": 30_000_000, "background": True}
        assert server.requests[-1].options == options


def test_requests_are_sent_when_they_are_due_and_may_fail() -> None:
    with FakeServer(["a", "b"]) as server:
        kind = Arrivals([REQUEST], PATIENT, rate=50)
        (found,) = storm(server.address, [kind], 0.4)
        assert found.ends.keys() == {"OK"}
        sent = len(server.requests)
        assert sent == 20 + 4  # one for each channel before the clock starts


def test_refusals_are_ends_of_their_own() -> None:
    with FakeServer(["a", "b"]) as server:
        call = threading.Timer(0.2, server.fail, [grpc.StatusCode.ALREADY_EXISTS], {"times": 9999})
        call.start()
        (found,) = storm(server.address, [Arrivals([REQUEST], PATIENT, callers=1)], 1.0)
        call.join()
    assert found.ends["ALREADY_EXISTS"] > 0


def test_no_good_answers_have_no_latencies() -> None:
    assert Outcome({"ALREADY_EXISTS": 3.0}).percentile(99) is None


@pytest.mark.parametrize("background", [True, False])
def test_a_request_tells_how_long_its_caller_waits(*, background: bool) -> None:
    request = with_parameters(infer_request("rank", {}), 0.1, background=background)
    parameters = service_pb2.ModelInferRequest.FromString(request).parameters
    assert parameters["timeout"].int64_param == 100_000
    assert parameters["background"].bool_param == background
