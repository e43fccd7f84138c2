from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from builder.serving.health import HealthPort
from builder.serving.ports import claim_ports
from builder.serving.supervisor import Health


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def port(health: Health) -> Iterator[int]:
    number = claim_ports("127.0.0.1", {"health": 0})["health"]
    served = HealthPort(health, "127.0.0.1", number)
    yield number
    served.close()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


def test_before_the_models_have_answered(port: int) -> None:
    assert ask(port, "/live") == (200, "ok")
    for path in ("/startup", "/ready", "/models/rank"):
        assert ask(port, path) == (503, "the server is starting")


def test_while_all_is_well(health: Health, port: int) -> None:
    health.started, health.server, health.models = True, "", {"rank": "", "encode": ""}
    for path in ("/live", "/startup", "/ready", "/models/rank"):
        assert ask(port, path) == (200, "ok")
    assert ask(port, "/models/other") == (404, "there is no model other")
    assert ask(port, "/else")[0] == 404
    assert ask(port, "/ready", "POST")[0] == 501


def test_one_model_that_does_not_answer(health: Health, port: int) -> None:
    health.started, health.server = True, ""
    health.models = {"rank": "INTERNAL: no", "encode": ""}
    assert ask(port, "/ready") == (503, "rank: INTERNAL: no")
    assert ask(port, "/models/rank") == (503, "INTERNAL: no")
    assert ask(port, "/models/encode") == (200, "ok")
    status, metrics = ask(port, "/metrics")
    assert status == 200
    assert 'tritonrec_model_ready{model="rank"} 0\n' in metrics
    assert metrics.endswith('tritonrec_model_ready{model="encode"} 1')


def test_a_server_that_is_started_anew(health: Health, port: int) -> None:
    health.started, health.server, health.restarts = True, "it is started anew", 3
    health.models = {"rank": ""}
    assert ask(port, "/live") == (200, "ok")
    assert ask(port, "/startup") == (200, "ok")
    assert ask(port, "/ready") == ask(port, "/models/rank") == (503, "it is started anew")
    assert "\ntritonrec_restarts 3\n" in ask(port, "/metrics")[1]


def test_a_supervisor_that_hangs_is_not_live(health: Health, port: int) -> None:
    health.seen = time.monotonic() - 40
    assert ask(port, "/live") == (200, "ok")  # large models may load
    health.patience = 39
    assert ask(port, "/live") == (503, "nobody has looked at the server for 40 s")
    health.patience = 50
    assert ask(port, "/live") == (200, "ok")
    health.server = ""
    assert ask(port, "/live") == (503, "nobody has looked at the server for 40 s")


def test_balancers_ask_in_other_ways(health: Health, port: int) -> None:
    health.started, health.server = True, ""
    assert ask(port, "/ready?probe=1") == (200, "ok")
    assert ask(port, "/ready", "OPTIONS") == (200, "ok")
    assert ask(port, "/ready", "HEAD") == (200, "")
    health.server = "it is started anew"
    assert ask(port, "/ready", "HEAD") == (503, "")


def test_callers_that_say_nothing_are_in_nobody_s_way(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert ask(port, "/live") == (200, "ok")
    for each in silent:
        each.close()
