"""The model ``observe``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_repository.core.batch import Outcome
from model_repository.core.errors import InvalidRequest
from model_repository.core.events import Event
from model_repository.core.identifiers import Identifiers
from model_repository.core.live_trend import LiveCounts
from model_repository.core.observe import EventCounter, Observe, Tally
from tests.unit.model_repository.core.test_events import NOW, request

TAU = 100.0


class Observed:
    def __init__(self) -> None:
        self.counts = LiveCounts(np.zeros(2, np.int64), np.full(3, -np.inf))
        self.kept: list[Event] = []
        self.changes_when_kept: list[int] = []
        self.tallies: list[Tally] = []
        counter = EventCounter(Identifiers.of(["a", "b", "c"]), TAU, self.counts)
        self.model = Observe(counter, self.keep, self.tallies.append, lambda: NOW + 0.5)

    def keep(self, events: Any) -> None:
        self.changes_when_kept.append(self.counts.changes)
        self.kept += events

    def numbers(self, *events: Any) -> list[list[int]]:
        return [numbers(each) for each in self.model(list(events))]


def numbers(outcome: Outcome) -> list[int]:
    assert not isinstance(outcome, Exception), outcome
    assert [each.dtype for each in outcome.values()] == [np.int32] * 3
    return [int(outcome[name][0, 0]) for name in ("ACCEPTED", "UNKNOWN", "REPEATED")]


@pytest.fixture
def observed() -> Observed:
    return Observed()


def test_events_of_a_batch_are_counted_together(observed: Observed) -> None:
    answers = observed.numbers(request(["a", "b", "a"], [NOW, NOW - 50, NOW]), request(["b"]))
    assert answers == [[3, 0, 0], [1, 0, 0]]
    assert observed.counts.changes == 1
    assert observed.counts.last == NOW
    counted = np.exp(observed.counts.level - NOW / TAU)
    np.testing.assert_allclose(counted, [2, 1 + np.exp(-0.5), 0], rtol=1e-6)
    assert observed.tallies == [Tally(4, 0, 0)]


def test_unknown_items_are_kept_and_not_counted(observed: Observed) -> None:
    assert observed.numbers(request(["new", "a"])) == [[1, 1, 0]]
    assert [each.item for each in observed.kept] == [b"new", b"a"]
    assert np.isfinite(observed.counts.level).tolist() == [True, False, False]


def test_what_is_sent_again_counts_once(observed: Observed) -> None:
    sent = request(["a", "b"], event_id=["1", "2"])
    assert observed.numbers(sent, sent) == [[2, 0, 0], [0, 0, 2]]
    before = observed.counts.level.copy()
    assert observed.numbers(sent) == [[0, 0, 2]]
    np.testing.assert_array_equal(observed.counts.level, before)
    assert len(observed.kept) == 2
    assert observed.tallies[-1] == Tally(0, 0, 2)


def test_a_bad_request_counts_for_nothing_and_harms_no_other(observed: Observed) -> None:
    bad, good = observed.model([request(["a", "b"], [NOW, -1]), request(["c"])])
    assert isinstance(bad, InvalidRequest)
    assert numbers(good) == [1, 0, 0]
    assert [each.item for each in observed.kept] == [b"c"]
    # Nor are its ids remembered: corrected, it counts.
    observed.model([request(["a"], [-1], event_id=["1"])])
    assert observed.numbers(request(["a"], [NOW], event_id=["1"])) == [[1, 0, 0]]


def test_events_are_kept_before_they_are_counted(observed: Observed) -> None:
    observed.numbers(request(["a"]))
    observed.numbers(request(["a"]))
    assert observed.changes_when_kept == [0, 1]


def test_a_request_without_events_changes_nothing(observed: Observed) -> None:
    assert observed.numbers(request([])) == [[0, 0, 0]]
    assert observed.counts.changes == 0
