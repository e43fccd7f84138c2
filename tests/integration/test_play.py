"""The page over the real server, asked as a client and in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from builder.play.app import make_app
from builder.play.contents import Contents, Run, look_at
from builder.play.items import ItemTexts
from builder.play.looks import Looks
from builder.play.users import Users
from builder.serving import TritonServer
from client import RecommenderClient
from tests.browser import Browser, chromium
from tests.integration.tiny_repository import CATALOGUE, write_tiny_repository
from tests.unit.builder.play.pages import ACTIONS, Page, holdout

ROOT = Path(__file__).parents[2]


@contextmanager
def playing(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a user starts it, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "builder", "play", "--port", "0", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        told = []
        for line in process.stdout:
            told.append(line)
            if match := re.fullmatch(r"Open (http://127\.0\.0\.1:\d+)\n", line):
                yield process, match[1]
                break
        else:
            raise AssertionError("".join(told))
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that takes events, with items that the small run does not know."""
    repository = tmp_path_factory.mktemp("tiny")
    write_tiny_repository(repository, layout="fused", trend=True)
    with TritonServer(repository, metrics_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def page(repository: Path, tiny: TritonServer) -> Iterator[str]:
    arguments = ("--repository", str(repository), "--compare", tiny.grpc_address)
    with playing(*arguments) as (_, address):
        yield address


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as browser:
        browser.size(1280, 900)
        yield browser
        assert browser.complaints == []


def test_it_ends_when_it_is_asked_to(repository: Path) -> None:
    with playing("--repository", str(repository)) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        assert process.stdout.read() == "Press Ctrl-C to stop.\nStopped.\n"
        assert process.returncode == 0


def test_events_reach_the_server_and_change_its_list(tiny: TritonServer, tmp_path: Path) -> None:
    ids = [f"i{number}" for number in range(CATALOGUE)]
    items = ItemTexts(ids, [f"item {number}" for number in range(CATALOGUE)])
    run = Run(tmp_path, items, Users(holdout(), items, ACTIONS), ACTIONS)
    with ExitStack() as stack:
        client = stack.enter_context(RecommenderClient(tiny.grpc_address, timeout=30))
        contents = Contents(
            look_at(client, tiny.grpc_address), None, run, Looks(tiny.metrics_address)
        )
        pages = stack.enter_context(TestClient(make_app(contents), "http://127.0.0.1"))
        form = {"history": json.dumps([["i7", None, None, None]]), "option-include_seen": "on"}
        page = Page(pages.post("/", data=form).text)
        assert json.loads(page.fields["before"])[0][0] != "i7"
        page = Page(pages.post("/", data={**page.fields, "do": "observe:0"}).text)
        assert "counted 1 event" in page.text
        for _ in range(100):  # the server looks at new events from time to time
            page = Page(pages.post("/", data=page.fields).text)
            if json.loads(page.fields["before"])[0][0] == "i7":
                break
        assert json.loads(page.fields["before"])[0][0] == "i7"
        assert pages.get("/performance").status_code == 200


def test_a_history_is_put_together_and_the_list_moves(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.until("document.querySelectorAll('.list tbody tr').length === 10")
    first = browser.run("document.querySelector('[name=before]').value")
    browser.write("#q", "star wars")
    browser.until("document.querySelector('#found button')")
    browser.click("#found button")
    browser.until("document.querySelectorAll('#events li').length === 1")
    assert "Star Wars (1977)" in browser.run("document.querySelector('#events').innerText")
    assert browser.run("document.querySelector('[name=before]').value") != first
    assert browser.run("document.querySelectorAll('.up').length") > 0
    assert (
        browser.run("location.pathname + performance.getEntriesByType('navigation').length") == "/1"
    )


def test_options_and_new_items_change_the_list_at_once(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.write("#option-top_k", "3")
    browser.press("Enter")
    browser.until("document.querySelectorAll('.list tbody tr').length === 3")
    browser.write("#new", "The Matrix (1999) Action Sci-Fi Thriller")
    browser.press("Tab")  # leaving the field is enough
    browser.until("document.querySelector('tr.new')")
    browser.write("#option-top_k", "1.5")
    browser.press("Enter")
    browser.until("document.querySelector('.problem:not([hidden])')")
    assert "give a whole number" in browser.run(
        "document.querySelector('#list .problem').innerText"
    )


def test_what_was_put_together_is_there_on_the_other_pages(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.click("button[value=any]")
    browser.until("document.querySelector('#events li')")
    user = browser.run("document.querySelector('#user').value")
    titles = browser.run("document.querySelector('#events').innerText")
    browser.click("nav a[href='/quality']")
    browser.until("location.pathname === '/quality' && document.querySelectorAll('.chart').length")
    browser.click("nav a[href='/compare']")
    browser.until("location.pathname === '/compare' && document.querySelector('#events li')")
    assert browser.run("document.querySelector('#user').value") == user
    assert browser.run("document.querySelector('#events').innerText") == titles
    browser.until("document.querySelectorAll('.sides .list').length === 2")
    assert browser.run("document.querySelectorAll('tr.only').length") > 0


def test_figures_of_the_server_come_by_themselves(browser: Browser, page: str) -> None:
    browser.open(f"{page}/performance")
    browser.until("document.querySelector('.figures')")
    assert "recommend" in browser.run("document.querySelector('.figures').innerText")


def test_the_keyboard_is_enough(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.run("document.querySelector('#q').focus()")
    browser.call("Input.insertText", text="star wars")
    browser.until("document.querySelector('#found button')")
    browser.press("Tab")
    browser.press("Enter")
    browser.until("document.querySelector('#events li')")


@pytest.mark.parametrize(
    "path", ["/?user={user}", "/compare?user={user}", "/quality", "/performance"]
)
def test_a_phone_needs_no_scrolling_to_the_side(
    browser: Browser, page: str, path: str, run: Path
) -> None:
    user = load_users(run)[0]
    browser.size(360, 740, dark=True)
    browser.open(page + path.format(user=user))
    assert browser.run("document.scrollingElement.scrollWidth") <= 360
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(each) for each in re.findall(r"\d+", paper))
    assert max(red, green, blue) < 64


def test_nothing_is_asked_of_other_machines(browser: Browser, page: str) -> None:
    for path in ("/", "/compare", "/quality", "/performance"):
        browser.open(page + path)
    addresses = {each for each in browser.requested if not each.startswith("data:image/svg+xml")}
    assert {"/", "/static/play.css", "/static/play.js"} <= {
        each.removeprefix(page) for each in addresses
    }
    assert [each for each in addresses if not each.startswith(page)] == []


def load_users(run: Path) -> list[str]:
    from builder.model.checkpoint import load_validation

    return load_validation(run).histories.user_ids
