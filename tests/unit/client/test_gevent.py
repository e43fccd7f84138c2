"""In a process that gevent has patched, such as a worker of ``gunicorn -k gevent``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from client.testing import FakeServer

DELAY = 0.3
ITEMS = ["50", "172", "181", "1"]

WORKER = """
import sys, time, warnings
from gevent import monkey
if "patched" in sys.argv:
    monkey.patch_all()
import gevent
if "told" in sys.argv:
    import grpc.experimental.gevent
    grpc.experimental.gevent.init_gevent()
warnings.simplefilter("always")
from client import GeventWarning, Hedge, RecommenderClient

with warnings.catch_warnings(record=True) as caught:
    client = RecommenderClient(sys.argv[1], timeout=10)
found = [each for each in caught if each.category is GeventWarning]
assert all(each.filename == __file__ for each in found), found
assert all("init_gevent()" in str(each.message) for each in found)
print("warnings", len(found))
if "told" in sys.argv:
    began = time.monotonic()
    jobs = [gevent.spawn(client.recommend, [str(n)]) for n in range(8)]
    gevent.joinall(jobs, raise_error=True)
    assert time.monotonic() - began < 5 * {delay}, "one after another"
    began = time.monotonic()
    assert len(list(client.recommend_many([[str(n)] for n in range(8)], concurrency=8))) == 8
    assert time.monotonic() - began < 5 * {delay}, "one after another"
    try:
        with gevent.Timeout({delay} / 3):
            client.recommend([])
    except gevent.Timeout:
        print("gave up")
    with RecommenderClient(sys.argv[1], timeout=10, hedge=Hedge(after=0.01)) as hedged:
        print("hedged", len(hedged.recommend([])))
client.close()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(ITEMS) as running:
        running.set_delay(DELAY)
        yield running


def worker(server: FakeServer, tmp_path_factory: pytest.TempPathFactory, *words: str) -> list[str]:
    script = tmp_path_factory.mktemp("worker") / "worker.py"
    script.write_text(WORKER.replace("{delay}", str(DELAY)))
    command = [sys.executable, str(script), server.address, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_who_forgot_to_tell_grpc_is_told(
    server: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert worker(server, tmp_path_factory, "patched") == ["warnings 1"]


def test_gevent_that_has_patched_nothing_is_nothing_to_warn_of(
    server: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert worker(server, tmp_path_factory) == ["warnings 0"]


def test_greenlets_run_side_by_side_once_grpc_was_told(
    server: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = worker(server, tmp_path_factory, "patched", "told")
    assert found == ["warnings 0", "gave up", f"hedged {len(ITEMS)}"]
