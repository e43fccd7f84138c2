from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from builder.errors import ServingError
from builder.serving import ServerTls
from builder.serving.access import served_name


def issue(directory: Path, *names: str) -> ServerTls:
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    tls = ServerTls(directory / "own.pem", directory / "own.key", directory / "ca.pem")
    authority.cert_pem.write_to_path(tls.authority)
    issued.cert_chain_pems[0].write_to_path(tls.certificate)
    issued.private_key_pem.write_to_path(tls.key)
    return tls


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["recommender.example", "other.example"], "recommender.example"),
        (["10.1.2.3"], "10.1.2.3"),
        (["*.example.org"], "any.example.org"),
    ],
)
def test_the_name_of_a_certificate(tmp_path: Path, names: list[str], first: str) -> None:
    tls = issue(tmp_path, *names)
    assert served_name(tls) == first
    mutual = ServerTls(tls.certificate, tls.key, tls.authority, mutual=True)
    assert served_name(mutual) == first


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    tls = issue(tmp_path, "a.example")
    tls.key.unlink()
    with pytest.raises(ServingError, match=r"TLS: .*own\.key cannot be read: No such file"):
        served_name(tls)


@pytest.mark.parametrize("wrong", ["own.key", "ca.pem", "own.pem"])
def test_files_that_do_not_go_together(tmp_path: Path, wrong: str) -> None:
    tls = issue(tmp_path, "a.example")
    (tmp_path / "other").mkdir()
    other = issue(tmp_path / "other", "a.example")
    (tmp_path / wrong).write_bytes((other.certificate.parent / wrong).read_bytes())
    with pytest.raises(ServingError, match=r"do not go together: .*; check that the key is"):
        served_name(tls)


def test_a_file_that_is_no_pem(tmp_path: Path) -> None:
    tls = issue(tmp_path, "a.example")
    tls.authority.write_text("nothing of the kind")
    with pytest.raises(ServingError, match="do not go together"):
        served_name(tls)
