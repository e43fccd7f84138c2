"""Servers that fail, hang, hang up, come back or are many; through both clients."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import grpc
import pytest

from client import (
    Balancing,
    ClientClosed,
    Connection,
    DeadlineExceeded,
    Hedge,
    InferenceFailed,
    Item,
    Overloaded,
    RecommenderClient,
    RecommenderError,
    Retry,
    Unavailable,
    _channel,
    testing,
)
from client.testing import FakeServer
from tests.unit.client.conftest import Triton

PATIENT = 60
CODE = grpc.StatusCode
EAGER = Retry(initial_backoff=0.001)
SWIFT = Balancing(eject_after=2, eject_for=0.05, max_eject_for=0.2)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a", "b", "c"]) as running:
        yield running


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    running = [FakeServer(["a", "b", "c"]) for _ in range(3)]
    for each in running:
        each.start()
    yield running
    for each in running:
        each.stop()


@pytest.mark.parametrize("code", [CODE.UNAVAILABLE, CODE.ALREADY_EXISTS])
def test_a_passing_fault_is_not_noticed(
    server: FakeServer, connect: type[RecommenderClient], code: grpc.StatusCode
) -> None:
    server.fail(code, times=2)
    with connect(server.address, timeout=PATIENT, retry=EAGER) as client:
        assert [each.id for each in client.recommend([], top_k=2)] == ["a", "b"]
    assert len(server.requests) == 3
    assert len({each.id for each in server.requests}) == 1


def test_a_lasting_fault_is_the_last_attempts(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.fail(CODE.UNAVAILABLE, "full up", times=9)
    with (
        connect(server.address, timeout=PATIENT, retry=EAGER) as client,
        pytest.raises(Unavailable, match="full up") as caught,
    ):
        client.recommend([])
    assert len(server.requests) == 3
    assert caught.value.request_id == server.requests[0].id


def test_an_overloaded_server_is_not_taken_out(
    servers: list[FakeServer], connect: type[RecommenderClient]
) -> None:
    servers[0].fail(CODE.ALREADY_EXISTS, "too much to do", times=5)
    addresses = [each.address for each in servers]
    with connect(addresses, timeout=PATIENT, retry=Retry(attempts=1)) as client:
        answers = list(client.recommend_many([[]] * 18, on_error="return", concurrency=1))
    errors = [each.error for each in answers if each.error is not None]
    assert len(errors) == 5
    assert all(isinstance(each, Overloaded) for each in errors)
    assert "too much to do (wait before calling again)" in str(errors[0])
    assert len(servers[0].requests) == 6


def test_the_servers_push_back_is_honoured(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.fail(CODE.RESOURCE_EXHAUSTED, trailing=[("grpc-retry-pushback-ms", "1")])
    with connect(server.address, timeout=PATIENT) as client:
        client.recommend([])
        server.fail(CODE.UNAVAILABLE, trailing=[("grpc-retry-pushback-ms", "-1")])
        with pytest.raises(Unavailable):
            client.recommend([])
        server.fail(CODE.RESOURCE_EXHAUSTED)
        with pytest.raises(Overloaded):
            client.recommend([])
    assert len(server.requests) == 4


def test_the_time_left_goes_along_with_each_attempt(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.fail(CODE.UNAVAILABLE, times=2, trailing=[("grpc-retry-pushback-ms", "40")])
    with connect(server.address) as client:
        client.recommend([], timeout=PATIENT)
    first, second, third = (each.options["timeout"] for each in server.requests)
    assert PATIENT * 1e6 >= first >= second + 39_000 >= third + 78_000 > 0


def test_no_deadline_is_no_timeout_for_the_queue(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    with connect(server.address, timeout=None) as client:
        client.recommend([])
    assert "timeout" not in server.requests[0].options


def test_a_late_answer_is_overtaken_and_cancelled(
    servers: list[FakeServer], connect: type[RecommenderClient]
) -> None:
    slow, fast, _ = servers
    slow.set_delay(PATIENT)
    with connect([slow.address, fast.address], timeout=PATIENT, hedge=Hedge(after=0.02)) as client:
        for _ in range(4):
            assert len(client.recommend([])) == 3
    assert slow.requests
    until(lambda: slow.cancelled == len(slow.requests))


def test_a_loser_is_no_answer_to_the_next_request_of_the_call(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.set_delay(0.05)
    with connect(server.address, timeout=PATIENT, hedge=Hedge(after=0.01)) as client:
        for _ in range(3):
            client.observe([str(event) for event in range(10_001)])  # two requests, one by one
    assert server.cancelled


def test_a_call_that_is_given_up_is_cancelled_on_the_server(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.set_delay(PATIENT)
    with connect(server.address, timeout=0.05) as client:
        while not server.requests:  # on a busy machine the first may not even be sent in time
            with pytest.raises(DeadlineExceeded):
                client.recommend([])
        until(lambda: server.cancelled == len(server.requests))


def test_a_server_that_hangs_up_at_once(connect: type[RecommenderClient]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with connect(address, timeout=5, retry=EAGER) as client, pytest.raises(Unavailable):
            client.recommend([])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_server_that_accepts_and_says_nothing(connect: type[RecommenderClient]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with connect(address, timeout=0.1) as client, pytest.raises(RecommenderError) as caught:
            client.recommend([])
    assert isinstance(caught.value, (DeadlineExceeded, Unavailable))


def test_a_server_that_half_closes_after_the_request(connect: type[RecommenderClient]) -> None:
    """Takes the HTTP/2 preface and the request, then closes its side without an answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted:
                accepted.sendall(b"\0\0\0\4\0\0\0\0\0")  # empty SETTINGS
                accepted.recv(65536)
                accepted.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with connect(address, timeout=2, retry=EAGER) as client, pytest.raises(RecommenderError):
            client.recommend([])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_goaway_fails_no_call(triton: Triton, connect: type[RecommenderClient]) -> None:
    """A server that sends every connection away after a short while."""
    from tritonclient.grpc import service_pb2_grpc

    options = [("grpc.max_connection_age_ms", 50), ("grpc.max_connection_age_grace_ms", 5000)]
    server = grpc.server(ThreadPoolExecutor(4), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with connect(f"127.0.0.1:{port}", timeout=PATIENT, retry=EAGER) as client:
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                assert len(client.rank([], ["a", "b"])) == 2
    finally:
        server.stop(grace=None).wait()


@pytest.mark.parametrize(("every", "answered"), [(500, True), (300_000, False)])
def test_a_long_call_survives_its_keepalive_where_the_server_allows_it(
    every: int, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes two pings that come too early, the client sends one a second."""
    monkeypatch.setattr(testing, "_PING_EVERY", every)
    # gRPC's clients send two pings, and then one a minute.
    at_once = ("grpc.http2.max_pings_without_data", 0)
    monkeypatch.setattr(_channel, "_OPTIONS", (*_channel._OPTIONS, at_once))
    with (
        FakeServer(["a"]) as server,
        RecommenderClient(
            server.address,
            timeout=PATIENT,
            retry=Retry(attempts=1),
            connection=Connection(keepalive=0.5),
        ) as client,
    ):
        server.set_delay(5)
        if answered:
            assert client.recommend([]).ids == ("a",)
        else:
            with pytest.raises(Unavailable, match="Too many pings"):
                client.recommend([])


def test_the_keepalive_is_one_that_every_server_of_grpc_allows() -> None:
    allowed = 300  # seconds, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS
    assert Connection().keepalive >= allowed


class TestSeveralServers:
    @pytest.mark.parametrize("strategy", ["round_robin", "least_outstanding"])
    def test_all_get_calls(
        self,
        servers: list[FakeServer],
        connect: type[RecommenderClient],
        strategy: Literal["round_robin", "least_outstanding"],
    ) -> None:
        addresses = [each.address for each in servers]
        with connect(addresses, timeout=PATIENT, balancing=Balancing(strategy)) as client:
            for _ in range(30):
                client.recommend([])
        assert [len(each.requests) for each in servers] == [10, 10, 10]

    def test_one_that_dies_is_left_out_and_comes_back(
        self, servers: list[FakeServer], connect: type[RecommenderClient]
    ) -> None:
        dead, *others = servers
        addresses = [each.address for each in servers]
        with connect(addresses, timeout=PATIENT, retry=EAGER, balancing=SWIFT) as client:
            dead.stop()
            for _ in range(60):
                assert len(client.recommend([])) == 3
            assert sum(len(each.requests) for each in others) == 60
            dead.start()

            def is_back() -> bool:
                client.recommend([])
                return bool(dead.requests)

            until(is_back)
            before = len(dead.requests)
            for _ in range(30):
                client.recommend([])
            assert len(dead.requests) >= before + 9

    def test_one_that_hangs_is_left_out(
        self, servers: list[FakeServer], connect: type[RecommenderClient]
    ) -> None:
        hung, *_ = servers
        hung.set_delay(PATIENT)
        addresses = [each.address for each in servers]
        failures = 0
        with connect(addresses, timeout=0.2, balancing=Balancing(eject_for=PATIENT)) as client:
            client.live(timeout=PATIENT)
            for _ in range(40):
                failures += self.fails(client)
        assert len(hung.requests) == 3
        assert failures >= 3

    def fails(self, client: RecommenderClient) -> bool:
        try:
            client.recommend([])
        except DeadlineExceeded:
            return True
        return False

    def test_readiness_of_any_is_readiness(
        self, servers: list[FakeServer], connect: type[RecommenderClient]
    ) -> None:
        first, second, third = servers
        with connect([each.address for each in servers], timeout=PATIENT) as client:
            first.set_ready(False)
            second.stop()
            assert client.ready() is True
            third.set_ready(False)
            assert client.ready() is False
            assert client.live() is True

    def test_statistics_of_all(
        self, servers: list[FakeServer], connect: type[RecommenderClient]
    ) -> None:
        with connect([each.address for each in servers], timeout=PATIENT) as client:
            for _ in range(6):
                client.recommend([])
            counted = client.statistics(model="recommend")
            assert sorted(each.server for each in counted) == sorted(e.address for e in servers)
            assert [each.success.count for each in counted] == [2, 2, 2]
            servers[0].stop()
            assert len(client.statistics()) == 2


class TestNames:
    def test_every_address_behind_a_name_is_a_server(
        self, connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = FakeServer(["a"])
        first.start()
        port = first.address.rpartition(":")[2]
        addresses = ["127.0.0.1"]

        def resolve(host: str, *_: object, **__: object) -> list[Any]:
            assert host == "recommender.example"
            return [(0, 0, 0, "", (address, int(port))) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        try:
            with connect(
                f"dns:///recommender.example:{port}",
                timeout=PATIENT,
                retry=EAGER,
                balancing=Balancing(resolve_every=0.05),
            ) as client:
                assert client.statistics() == []
                assert client.ready() is True
                client.recommend([])
                assert {e.server for e in client.statistics()} == {f"127.0.0.1:{port}"}
                addresses[:] = ["127.0.0.2"]
                from tritonclient.grpc import service_pb2_grpc  # a server at the new address

                from client.testing import _Behaviour, _Servicer

                second = grpc.server(ThreadPoolExecutor(4))
                moved = _Behaviour(("z",), lambda *_: 0.0)
                service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
                    _Servicer(moved), second
                )
                assert second.add_insecure_port(f"127.0.0.2:{port}") == int(port)
                second.start()
                until(lambda: [each.id for each in client.recommend([])] == ["z"])
                held = [each.address for each in client._connections._held]
                assert held == [f"127.0.0.2:{port}"]
                second.stop(grace=None).wait()
        finally:
            first.stop()

    def test_a_name_that_does_not_exist(
        self, connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with connect("dns:///nowhere.example", timeout=PATIENT) as client:
            with pytest.raises(Unavailable, match=r"no address was found for nowhere\.example"):
                client.recommend([])
            assert not client.ready()
            assert not client.live()
            assert list(client.rank([Item("a", "x"), Item("b", "y")], [])) == []  # needs no server

    def test_a_resolver_that_hangs_keeps_the_deadline(
        self, connect: type[RecommenderClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, looked_up = threading.Event(), []

        def resolve(host: str, *_: object, **__: object) -> None:
            looked_up.append(host)
            released.wait(PATIENT)
            raise socket.gaierror(-3, "Try again")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with connect("dns:///slow.example", timeout=0.05) as client:
            for _ in range(2):
                with pytest.raises(DeadlineExceeded, match=r"looking up slow\.example"):
                    client.recommend([])
            assert not client.ready()
            assert not client.live()
            released.set()
        assert looked_up == ["slow.example"]

    def test_a_known_address_does_not_wait_for_a_name(
        self,
        server: FakeServer,
        connect: type[RecommenderClient],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        released = threading.Event()

        def resolve(*_: object, **__: object) -> None:
            released.wait(PATIENT)
            raise socket.gaierror(-3, "Try again")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with connect([server.address, "dns:///slow.example"], timeout=PATIENT) as client:
            assert len(client.recommend([])) == 3
            released.set()


class Proxy(threading.Thread):
    """Carries connections on to ``target``, and counts them."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self.accepted: list[socket.socket] = []
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))

    def run(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(near)
            host, _, port = self.target.rpartition(":")
            far = socket.create_connection((host, int(port)))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        except OSError:
            pass
        sink.close()


def test_connections_grow_old(connect: type[RecommenderClient]) -> None:
    """Behind a balancer of connections, new servers are reached by new connections only."""
    with FakeServer(["a"]) as server:
        proxy = Proxy(server.address)
        proxy.start()
        address = f"127.0.0.1:{proxy.listener.getsockname()[1]}"
        aging = Connection(max_age=0.05)
        with connect(address, timeout=PATIENT, connection=aging) as client:

            def renewed() -> bool:
                assert len(client.recommend([])) == 1
                return len(proxy.accepted) >= 4

            until(renewed)
        with connect(address, timeout=PATIENT, connection=Connection(max_age=None)) as client:
            before = len(proxy.accepted)
            for _ in range(20):
                client.recommend([])
            assert len(proxy.accepted) == before + 1
        proxy.listener.close()


def test_an_old_connection_ends_when_its_last_call_does(connect: type[RecommenderClient]) -> None:
    with FakeServer(["a"]) as server:
        server.set_delay(0.3)
        aging = Connection(max_age=0.05)
        with (
            connect(server.address, timeout=PATIENT, connection=aging) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            calls = []
            for _ in range(8):
                calls.append(pool.submit(client.recommend, []))
                time.sleep(0.03)
            assert all(len(call.result()) == 1 for call in calls)


def test_closing_ends_a_retry_under_way(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.fail(CODE.UNAVAILABLE, times=99, trailing=[("grpc-retry-pushback-ms", "20")])
    client = connect(server.address, timeout=PATIENT, retry=Retry(attempts=99, reserve=99))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.recommend, [])
        until(lambda: server.requests)
        client.close()
        with pytest.raises(ClientClosed):
            call.result(PATIENT)
    if hasattr(client, "stop"):
        client.stop()


def test_an_internal_error_is_not_repeated(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    server.fail(CODE.INTERNAL, "policy failed")
    with connect(server.address, timeout=PATIENT) as client, pytest.raises(InferenceFailed):
        client.recommend([])
    assert len(server.requests) == 1
