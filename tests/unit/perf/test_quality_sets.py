"""Slices have the shape that they are named for, the same each time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from builder.data import DataConfig, Sequences, read
from perf import quality_sets
from perf.quality_sets import QualitySet, few_items, few_users, repetition, short_histories


def at(step: int) -> int:
    return 1_500_000_000 + 1_000 * step


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Eight users of ten events on six films, every fifth of them rated low."""
    directory = tmp_path / "sets" / "films"
    directory.mkdir(parents=True)
    rows = [
        f"u{user},{user * step % (3 + user % 4)},{2 if step % 5 == 4 else 5},{at(step) + user}"
        for user in range(8)
        for step in range(10)
    ]
    (directory / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]))
    films = [f"{film},Film {film} (1990),Drama" for film in range(7)]
    (directory / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]))
    return tmp_path / "sets"


def made(sets: Path, tmp_path: Path, **shape: object) -> tuple[Sequences, list[str]]:
    each = QualitySet("a slice", "films", 4.0, 3, **shape)  # type: ignore[arg-type]
    directory = each.directory(sets, tmp_path / "made")
    before = {file.name: file.read_bytes() for file in directory.iterdir()}
    again = each.directory(sets, tmp_path / "again")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == before
    interactions, catalogue = read(DataConfig(directory, min_rating=1.0))
    return Sequences.from_interactions(interactions), catalogue.item_ids


def test_short_histories(sets: Path, tmp_path: Path) -> None:
    log, items = made(sets, tmp_path, make=short_histories)
    assert log.lengths.tolist() == [5] * 8
    assert log.target is None or log.target.all()
    times = log.times_of(0)
    assert times is not None
    assert times.tolist() == [at(step) for step in (3, 5, 6, 7, 8)]
    assert len(items) == 7


def test_few_users_of_the_whole_catalogue(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_sets, "FEW_USERS", 3)
    log, items = made(sets, tmp_path, make=few_users)
    assert log.user_ids == ["u0", "u3", "u7"]
    assert log.target is not None
    assert len(log.items) - log.target.sum() == 6  # the context stays
    assert len(items) == 7


def test_few_items(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_sets, "FEW_ITEMS", 2)
    log, items = made(sets, tmp_path, make=few_items, whole_catalogue=False)
    assert len(items) == len(set(log.items.tolist())) == 2


def test_without_times(sets: Path, tmp_path: Path) -> None:
    log, _ = made(sets, tmp_path, make=quality_sets.without_times)
    assert log.times is None
    source, _ = read(DataConfig(sets / "films"))
    assert log.items.tolist() == source.item.tolist()


def test_repetition(sets: Path, tmp_path: Path) -> None:
    log, _ = made(sets, tmp_path, make=repetition)
    source = Sequences.from_interactions(read(DataConfig(sets / "films"))[0])
    assert 80 + 20 < len(log.items) < 80 + 60
    assert log.user_ids == source.user_ids
    for user in range(len(log)):
        times = log.times_of(user)
        assert times is not None
        assert (times[1:] >= times[:-1]).all()
        for place, (item, time) in enumerate(zip(log.items_of(user), times, strict=True)):
            if time % 1_000 != user:  # one that was added
                assert item in log.items_of(user)[:place]


def test_every_set_says_how_it_is_read() -> None:
    names = [each.name for each in quality_sets.SETS]
    assert len(set(names)) == len(names)
    options = {each.name: " ".join(each.options) for each in quality_sets.SETS}
    assert options["ml-latest-small"] == "--min-rating 4 --min-events 8"
    assert options["movietweetings-100k"] == "--min-rating 7 --min-events 5"
    assert options["short histories"] == "--min-rating 1 --min-events 3"
    assert options["temporal"] == "--min-rating 7 --min-events 5 --split temporal"


def test_repeats_are_of_the_last_few() -> None:
    events = pd.DataFrame(
        {"user_id": "u", "item_id": [str(item) for item in range(50)], "rating": 1,
         "timestamp": range(0, 500, 10)}
    )  # fmt: skip
    found = repetition(events)
    added = found[found["timestamp"] % 10 == 1]
    ages = added["timestamp"] // 10 - added["item_id"].astype(int)
    assert ages.between(0, 4).all()
    assert ages.nunique() == 5
