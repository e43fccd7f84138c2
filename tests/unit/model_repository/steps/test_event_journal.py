"""Events on disk."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_repository.core.events import Event
from model_repository.steps import event_journal
from model_repository.steps.event_journal import (
    _FIELDS,
    _HEAD,
    _RECORD,
    EventJournal,
    JournalUnusable,
    _record,
)

UNTIL = 50
EVENTS = [
    Event(b"a", 100, b"buy", b"1"),
    Event(b"\xff\x00", 101),
    Event("füñf".encode(), 0, b"", b"x" * 1024),
]


class Journals:
    """Opens the journal of a directory, one at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.complaints: list[str] = []
        self._open: EventJournal | None = None

    def open(self, segment: int = event_journal.SEGMENT) -> EventJournal:
        self.close()
        self._open = EventJournal(self.directory, self.complaints.append, segment)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[Journals]:
    made = Journals(tmp_path / "some" / "events")
    yield made
    made.close()


def test_what_is_appended_is_read_again(journals: Journals) -> None:
    journal = journals.open()
    assert list(journal.read()) == []
    journal.append(EVENTS[:2], UNTIL)
    journal.append([], UNTIL)
    journal.append(EVENTS[2:], UNTIL + 1)
    expected = [(EVENTS[0], UNTIL), (EVENTS[1], UNTIL), (EVENTS[2], UNTIL + 1)]
    assert list(journal.read()) == expected
    assert list(journals.open().read()) == expected
    assert journals.complaints == []


def test_events_are_in_the_file_at_once(journals: Journals) -> None:
    # So the process may die at any time.
    journals.open().append(EVENTS, UNTIL)
    assert b"x" * 1024 in (journals.directory / "journal").read_bytes()


@pytest.mark.parametrize("lost", [1, 10, 1040])
def test_a_torn_last_record_is_cut_off(journals: Journals, lost: int) -> None:
    journals.open().append(EVENTS, UNTIL)
    journals.close()
    path = journals.directory / "journal"
    os.truncate(path, path.stat().st_size - lost)
    journal = journals.open()
    assert [event for event, _ in journal.read()] == EVENTS[:2]
    (said,) = journals.complaints
    assert "no whole events" in said
    journal.append(EVENTS[:1], UNTIL)
    assert [event for event, _ in journals.open().read()] == [*EVENTS[:2], EVENTS[0]]
    assert len(journals.complaints) == 1


@pytest.mark.parametrize(
    ("damaged", "lost"),
    [(b"tritonrec", None), (b"\xff\x00", 1), (b"x" * 1024, 2)],
    ids=["the-head", "the-middle", "the-end"],
)
def test_events_behind_a_damaged_one_are_kept(
    journals: Journals, damaged: bytes, lost: int | None
) -> None:
    journals.open().append(EVENTS, UNTIL)
    journals.close()
    path = journals.directory / "journal"
    content = bytearray(path.read_bytes())
    content[content.index(damaged)] ^= 1
    path.write_bytes(content)
    sound = [event for place, event in enumerate(EVENTS) if place != lost]
    journal = journals.open()
    assert [event for event, _ in journal.read()] == sound
    (said,) = journals.complaints
    assert ("no whole events" if lost == 2 else "damaged and left out") in said
    journal.append(EVENTS[:1], UNTIL)
    assert [event for event, _ in journals.open().read()] == [*sound, EVENTS[0]]


@pytest.mark.parametrize("size", [1_200_000, 9_000_000])
@pytest.mark.parametrize("damage", ["zeros", "random", "records"])
def test_events_behind_a_large_damage_are_kept(journals: Journals, damage: str, size: int) -> None:
    """As where an extent of the file was lost, or holds what belongs to another file."""
    lost = {
        "zeros": bytes(size),
        "random": random.Random(0).randbytes(size),
        "records": _record(Event(b"a" * 1024, 1), 0)[:-1] * (size // 1053),
    }[damage]
    records = [_record(event, UNTIL) for event in EVENTS]
    journals.directory.mkdir(parents=True)
    path = journals.directory / "journal"
    path.write_bytes(_HEAD + records[0] + lost + records[1] + lost + records[2])
    journal = journals.open()
    assert [event for event, _ in journal.read()] == EVENTS
    (said,) = journals.complaints
    assert f"{2 * len(lost)} bytes within" in said
    journal.append(EVENTS[:1], UNTIL)
    assert [event for event, _ in journals.open().read()] == [*EVENTS, EVENTS[0]]


@pytest.mark.parametrize("damage", ["zeros", "random", "heads"])
def test_a_damaged_segment_is_searched_where_a_record_may_be(
    journals: Journals, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment of 32 MiB has as many places; looking at each one alone would take minutes."""
    head = _record(Event(b"a" * 1024, 1), 0)[: _RECORD.size + _FIELDS.size]
    heads = event_journal.SEGMENT // len(head)
    content = {
        "zeros": bytes(event_journal.SEGMENT),
        "random": random.Random(0).randbytes(event_journal.SEGMENT),
        "heads": head * heads,
    }[damage]
    journals.directory.mkdir(parents=True)
    (journals.directory / "journal").write_bytes(content)
    looked = 0
    look = event_journal._next

    def counted(content: bytes, place: int) -> tuple[int, int] | None:
        nonlocal looked
        looked += 1
        return look(content, place)

    monkeypatch.setattr(event_journal, "_next", counted)
    assert list(journals.open().read()) == []
    assert 0 < looked <= (2 * heads if damage == "heads" else 100)


def test_what_is_cut_off_is_called_damaged_where_it_is_more_than_an_event(
    journals: Journals,
) -> None:
    journals.open().append(EVENTS[:1], UNTIL)
    journals.close()
    with (journals.directory / "journal").open("ab") as file:
        file.write(bytes(5_000))
    assert [event for event, _ in journals.open().read()] == EVENTS[:1]
    (said,) = journals.complaints
    assert "the last 5000 bytes" in said
    assert "no whole event is among them" in said
    assert "failed while" not in said


def test_another_file_is_no_journal(journals: Journals) -> None:
    journals.directory.mkdir(parents=True)
    (journals.directory / "journal").write_text("something else")
    journal = journals.open()
    assert list(journal.read()) == []
    journal.append(EVENTS, UNTIL)
    assert [event for event, _ in journals.open().read()] == EVENTS


def test_the_oldest_events_make_room(journals: Journals) -> None:
    journal = journals.open(segment=2_000)
    events = [Event(b"i%d" % number, number, b"", b"e" * 100) for number in range(100)]
    for event in events:
        journal.append([event], UNTIL)
    kept = [event for event, _ in journal.read()]
    assert kept == events[-len(kept) :]
    assert 10 < len(kept) < 40
    sizes = {path.name: path.stat().st_size for path in journals.directory.iterdir()}
    assert sizes.keys() == {"journal", "journal.old", "lock"}
    assert sum(sizes.values()) <= 4_000
    assert [event for event, _ in journals.open(segment=2_000).read()] == kept


def test_a_large_batch_is_kept_whole(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_journal, "MOST_VALUES", 5)
    journal = journals.open(segment=1_000)
    events = [Event(b"i%d" % number, number) for number in range(60)]
    journal.append(events, UNTIL)
    kept = [event for event, _ in journal.read()]
    assert kept == events[-len(kept) :]
    assert max(path.stat().st_size for path in journals.directory.iterdir()) <= 1_000


def test_two_servers_do_not_write_one_journal(journals: Journals) -> None:
    journals.open().append(EVENTS, UNTIL)
    with pytest.raises(JournalUnusable, match="another server"):
        EventJournal(journals.directory, print)
    journals.close()
    assert len(list(journals.open().read())) == 3


def test_a_full_disk_is_complained_of_once(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journals.open()
    assert journal.append(EVENTS[:1], UNTIL) == 1
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:20]))
    assert journal.append(EVENTS, UNTIL) == 0
    assert journal.append(EVENTS, UNTIL) == 0
    (said,) = journals.complaints
    assert "No space left" in said
    assert "free some space" in said
    monkeypatch.undo()
    journal.append(EVENTS[2:], UNTIL)
    assert [event for event, _ in journal.read()] == [EVENTS[0], EVENTS[2]]
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:20]))
    journal.append(EVENTS, UNTIL)
    assert len(journals.complaints) == 2


def test_it_is_brought_to_the_disk(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journals.open().append(EVENTS, UNTIL)
    journals.close()
    assert synced
