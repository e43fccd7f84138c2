"""Who may reach ``serve``: TLS by its options, and what it says where it listens."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from client import RecommenderClient, Retry, Tls, Unavailable
from perf.serve import served, start_serve
from tests.integration.breakable import publish_breakable

OPEN = "is open to the network without TLS"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("access") / "models"
    publish_breakable(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and what it issued to a server of another name than it listens on."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("recommender.example", "client"):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
    return directory


def options(files: Path) -> list[str]:
    return [
        f"--tls-certificate={files}/recommender.example.pem",
        f"--tls-key={files}/recommender.example.key",
        f"--tls-authority={files}/ca.pem",
    ]


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_lets_in_whom_it_should(repository: Path, files: Path, mutual: bool) -> None:
    name = "recommender.example"
    known = Tls(files / "ca.pem", files / "client.pem", files / "client.key", server_name=name)
    anonymous = Tls(files / "ca.pem", server_name=name)
    once = Retry(attempts=1)
    with served(repository, *options(files), *["--tls-mutual"] * mutual) as running:
        assert OPEN not in running.printed
        for tls, let_in in ((known, True), (anonymous, not mutual), (None, False)):
            with RecommenderClient(running.address, tls=tls, retry=once, timeout=5) as client:
                if let_in:
                    assert client.rank([], ["a"]).logits.tolist() == [1]
                else:
                    with pytest.raises(Unavailable):
                        client.rank([], ["a"])
        assert running.get("/ready")[0] == 200


def test_an_option_that_is_missing_is_named(repository: Path, files: Path) -> None:
    with start_serve(repository, *options(files)[:2]) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode == 2
    assert printed.startswith("error: TLS takes a certificate, its key and who signed it")
    assert "--tls-authority" in printed


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", 0), ("localhost", 0), ("0.0.0.0", 1), ("::", 1)]
)
def test_a_network_without_tls_is_warned_of(repository: Path, host: str, told: int) -> None:
    with served(repository, "--host", host) as running:
        assert running.get("/ready")[0] == 200
        assert running.printed.count(OPEN) == told
