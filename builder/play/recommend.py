"""Answers a form: does what its button says, and asks the servers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from builder.play import history as histories
from builder.play import option_fields
from builder.play.charts import sparkline
from builder.play.contents import Contents, Served
from builder.play.form import LATENCIES, Form, of_server
from builder.play.history import Entry, FormError, History
from builder.play.items import Found
from builder.play.lists import Shown, ask
from builder.play.option_fields import OptionField
from client import Event, RecommenderError


@dataclass(frozen=True, slots=True)
class Panel:
    """One server's list; ``latencies`` are the milliseconds of its last calls, the latest last.

    ``only_here`` are the ids that the other server's list lacks, empty where there is no other.
    """

    served: Served
    shown: Shown
    latencies: Sequence[float]
    only_here: frozenset[str] = frozenset()

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    @property
    def spark(self) -> Markup:
        label = (
            f"the last {len(self.latencies)} calls: median {self.median:.1f} ms, "
            f"longest {max(self.latencies):.1f} ms"
        )
        return sparkline(self.latencies, label)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows. ``message`` says what a button did, or why it did not."""

    q: str
    user: str
    new: str
    loaded: str
    target: str
    history: History
    found: Sequence[Found]
    options: Sequence[OptionField]
    panels: Sequence[Panel]
    message: str


def respond(contents: Contents, form: Form, *, compared: bool) -> Answer:
    """Answer a form; with ``compared`` both servers are asked."""
    state = _State(contents, form)
    state.press()
    try:
        options = option_fields.chosen(form.fields)
        problem = ""
    except FormError as error:
        options, problem = {}, str(error)
    servers = [contents.server]
    if compared and contents.other is not None:
        servers.append(contents.other)
    panels = []
    for place, served in enumerate(servers):
        before = of_server(form.before, place)
        latencies = of_server(form.latencies, place)
        if problem:
            shown = Shown(error=problem, ids=before)
        else:
            shown = ask(
                served.client, state.history, options,
                items=contents.run.items, new_text=state.new, before=before,
            )  # fmt: skip
        if shown.milliseconds is not None:
            latencies = [*latencies, round(shown.milliseconds, 2)][-LATENCIES:]
        panels.append(Panel(served, shown, latencies))
    return Answer(
        q=form.q,
        user=state.user,
        new=state.new,
        loaded=state.loaded,
        target=state.target,
        history=state.history,
        found=contents.run.items.search(form.q),
        options=option_fields.fields(form.fields),
        panels=_marked(panels),
        message=state.message,
    )


class _State:
    """What a button changes."""

    def __init__(self, contents: Contents, form: Form) -> None:
        self._contents = contents
        self._do = form.do
        self.history = form.history
        self.user, self.loaded, self.target = form.user, form.loaded, form.target
        self.new = form.new
        self.message = ""

    def press(self) -> None:
        what, _, which = self._do.partition(":")
        if what == "add" and which:
            self.history = histories.added(self.history, Entry(which))
        elif what == "new" and self.new:
            name = f"new item {len(self.history) + 1}"
            self.history = histories.added(self.history, Entry(name, self.new))
            self.new = ""
        elif what == "clear":
            self.history, self.user, self.loaded, self.target = (), "", "", ""
        elif what == "any":
            self._load(self._contents.run.users.any_id())
        elif what in ("later", "earlier", "remove", "observe"):
            self._press_of_event(what, which)
        elif what == "user" or self.user != self.loaded:
            self._load(self.user)

    def _press_of_event(self, what: str, which: str) -> None:
        try:
            number = int(which)
        except ValueError:  # no number, or one of thousands of digits
            number = -1
        if not 0 <= number < len(self.history):
            self.message = "That event is no longer in the history."
        elif what == "remove":
            self.history = histories.removed(self.history, number)
        elif what == "observe":
            self._observe(self.history[number])
        else:
            by = 1 if what == "later" else -1
            self.history = histories.moved(self.history, number, by)

    def _load(self, name: str) -> None:
        self.user = self.loaded = name
        user = self._contents.run.users.find(name) if name else None
        if user is not None:
            self.history, self.target = user.history, user.target
        elif name:
            self.message = f"The run has no validation user {name!r}; choose a suggested one."

    def _observe(self, entry: Entry) -> None:
        try:
            told = self._contents.server.client.observe([Event(entry.item, entry.action)])
        except RecommenderError as error:
            self.message = str(error)
            return
        self.message = (
            "The server counted 1 event, as of now."
            if told.accepted
            else "The server kept the event, and does not count it: its catalogue lacks the item."
        )


def _marked(panels: Sequence[Panel]) -> Sequence[Panel]:
    """With what is only in one list; a list that failed says nothing of the other."""
    if len(panels) < 2 or any(panel.shown.error for panel in panels):
        return panels
    first, second = (frozenset(panel.shown.ids) for panel in panels)
    return [
        Panel(panel.served, panel.shown, panel.latencies, only)
        for panel, only in zip(panels, (first - second, second - first), strict=True)
    ]
