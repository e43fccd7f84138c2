"""TLS, credentials, and secrets that show up nowhere."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from client import (
    Connection,
    InvalidInput,
    RecommenderClient,
    RecommenderError,
    Retry,
    Tls,
    Unavailable,
)
from client.testing import FakeServer

PATIENT = 60
SECRET = "s3cr3t-t0ken"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_credentials(authority: trustme.CA, *, mutual: bool = False) -> grpc.ServerCredentials:
    own = authority.issue_cert("localhost", "recommender.internal")
    return grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes() if mutual else None,
        require_client_auth=mutual,
    )


def write(path: Path, *blobs: trustme.Blob) -> Path:
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return path


def identity(directory: Path, authority: trustme.CA, name: str) -> tuple[Path, Path]:
    own = authority.issue_cert(name)
    return (
        write(directory / "client.pem", own.cert_chain_pems[0]),
        write(directory / "client.key", own.private_key_pem),
    )


def test_tls(authority: trustme.CA, tmp_path: Path, connect: type[RecommenderClient]) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    with (
        FakeServer(["a"], credentials=server_credentials(authority)) as server,
        connect(server.address, timeout=PATIENT, tls=Tls(ca)) as client,
    ):
        assert client.ready() is True
        assert len(client.recommend([])) == 1


def test_a_server_of_another_authority_is_not_trusted(
    authority: trustme.CA, tmp_path: Path, connect: type[RecommenderClient]
) -> None:
    ca = write(tmp_path / "ca.pem", trustme.CA().cert_pem)
    with (
        FakeServer(["a"], credentials=server_credentials(authority)) as server,
        connect(server.address, timeout=PATIENT, tls=Tls(ca), retry=Retry(attempts=1)) as client,
        pytest.raises(Unavailable),
    ):
        client.recommend([])


@pytest.mark.parametrize(("name", "trusted"), [("recommender.internal", True), ("else", False)])
def test_the_name_on_the_certificate(
    authority: trustme.CA,
    tmp_path: Path,
    connect: type[RecommenderClient],
    name: str,
    trusted: bool,
) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    with FakeServer(["a"], credentials=server_credentials(authority)) as server:
        address = server.address.replace("localhost", "127.0.0.1")
        tls = Tls(ca, server_name=name)
        with connect(address, timeout=PATIENT, tls=tls) as client:
            assert client.live() is trusted


def test_a_name_that_was_looked_up_is_the_one_on_the_certificate(
    authority: trustme.CA, tmp_path: Path, connect: type[RecommenderClient]
) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    with (
        FakeServer(["a"], credentials=server_credentials(authority)) as server,
        connect(f"dns:///{server.address}", timeout=PATIENT, tls=Tls(ca)) as client,
    ):
        assert len(client.recommend([])) == 1


def test_mutual_tls_with_rotation(
    authority: trustme.CA, tmp_path: Path, connect: type[RecommenderClient]
) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    certificate, key = identity(tmp_path, trustme.CA(), "stranger")
    tls = Tls(ca, certificate, key)
    with (
        FakeServer(["a"], credentials=server_credentials(authority, mutual=True)) as server,
        connect(server.address, timeout=PATIENT, tls=tls) as client,
    ):
        with pytest.raises(Unavailable):
            client.recommend([])
        identity(tmp_path, authority, "friend")
        later = certificate.stat().st_mtime + 5
        for path in (certificate, key):
            os.utime(path, (later, later))
        end = time.monotonic() + PATIENT
        while not client.live():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert len(client.recommend([])) == 1


def test_files_that_vanish_leave_the_connection_there_is(
    authority: trustme.CA,
    tmp_path: Path,
    connect: type[RecommenderClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client._connections._CHECK_FILES_EVERY", 0.0)  # at each call
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    with (
        FakeServer(["a"], credentials=server_credentials(authority)) as server,
        connect(server.address, timeout=PATIENT, tls=Tls(ca)) as client,
    ):
        assert client.live()
        ca.unlink()
        assert client.live()


def test_files_that_do_not_fit_are_named(
    authority: trustme.CA, tmp_path: Path, connect: type[RecommenderClient]
) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    (tmp_path / "rubbish.pem").write_text("rubbish")
    certificate, key = identity(tmp_path, authority, "friend")
    (tmp_path / "other").mkdir()
    _, other = identity(tmp_path / "other", authority, "stranger")
    for tls, field in (
        (Tls(tmp_path / "rubbish.pem"), "tls.ca"),
        (Tls(ca, certificate, other), "tls.key"),
        (Tls(ca, certificate, tmp_path / "rubbish.pem"), "tls.key"),
        (Tls(ca, tmp_path / "rubbish.pem", key), "tls.key"),
    ):
        with (
            connect("localhost:1", tls=tls, timeout=PATIENT) as client,
            pytest.raises(InvalidInput, match=r"PEM form") as caught,
        ):
            client.recommend([])
        assert caught.value.field == field


def test_half_a_rotation_leaves_the_connection_there_is(
    authority: trustme.CA,
    tmp_path: Path,
    connect: type[RecommenderClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client._connections._CHECK_FILES_EVERY", 0.0)  # at each call
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    certificate, key = identity(tmp_path, authority, "friend")
    (tmp_path / "other").mkdir()
    _, other = identity(tmp_path / "other", authority, "friend")
    with (
        FakeServer(["a"], credentials=server_credentials(authority, mutual=True)) as server,
        connect(server.address, timeout=PATIENT, tls=Tls(ca, certificate, key)) as client,
    ):
        assert client.live()
        other.replace(key)
        assert client.live()


def test_a_file_that_cannot_be_read(tmp_path: Path, connect: type[RecommenderClient]) -> None:
    with (
        connect("localhost:1", tls=Tls(tmp_path / "nowhere.pem"), timeout=PATIENT) as client,
        pytest.raises(InvalidInput, match=r"nowhere\.pem.*cannot be read: No such file") as caught,
    ):
        client.recommend([])
    assert caught.value.field == "tls.ca"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(["a"]) as running:
        yield running


def test_a_token_and_metadata_are_sent(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    with connect(
        server.address, timeout=PATIENT, token=SECRET, metadata={"x-tenant": "shop"}
    ) as client:
        client.recommend([], metadata={"x-experiment": "b"})
        client.recommend([])
    first, second = (request.metadata for request in server.requests)
    assert first["authorization"] == f"Bearer {SECRET}"
    assert (first["x-tenant"], first["x-experiment"]) == ("shop", "b")
    assert "x-experiment" not in second


def test_a_token_may_be_fetched_for_each_call(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    tokens = iter(["one", "two"])
    with connect(server.address, timeout=PATIENT, token=lambda: next(tokens)) as client:
        client.recommend([])
        client.recommend([])
    assert [each.metadata["authorization"] for each in server.requests] == [
        "Bearer one",
        "Bearer two",
    ]


@pytest.mark.parametrize(
    "metadata",
    [{"X-Upper": "a"}, {"": "a"}, {"grpc-timeout": "a"}, {"a-bin": "a"}, {"a": "ü"}, {"a": 1}, "a"],
)
def test_metadata_that_cannot_travel(
    server: FakeServer, connect: type[RecommenderClient], metadata: Any
) -> None:
    with (
        connect(server.address, timeout=PATIENT) as client,
        pytest.raises(InvalidInput, match="metadata"),
    ):
        client.recommend([], metadata=metadata)
    with pytest.raises(InvalidInput, match="metadata"):
        connect(server.address, metadata=metadata)


@pytest.mark.parametrize("token", ["", 5, b"bytes", f"{SECRET}\n"])
def test_a_token_that_cannot_travel_is_not_shown(
    connect: type[RecommenderClient], token: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        connect("localhost:1", token=token)
    with (
        connect("localhost:1", timeout=PATIENT, token=lambda: token) as client,
        pytest.raises(InvalidInput) as caught,
    ):
        client.recommend([])
    assert SECRET not in f"{refused.value}{caught.value}"


def test_secrets_show_up_nowhere(
    server: FakeServer, connect: type[RecommenderClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.fail(grpc.StatusCode.UNAVAILABLE, times=1)
    server.fail(grpc.StatusCode.PERMISSION_DENIED, times=1)
    with connect(
        server.address, timeout=PATIENT, token=SECRET, metadata={"x-key": SECRET}
    ) as client:
        with pytest.raises(RecommenderError) as caught:
            client.recommend([], metadata={"x-other": SECRET})
        shown = [repr(client), str(caught.value), repr(caught.value), repr(vars(caught.value))]
        cause = caught.value.__cause__
        shown += [str(cause), repr(cause), caplog.text]
    assert len(server.requests) == 2
    assert not [text for text in shown if SECRET in text]


def test_the_size_of_messages_is_limited(
    server: FakeServer, connect: type[RecommenderClient]
) -> None:
    with (
        connect(server.address, connection=Connection(max_message_bytes=1000)) as client,
        pytest.raises(RecommenderError, match="larger than max"),
    ):
        client.rank([], ["x" * 2000])
