"""The model ``observe`` with its files: counts that others map, and a journal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_repository.core.batch import answer
from model_repository.core.catalogue import Catalogue
from model_repository.core.identifiers import Identifiers
from model_repository.core.live_trend import LiveCounts
from model_repository.core.observe import Tally
from model_repository.core.trend import Trend, levels
from model_repository.steps import observe
from model_repository.steps.catalogue_files import load_trend, save_catalogue
from model_repository.steps.live_counts_file import LiveCountsFile
from model_repository.steps.observe import EVENTS, ObservedEvents
from tests.unit.model_repository.core.test_events import request

UNTIL = 1_600_000_000
TAU = 1_000.0


class Server:
    """Starts the model, one at a time, in the version ``1`` of a repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: Path | None = root / "events"
        self.path = root / "counts"
        self.complaints: list[str] = []
        self.tallies: list[Tally] = []
        self.last = 0
        self.lost = 0
        self.model: ObservedEvents | None = None

    def start(self, ids: Sequence[str] = "abc", until: int = UNTIL) -> None:
        self.stop()
        directory = self.root / "1"
        directory.mkdir(exist_ok=True)
        level = levels(np.zeros(1, np.int32), np.array([until]), len(ids), TAU)
        items = np.zeros((len(ids), 1), np.float32)
        save_catalogue(
            directory,
            Catalogue(items, items[:, 0], Identifiers.of(ids), trend=Trend(TAU, 1.0, level, until)),
        )
        self.last = 0
        self.model = ObservedEvents(
            directory,
            self.path,
            self.tallies.append,
            self._advance,
            self._lose,
            self.complaints.append,
            {} if self.kept is None else {EVENTS: str(self.kept)},
        )

    def stop(self) -> None:
        if self.model is not None:
            self.model.close()
            self.model = None

    def send(self, items: Sequence[str], times: Sequence[int], **columns: Sequence[str]) -> None:
        assert self.model is not None
        (found,) = answer(self.model, [request(items, times, **columns)])
        assert not isinstance(found, Exception), found

    def counts(self) -> LiveCounts:
        """What another process sees."""
        found = LiveCountsFile(self.path, load_trend(self.root / "1")[1])()
        assert found is not None
        return found

    def _advance(self, by: int) -> None:
        self.last += by

    def _lose(self, events: int) -> None:
        self.lost += events


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def level(*times: int) -> float:
    return float(levels(np.zeros(len(times), np.int32), np.array(times), 1, TAU)[0])


def test_other_processes_see_the_counts(server: Server) -> None:
    server.start()
    assert server.last == UNTIL
    server.send(["a", "x", "b"], [UNTIL + 5, UNTIL + 6, UNTIL + 3])
    found = server.counts()
    np.testing.assert_allclose(found.level[:2], [level(UNTIL, UNTIL + 5), level(UNTIL + 3)])
    assert found.level[2] == -np.inf
    assert found.last == server.last == UNTIL + 5
    assert server.tallies == [Tally(2, 1, 0)]


def test_a_restart_keeps_the_events_and_their_ids(server: Server) -> None:
    server.start()
    # One happened before the log ends, and came too late to be in it.
    server.send(["a", "b", "c"], [UNTIL + 5, UNTIL + 6, UNTIL - 9], event_id=["1", "2", "3"])
    before = server.counts().level.copy()
    server.start()
    np.testing.assert_allclose(server.counts().level, before)
    assert server.last == UNTIL + 6
    server.send(["a", "b"], [UNTIL + 7] * 2, event_id=["1", "4"])
    assert server.tallies[-1] == Tally(1, 0, 1)
    assert server.lost == 0


def test_events_of_a_wrong_clock_are_not_replayed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    server.send(["a", "b"], [UNTIL + 5, UNTIL + 9 * 86_400])
    monkeypatch.setattr(observe, "unix_time", lambda: UNTIL + 60.0)
    server.start()
    found = server.counts()
    np.testing.assert_allclose(found.level[:2], [level(UNTIL, UNTIL + 5), -np.inf])
    assert server.last == UNTIL + 5
    (said,) = server.complaints
    assert said.startswith("1 events of the journal are not counted")


def test_a_new_version_counts_what_its_log_cannot_hold(server: Server) -> None:
    server.start()
    server.send(["b", "new", "b", "gone"], [UNTIL + each for each in (5, 60, 70, 80)])
    server.start(["b", "new"], until=UNTIL + 50)
    found = server.counts()
    np.testing.assert_allclose(found.level, [level(UNTIL + 50, UNTIL + 70), level(UNTIL + 60)])
    assert found.last == UNTIL + 70
    # And back to the earlier version.
    server.start()
    np.testing.assert_allclose(
        server.counts().level[:2], [level(UNTIL), level(UNTIL + 5, UNTIL + 70)]
    )


def test_without_a_directory_events_end_with_the_server(server: Server) -> None:
    server.kept = None
    server.start()
    (said,) = server.complaints
    assert "not kept; set TRITONREC_EVENTS" in said
    server.send(["b"], [UNTIL + 5], event_id=["1"])
    assert server.counts().level[1] == level(UNTIL + 5)
    server.send(["b", "x"], [UNTIL + 5] * 2, event_id=["1", "2"])
    assert server.lost == 2  # what was sent before is not lost again
    server.start()
    assert server.counts().level[1] == -np.inf


def test_a_directory_that_cannot_be_used_is_complained_of(server: Server) -> None:
    (server.root / "events").write_text("")
    server.start()
    (said,) = server.complaints
    assert "not kept: " in said
    assert "serve --events" in said
    server.send(["b"], [UNTIL + 5])
    assert server.counts().level[1] == level(UNTIL + 5)


def test_events_for_which_the_disk_has_no_room_are_counted_as_lost(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:20]))
    server.send(["a", "b"], [UNTIL + 5] * 2)
    monkeypatch.undo()
    assert server.lost == 2
    assert server.tallies == [Tally(2, 0, 0)]


def test_the_counts_end_with_the_model(server: Server) -> None:
    server.start()
    assert server.path.exists()
    server.stop()
    assert not server.path.exists()
