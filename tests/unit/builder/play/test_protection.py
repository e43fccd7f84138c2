from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from client.testing import FakeServer
from tests.unit.builder.play.pages import IDS, browsing


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    directory: Path = tmp_path_factory.mktemp("run")
    with FakeServer(IDS) as server, browsing(directory, server) as browser:
        yield browser


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9000", "localhost"])
def test_names_of_this_machine_are_answered(browser: TestClient, host: str) -> None:
    assert browser.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example:1"])
@pytest.mark.parametrize("path", ["/", "/search?q=a", "/static/play.js"])
def test_other_names_are_refused(browser: TestClient, host: str, path: str) -> None:
    answer = browser.get(path, headers={"host": host})
    assert answer.status_code == 403
    assert "127.0.0.1 and localhost alone" in answer.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://127.0.0.1:9999", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_forms_of_other_sites_are_refused(browser: TestClient, origin: str, status: int) -> None:
    assert browser.post("/", headers={"origin": origin}).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/compare", "/quality", "/performance", "/static/play.js", "/x"]
)
def test_every_answer_keeps_what_is_not_ours_out(browser: TestClient, path: str) -> None:
    headers = browser.get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_hold_no_script_or_style_and_ask_for_nothing_from_elsewhere(
    browser: TestClient,
) -> None:
    for path in ("/?user=one", "/compare", "/quality", "/performance", "/static/play.css"):
        text = browser.get(path).text
        assert "style=" not in text
        assert "onclick" not in text
        assert "<script>" not in text
        assert re.search(r"""(src|href|action)=["']?(https?:|//)|url\(""", text) is None
