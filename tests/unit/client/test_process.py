"""Processes, event loops, forgotten clients, and the command line."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client as package
from client import (
    AsyncRecommenderClient,
    ClientMisused,
    Event,
    InvalidInput,
    RecommenderClient,
)
from client import (
    __main__ as command_line,
)
from client.testing import FakeServer

PATIENT = 60
ROOT = Path(command_line.__file__).parents[1]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["50", "172", "181", "1"]) as running:
        yield running


# In processes of their own: gRPC's threads of this one do not survive a fork.
FORK = """
import os, sys, time
from client import ClientMisused, RecommenderClient

client = RecommenderClient(sys.argv[1], timeout=30)
if sys.argv[2] == "used":
    client.recommend([])
child = os.fork()
if not child:
    try:
        found = len(client.recommend([]))
        client.close()
        os._exit(found)
    except ClientMisused as error:
        client.close()
        os._exit(100 if "forked" in str(error) else 101)
    except BaseException as error:
        print(error, flush=True)
        os._exit(102)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
if sys.argv[2] == "used":
    assert len(client.recommend([])) == 4  # closing in the child left it alone
client.close()
"""


@pytest.mark.parametrize(("state", "code"), [("used", 100), ("fresh", 4)])
def test_after_a_fork(server: FakeServer, state: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, server.address, state],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENT,
        check=False,
    )
    assert done.stdout.split()[-1:] == [str(code)], done.stderr
    assert done.returncode == 0, done.stderr


def test_a_second_event_loop_is_refused(server: FakeServer) -> None:
    client = AsyncRecommenderClient(server.address, timeout=PATIENT)

    async def ask() -> int:
        return len(await client.recommend([]))

    first = asyncio.new_event_loop()
    assert first.run_until_complete(ask()) == 4
    with pytest.raises(ClientMisused, match="another event loop"):
        asyncio.run(ask())
    first.run_until_complete(client.close())
    first.close()


def test_cancelling_a_task_cancels_on_the_server(server: FakeServer) -> None:
    server.set_delay(PATIENT)

    async def ask() -> None:
        async with AsyncRecommenderClient(server.address, timeout=PATIENT) as client:
            task = asyncio.create_task(client.recommend([]))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not server.cancelled:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(ask(), PATIENT))


def test_a_task_group_of_calls(server: FakeServer) -> None:
    async def ask() -> list[int]:
        async with AsyncRecommenderClient(server.address, timeout=PATIENT) as client:
            return [
                len(found)
                for found in await asyncio.gather(*(client.recommend([]) for _ in range(100)))
            ]

    assert asyncio.run(ask()) == [4] * 100


def test_an_async_iterable_of_users(server: FakeServer) -> None:
    async def users() -> AsyncIterator[list[str]]:
        for item in ("50", "172"):
            await asyncio.sleep(0)
            yield [item]

    async def ask() -> Any:
        async with AsyncRecommenderClient(server.address, timeout=PATIENT) as client:
            return [each async for each in client.recommend_many(users(), top_k=1)]

    assert [each.result.items for each in asyncio.run(ask())] == [("172",), ("50",)]


def test_a_client_that_was_never_closed_is_told(server: FakeServer) -> None:
    client = RecommenderClient(server.address, timeout=PATIENT)
    client.recommend([])
    channels = client._connections.drain
    with pytest.warns(ResourceWarning, match="never closed"):
        client.__del__()
    client.close()
    unused = RecommenderClient(server.address)
    del unused, channels
    gc.collect()


class TestFakeServer:
    def test_it_answers_as_the_contract_says(
        self, server: FakeServer, connect: type[RecommenderClient]
    ) -> None:
        with connect(server.address, timeout=PATIENT) as client:
            assert client.recommend(["50"], top_k=2).items == ("172", "181")
            assert client.recommend(["50"], exclude=["172"], include_seen=True).items == (
                "50",
                "181",
                "1",
            )
            ranking = client.rank(["50"], ["new", "1"])
            assert ranking.items == ("new", "1")
            assert client.rank(["50"], ["new"])[0].logit == ranking[0].logit
            one, two = client.encode(["a", "a"]).vectors
            np.testing.assert_array_equal(one, two)
            classification = client.classify(["a", "b"], ["c", ""])
            np.testing.assert_allclose(classification.probabilities.sum(1), 1, rtol=1e-6)
            assert classification.labels == ("no", "yes")
            assert len(classification.predicted()) == 2
            assert client.ready() is True
            assert client.metadata(models=["rank"]).models["rank"].versions == ("1",)

    def test_it_may_have_many_items(self, connect: type[RecommenderClient]) -> None:
        with (
            FakeServer([str(number) for number in range(2_000)]) as server,
            connect(server.address, timeout=PATIENT) as client,
        ):
            assert client.rank([], ["1999"])[0].interest == 0.0

    def test_a_score_of_ones_own(self, connect: type[RecommenderClient]) -> None:
        with (
            FakeServer("abc", score=lambda history, item: len(history) + ord(item)) as server,
            connect(server.address, timeout=PATIENT) as client,
        ):
            assert client.recommend([]).items == ("c", "b", "a")
            assert client.rank(["x", "y"], ["a"])[0].logit == 99

    def test_it_shows_what_arrived(
        self, server: FakeServer, connect: type[RecommenderClient]
    ) -> None:
        with connect(server.address, timeout=PATIENT) as client:
            client.recommend([Event("50", "buy", 7)], top_k=3, metadata={"x-a": "b"})
        (request,) = server.requests
        assert request.inputs == {
            "HISTORY": ["50"],
            "HISTORY_ACTION": ["buy"],
            "HISTORY_TIME": [7],
        }
        assert request.options["top_k"] == 3
        assert request.metadata["x-a"] == "b"
        assert request.time_left is not None
        assert 0 < request.time_left <= PATIENT * 1.1

    def test_it_shows_what_was_told_of_the_user(
        self, server: FakeServer, connect: type[RecommenderClient]
    ) -> None:
        with connect(server.address, timeout=PATIENT) as client:
            client.recommend(["50"], profile={"age": 24})
            client.recommend(["50"])
        assert [request.profile for request in server.requests] == [{"age": 24}, {}]

    def test_it_refuses_columns_that_are_not_known(self, connect: type[RecommenderClient]) -> None:
        with (
            FakeServer("ab", profile=["age"]) as server,
            connect(server.address, timeout=PATIENT) as client,
        ):
            client.recommend([], profile={"age": 24})
            for call in (client.recommend, lambda history, **b: client.rank(history, ["a"], **b)):
                with pytest.raises(InvalidInput, match=r"'aeg' the value 24.* columns are age"):
                    call([], profile={"aeg": 24})

    def test_it_runs_in_threads_of_a_spawned_process_too(self) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            assert pool.apply(serve_and_ask) == ["a"]


def serve_and_ask() -> list[str]:
    with FakeServer(["a"]) as server, RecommenderClient(server.address, timeout=PATIENT) as client:
        return list(client.recommend([]).items)


class TestCommandLine:
    def run(
        self, capsys: pytest.CaptureFixture[str], server: FakeServer, *arguments: str
    ) -> tuple[int, str, str]:
        code = command_line.main([*arguments, "--target", server.address])
        return code, *capsys.readouterr()

    def test_recommend(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        code, out, _ = self.run(capsys, server, "recommend", "--history", "50, 172", "--top-k", "5")
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["item", "181", "1"]

    def test_profile(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        code, _, _ = self.run(capsys, server, "recommend", "--profile", "age=24, gender=F")
        assert code == 0
        code, _, _ = self.run(capsys, server, "rank", "--candidates", "1", "--profile", "job=a=b")
        assert code == 0
        assert [each.profile for each in server.requests] == [
            {"age": "24", "gender": "F"},
            {"job": "a=b"},
        ]
        for wrong in ("age", "=24"):
            code, _, err = self.run(capsys, server, "recommend", "--profile", wrong)
            assert code == 2
            assert "is not NAME=VALUE" in err

    def test_json(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        code, out, _ = self.run(
            capsys, server, "recommend", "--history", "50", "--exclude", "172", "--json"
        )
        assert code == 0
        assert [each["id"] for each in json.loads(out)["items"]] == ["181", "1"]

    def test_rank(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        code, out, _ = self.run(
            capsys, server, "rank", "--candidates", "1,50", "--new", "x=A new item", "--json"
        )
        assert code == 0
        items = json.loads(out)["items"]
        assert {each["id"] for each in items} == {"50", "1", "x"}
        assert items == sorted(items, key=lambda each: -each["logit"])
        assert server.requests[0].inputs["CANDIDATE_TEXT"] == ["", "", "A new item"]

    def test_classify(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        code, out, _ = self.run(capsys, server, "classify", "a text", "another", "--json")
        assert code == 0
        found = json.loads(out)
        assert found["activation"] == "softmax"
        assert [each["text"] for each in found["texts"]] == ["a text", "another"]
        for each in found["texts"]:
            of_label = each["probabilities"]
            assert of_label.keys() == {"no", "yes"}
            assert each["labels"] == [max(of_label, key=of_label.get)]
        lines = self.run(capsys, server, "classify", "a text")[1].splitlines()
        assert lines[0] == "a text"
        assert lines[1].split()[0] == "*"
        assert {line.split()[-1] for line in lines[1:]} == {"no", "yes"}

    def test_status(self, capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
        self.run(capsys, server, "recommend")
        code, out, _ = self.run(capsys, server, "status")
        assert code == 0
        assert "ready  yes" in out
        assert "recommend" in out
        server.set_ready(False)
        code, out, _ = self.run(capsys, server, "status", "--json")
        assert code == 1
        assert json.loads(out)["ready"] is False

    def test_the_status_of_several_needs_no_more_than_one(
        self, capsys: pytest.CaptureFixture[str], server: FakeServer
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
            hung = f"127.0.0.1:{silent.getsockname()[1]}"
            for targets in ([server.address, hung], [hung, server.address]):
                given = [f"--target={target}" for target in targets]
                code = command_line.main(["status", *given, "--timeout=0.5"])
                out = capsys.readouterr().out
                assert code == 0, out
                assert "ready  yes" in out
                assert f"why    {hung}" in out

    def test_an_error_is_one_line(
        self, capsys: pytest.CaptureFixture[str], server: FakeServer
    ) -> None:
        code, out, err = self.run(capsys, server, "recommend", "--top-k", "0")
        assert (code, out) == (1, "")
        assert err == "error: top_k is 0: pass a positive int, how many items to recommend\n"

    def test_a_token_comes_from_a_file(
        self, capsys: pytest.CaptureFixture[str], server: FakeServer, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("abc\n")
        assert (
            self.run(capsys, server, "recommend", "--token-file", str(tmp_path / "token"))[0] == 0
        )
        assert server.requests[0].metadata["authorization"] == "Bearer abc"

    def test_it_is_a_module(self, server: FakeServer) -> None:
        done = subprocess.run(
            [sys.executable, "-m", package.__name__, "status", "--target", server.address],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENT,
            check=True,
        )
        assert "live   yes" in done.stdout
