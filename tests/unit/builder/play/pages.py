"""The pages over servers of `client.testing`, with a few items whose texts hold markup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import numpy as np
from starlette.testclient import TestClient

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.play.app import make_app
from builder.play.contents import Contents, Run, look_at
from builder.play.items import ItemTexts
from builder.play.looks import Looks
from builder.play.users import Users
from client import RecommenderClient, Retry
from client.testing import FakeServer

IDS: Final = ["a", "b", "c", "d", "e"]
TEXTS: Final = ["Alien (1979)", "Brazil (1985)", "<b>Charade</b> & co", "Dune (1984)", ""]
ACTIONS: Final = ["liked", "seen"]


def holdout() -> Holdout:
    """User "one" did a and b, and then c; user "two" did d, and then a."""
    histories = Sequences(
        ["one", "two"],
        np.array([0, 2, 3]),
        np.array([0, 1, 3], np.int32),
        np.array([100, 200, 50]),
        np.array([1, 0, 2], np.int32),
    )
    return Holdout(histories, np.array([2, 0], np.int32))


def make_run(directory: Path) -> Run:
    items = ItemTexts(IDS, TEXTS)
    return Run(directory, items, Users(holdout(), items, ACTIONS), ACTIONS)


@contextmanager
def browsing(
    directory: Path, server: FakeServer, other: FakeServer | None = None, metrics: str = "nowhere:1"
) -> Iterator[TestClient]:
    """What asks the pages as a browser on this machine would, with the addresses of `server`."""
    with ExitStack() as stack:
        served = [
            look_at(
                stack.enter_context(
                    RecommenderClient(each.address, timeout=10, retry=Retry(attempts=1))
                ),
                each.address,
            )
            for each in (server, other)
            if each is not None
        ]
        contents = Contents(
            served[0], served[1] if other is not None else None, make_run(directory), Looks(metrics)
        )
        yield stack.enter_context(TestClient(make_app(contents), "http://127.0.0.1:8080"))


class Page(HTMLParser):
    """The fields and buttons of a page, and its text.

    Attributes
    ----------
    fields
        What a browser would send of the form without a button: name → value.
    buttons
        The values of the buttons that can be pressed.
    unlabelled
        Fields that nothing names for those who do not see them.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.buttons: list[str] = []
        self.words: list[str] = []
        self._named: set[str] = set()
        self._seen: list[tuple[str, str]] = []
        self._select = ""
        self._chosen = False
        self.feed(text)
        self.unlabelled = [name for name, place in self._seen if place not in self._named]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._chosen:
            self.fields[self._select] = data
            self._chosen = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "label":
            self._named.add(given["for"])
        elif tag == "button" and "value" in given and "disabled" not in given:
            self.buttons.append(given["value"])
        elif tag == "option" and self._select and "selected" in given:
            if "value" in given:
                self.fields[self._select] = given["value"]
            else:
                self._chosen = True  # its text is its value
        shown = tag in ("input", "select") and given.get("type") != "hidden"
        if shown and "aria-label" not in given:
            self._seen.append((given["name"], given.get("id", "")))
        if tag == "select":
            self._select = given["name"]
            self.fields[self._select] = ""
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
