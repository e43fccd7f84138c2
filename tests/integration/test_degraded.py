"""What a real server still answers while a part of it fails. Nobody starts it anew here."""

from __future__ import annotations

import math
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx
import pytest
import tritonclient.grpc as grpc

from builder.serving import TritonServer
from client import DeadlineExceeded, Event, Item, RecommenderClient, Retry, Unavailable
from perf.processes import model_processes
from tests.integration.test_steps import TIMEOUT, send, strings
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.shared import first_of, reached

ONCE: Final = Retry(attempts=1)
ENCODERS: Final[dict[Layout, str]] = {"fused": "encode", "ensemble": "encoder"}
LAYOUTS: Final = list(ENCODERS)

# As that of the tiny repository, but that the action "buy", number 2, makes a run fail.
BREAKS_AT_BUY = """<ir_version: 10, opset_import: ["": 20]>
user_encoder (float[U, H, d] EVENT, int32[U, H] EVENT_ACTION, int64[U, H] EVENT_AGE,
              int32[U, c] EVENT_COUNT) => (float[U, d] STATE)
<float[2] table = {0, 0}, int64[1] last = {1}> {
    values = Gather <axis = 0> (table, EVENT_ACTION)
    zero = ReduceSum <keepdims = 1> (values, last)
    unit = Exp (zero)
    STATE = Concat <axis = 1> (unit, zero)
}"""


@contextmanager
def served(root: Path) -> Iterator[tuple[TritonServer, RecommenderClient]]:
    with (
        TritonServer(root, metrics_port=0) as server,
        RecommenderClient(server.grpc_address, timeout=TIMEOUT, retry=ONCE) as client,
    ):
        yield server, client


def process(server: TritonServer, model: str) -> int:
    (found,) = [each.pid for each, name in model_processes(server) if name == model]
    return int(found)


def fallbacks(server: TritonServer) -> int:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{server.metrics_address}/metrics") as response:
        text = response.read().decode()
    (count,) = re.findall(r"^tritonrec_fallbacks\{.*\} (\d+)$", text, re.MULTILINE)
    return int(count)


@pytest.mark.parametrize("layout", first_of(LAYOUTS))
def test_known_items_go_on_without_a_model_for_texts(layout: Layout, tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout=layout, delay_microseconds=200_000)
    with served(tmp_path) as (server, client), ThreadPoolExecutor(2) as together:
        os.kill(process(server, ENCODERS[layout]), signal.SIGKILL)
        new = together.submit(client.rank, ["i1"], [Item("new", "toy"), "i2"])
        known = together.submit(client.rank, ["i1"], [Item("i7", "toy"), "i2"])  # of one batch
        assert known.result().logits.tolist() == [7, 2]
        with pytest.raises(Unavailable, match="'skip' to go on without the texts"):
            new.result()
        assert client.recommend(["i29"], top_k=1).ids == ("i28",)
        skipped = client.rank(
            ["i1", Item("new", "toy")], [Item("new", "toy"), "i2"], on_unknown="skip"
        )
        assert math.isnan(skipped.logits[0])
        assert (skipped.logits[1], skipped.skipped) == (2, 1)


@pytest.mark.parametrize("layout", first_of(LAYOUTS))
def test_and_beside_one_that_does_not_answer(layout: Layout, tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout=layout)
    with served(tmp_path) as (server, client), ThreadPoolExecutor() as together:
        stopped = process(server, ENCODERS[layout])
        os.kill(stopped, signal.SIGSTOP)
        try:
            late = [
                together.submit(client.rank, [], [Item("new", f"toy {n}")], timeout=1.0)
                for n in range(20)
            ]
            assert client.rank(["i1"], ["i7", "i2"]).logits.tolist() == [7, 2]
            for each in late:
                with pytest.raises((DeadlineExceeded, Unavailable)):
                    each.result()
            assert client.recommend(["i29"], top_k=1).ids == ("i28",)
        finally:
            # Triton has given it up by now, and aborts where it goes on.
            os.kill(stopped, signal.SIGKILL)


def test_popular_items_stand_in_for_a_model_of_users_that_is_gone(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="ensemble")
    with served(tmp_path) as (server, client):
        well = client.recommend(["i3"], top_k=2)
        assert (well.ids, well.fallback) == (("i29", "i28"), False)
        os.kill(process(server, "user_encoder"), signal.SIGKILL)
        popular = client.recommend(["i3"], exclude=["i15"], top_k=3)
        assert (popular.ids, popular.fallback) == (("i1", "i4", "i9"), True)
        assert all(map(math.isnan, [*popular.logits, *popular.interests]))
        assert client.recommend(["i3", "new"], top_k=1).skipped == 1
        assert reached(lambda: fallbacks(server), 2) == 2
        with pytest.raises(Unavailable, match=r"user_encoder is not available .*call again"):
            client.rank(["i1"], ["i7"])


# Answers as that of the tiny repository, unless a file says that it hangs.
HANGS = """
import time
from pathlib import Path

from .serving.steps.triton_model import TritonPythonModel as Model

FLAG = Path({flag!r})


class TritonPythonModel(Model):
    def execute(self, requests):
        while FLAG.exists():
            {meanwhile}
        return super().execute(requests)
"""


def let_user_encoder_hang(repository: Path, flag: Path, meanwhile: str) -> None:
    """Have it hang while there is a file ``flag``, and do something ``meanwhile``."""
    code = repository / "user_encoder/1/model.py"
    assert "serving.steps.triton_model import" in code.read_text()
    code.write_text(HANGS.format(flag=str(flag), meanwhile=meanwhile))


def test_and_for_one_that_hangs_until_it_does_no_more(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path / "models", layout="ensemble")
    flag = tmp_path / "hangs"
    let_user_encoder_hang(tmp_path / "models", flag, "time.sleep(0.01)")
    with served(tmp_path / "models") as (_, client):
        assert client.recommend(["i3"], top_k=1).fallback is False
        flag.touch()
        for _ in range(5):
            popular = client.recommend(["i3"], top_k=2)
            assert (popular.ids, popular.fallback) == (("i1", "i4"), True)
            with pytest.raises(Unavailable, match=r"user_encoder .* not answered for .*call again"):
                client.rank(["i1"], ["i7"])
        flag.unlink()
        assert reached(lambda: client.recommend(["i3"], top_k=1).fallback, expected=False) is False
        assert reached(lambda: ranked(client), [7.0]) == [7.0]


def ranked(client: RecommenderClient) -> list[float]:
    """The logits of a ranking; none where there is no such model."""
    try:
        return list(client.rank(["i1"], ["i7"]).logits)
    except Unavailable:
        return []


@pytest.mark.sweep
def test_and_for_one_that_is_stopped(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="ensemble")
    with served(tmp_path) as (server, client), ThreadPoolExecutor() as together:
        stopped = process(server, "user_encoder")
        os.kill(stopped, signal.SIGSTOP)
        try:
            found = list(together.map(lambda _: client.recommend(["i3"], top_k=2), range(20)))
            assert [each.fallback for each in found] == [True] * 20
            with pytest.raises(Unavailable, match=r"user_encoder is not available"):
                client.rank(["i1"], ["i7"])
        finally:
            os.kill(stopped, signal.SIGKILL)  # as above


def test_and_for_a_network_that_fails_in_the_process(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="fused", delay_microseconds=200_000)
    network = tmp_path / "recommend/1/user_encoder.onnx"
    onnx.save(onnx.parser.parse_model(BREAKS_AT_BUY), network)
    with served(tmp_path) as (server, client), ThreadPoolExecutor(2) as together:
        ill = together.submit(client.recommend, [Event("i3", action="buy")], top_k=2)
        well = together.submit(client.recommend, [Event("i3", action="view")], top_k=2)
        assert (well.result().ids, well.result().fallback) == (("i29", "i28"), False)
        assert (ill.result().ids, ill.result().fallback) == (("i1", "i4"), True)
        assert reached(lambda: fallbacks(server), 1) == 1


def test_a_plain_request_sees_the_mark(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="ensemble")
    with TritonServer(tmp_path) as server:
        client = grpc.InferenceServerClient(server.grpc_address)

        def ask() -> dict[str, Any]:
            return send(client, "recommend", {"HISTORY": strings("i3")}, {}).result(TIMEOUT)

        with client:
            assert "FALLBACK" not in ask()
            os.kill(process(server, "user_encoder"), signal.SIGKILL)
            assert ask()["FALLBACK"].tolist() == [[1]]
