"""A server that is asked for more than it can do refuses at once, and answers what it accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen

import pytest

from builder.serving import TritonServer
from client import Item, Overloaded, RecommenderClient, Retry
from perf import cancelled
from perf.__main__ import main
from perf.load import infer_request
from perf.storm import Arrivals, Outcome, storm, with_parameters
from tests.integration.tiny_repository import write_tiny_repository
from tests.shared import reached

SECONDS = 2.0
CALLERS = 256
"""So many wait for longer than `SHORT`, on any machine."""

SHORT, LONG = 5, 500  # milliseconds
PATIENT = 30.0


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TritonServer]:
    write_tiny_repository(tmp_path, layout="fused", max_wait=getattr(request, "param", SHORT))
    with TritonServer(tmp_path, metrics_port=0) as running:
        yield running


def callers(number: int, *, background: bool = False) -> Arrivals:
    request = infer_request("recommend", {"HISTORY": ["i1"]})
    return Arrivals(
        [with_parameters(request, PATIENT, background=background)], PATIENT, callers=number
    )


def load(server: TritonServer, *kinds: Arrivals) -> list[Outcome]:
    # From another process: this one would be in the way of its own requests.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(storm, server.grpc_address, kinds, SECONDS).result()


def counted(server: TritonServer, model: str, what: str) -> float:
    with urlopen(f"http://{server.metrics_address}/metrics", timeout=PATIENT) as answer:
        text = answer.read().decode()
    (found,) = re.findall(
        rf'^tritonrec_requests_{what}{{model="{model}",version="1"}} (.*)$', text, re.MULTILINE
    )
    return float(found)


def test_each_request_is_answered_or_refused_and_so_is_the_one_after(
    server: TritonServer,
) -> None:
    (found,) = load(server, callers(CALLERS))
    assert found.ends.keys() == {"OK", "ALREADY_EXISTS"}
    assert counted(server, "recommend", "refused") > 0
    assert counted(server, "rank", "refused") == 0
    with RecommenderClient(server.grpc_address, timeout=PATIENT) as client:
        assert client.recommend(["i29"], top_k=2).items == ("i28", "i27")
        assert client.rank(["i1"], ["i7", "i2"]).items == ("i7", "i2")
        # Marks are neither requests of the contract nor left behind.
        assert client.recommend(["i29"], top_k=2, background=True).items == ("i28", "i27")


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_what_a_server_can_do_is_not_refused(server: TritonServer) -> None:
    (found,) = load(server, callers(2))
    assert found.ends.keys() == {"OK"}


SLOW = """
import time

from .serving.steps.triton_model import TritonPythonModel as Model


class TritonPythonModel(Model):
    def execute(self, requests):
        time.sleep(0.02)
        return super().execute(requests)
"""


def test_requests_with_new_texts_are_refused_before_these_are_encoded(tmp_path: Path) -> None:
    """They do not wait in the queue of their model, but behind others that are put off."""
    write_tiny_repository(tmp_path, layout="fused", max_wait=300)
    (tmp_path / "encode/1/model.py").write_text(SLOW.replace("0.02", "0.4"))
    known = {"HISTORY": ["i1"], "CANDIDATE": ["i7"]}
    new = {"HISTORY": ["i1"], "CANDIDATE": ["new"], "CANDIDATE_TEXT": ["toy"]}
    with TritonServer(tmp_path, metrics_port=0) as server:
        texts, others = load(
            server,
            Arrivals([infer_request("rank", new)], PATIENT, callers=64),
            Arrivals([infer_request("rank", known)], PATIENT, rate=50),
        )
        assert texts.ends.keys() == {"OK", "ALREADY_EXISTS"}
        assert others.ends.keys() == {"OK"}
        assert counted(server, "rank", "refused") > 0
        with RecommenderClient(server.grpc_address, timeout=PATIENT) as client:
            assert client.rank(["i1"], [Item("new", "toy"), "i2"]).ids == ("new", "i2")


def test_what_nobody_waits_for_is_not_worked_on(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="fused", max_wait=400)
    (tmp_path / "recommend/1/model.py").write_text(SLOW)
    request = infer_request("recommend", {"HISTORY": ["i1"]})
    # They wait for twelve batches of four, and would have to for sixteen. The model is not told.
    hasty = Arrivals([request], 0.25, callers=64)
    with TritonServer(tmp_path, metrics_port=0) as server:
        (found,) = load(server, hasty)
        assert found.ends.keys() <= {"OK", "DEADLINE_EXCEEDED", "CANCELLED"}
        assert reached(lambda: counted(server, "recommend", "dropped") > 0, expected=True)
        assert counted(server, "recommend", "refused") == 0
        with RecommenderClient(server.grpc_address, timeout=PATIENT) as client:
            assert client.recommend(["i29"], top_k=2).items == ("i28", "i27")


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_callers_of_short_times_are_answered_while_there_are_too_many(
    server: TritonServer,
) -> None:
    """Of whom the model is told, and whom nobody would answer in time."""
    slow_answers = SLOW.replace("execute", "_answers")
    (server.repository / "recommend/1/model.py").write_text(slow_answers)
    server.stop()
    server.start()
    request = with_parameters(infer_request("recommend", {"HISTORY": ["i1"]}), 0.2)
    # Half of what the model can do, and five times as much.
    (few,), (many,) = (
        load(server, Arrivals([request], 0.2, rate=share * 4 / 0.02)) for share in (0.5, 5)
    )
    assert many.ends["ALREADY_EXISTS"] > 0
    assert many.good > few.good / 10  # it takes a second until the model has learnt


def test_the_client_says_that_the_server_is_overloaded(server: TritonServer) -> None:
    once = Retry(attempts=1)
    with RecommenderClient(server.grpc_address, timeout=PATIENT, retry=once) as client:
        answers = list(
            client.recommend_many(
                [["i1"]] * 4000, concurrency=CALLERS, on_error="return", background=True
            )
        )
    errors = [each.error for each in answers if each.error is not None]
    assert errors
    assert len(errors) < len(answers)
    assert all(isinstance(each, Overloaded) for each in errors)
    assert "recommend is overloaded" in str(errors[0])


def test_a_model_is_handed_requests_whose_callers_have_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cancelled, "LOADS", cancelled.LOADS[-1:])
    assert main(["cancelled", "--seconds", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert 0 < row["gone"] < row["reached"]  # the last request is that which asks
    assert 0 < row["cpu"] < row["wall"]
