"""What ``describe`` says of a log beside its figures, and the command that fits."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from builder.data import DataConfig
from builder.errors import DataError
from builder.reports.data_commands import app
from builder.reports.data_survey import Survey, survey

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n3,Yak\n"


def told(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["describe", *map(str, arguments)])
    assert result.exception is None, result.output
    return result.stdout


def train_options(*arguments: str | Path) -> list[str]:
    words = shlex.split(told(*arguments).splitlines()[-1])
    assert words[:6] == ["python", "-m", "builder", "train", "--data", str(arguments[0])]
    return words[6:]


def test_ratings_are_counted(movielens: Path) -> None:
    found = survey(DataConfig(movielens))[1]
    assert found.ratings == {1: 6110, 2: 11370, 3: 27145, 4: 34174, 5: 21201}
    assert found.min_rating == 4
    assert found.unused == {}
    shown = told(movielens)
    assert "55,375 (55%)" in shown
    assert train_options(movielens)[:2] == ["--min-rating", "4"]


@pytest.mark.parametrize(
    ("ratings", "suggested"),
    [
        ({}, None),
        ({5.0: 9}, None),
        ({1.0: 60, 2.0: 40}, None),  # more than half would be lost
        ({1.0: 50, 2.0: 50}, 2.0),
        ({1.0: 10, 2.0: 30, 3.0: 60}, 3.0),
    ],
)
def test_the_rating_that_half_of_the_events_reach(
    ratings: dict[float, int], suggested: float | None
) -> None:
    assert Survey(ratings).min_rating == suggested


def test_many_different_ratings_are_counted_in_ranges(write: Write) -> None:
    log = "user_id,item_id,rating\n" + "".join(f"u,1,{number}\n" for number in range(100))
    found = survey(DataConfig(write(interactions__csv=log, items__csv=ITEMS)))[1]
    assert list(found.ratings.values()) == [10] * 10
    assert min(found.ratings) == 0


def test_columns_that_were_not_used_are_pointed_out(write: Write) -> None:
    log = "user_id,item_id,session,size,bought on,grade\n" + "".join(
        f"u,{1 + row % 3},{row},{row % 40},2023-11-{row % 28 + 1:02},{row % 5 + 1}\n"
        for row in range(200)
    )
    directory = write(interactions__csv=log, items__csv=ITEMS)
    found = survey(DataConfig(directory))[1]
    assert found.unused == {"time": "bought on", "rating": "grade"}
    assert found.ratings == dict.fromkeys((1, 2, 3, 4, 5), 40)
    shown = told(directory)
    assert (
        "looks like the time of an event and is not used; give --column 'time=bought on'" in shown
    )
    assert "looks like the rating of an event and is not used; give --column rating=grade" in shown
    assert train_options(directory) == [
        "--column", "time=bought on", "--column", "rating=grade", "--min-rating", "3",
        "--backbone", "BERT", "--output", "runs/first",
    ]  # fmt: skip
    used = ["--column", "time=bought on", "--column", "rating=grade"]
    assert "is not used" not in told(directory, *used)


def test_times_and_ratings_of_objects_and_lists_are_pointed_out(write: Write) -> None:
    items = [{"item_id": str(n), "seen on": "2023-11-15", "rating": n} for n in (1, 2, 3)]
    directory = write(log__jsonl=json.dumps({"user_id": "u", "items": items}), items__csv=ITEMS)
    found = survey(DataConfig(directory))[1]
    assert found.unused == {"time": "items.seen on", "rating": "items.rating"}
    assert found.ratings == {1: 1, 2: 1, 3: 1}
    used = ["--column", "time=items.seen on", "--column", "rating=items.rating"]
    assert "is not used" not in told(directory, *used)
    row = {"user_id": "u", "items": ["1", "2"], "seen on": ["2023-11-15", "2023-11-16"]}
    write(log__jsonl=json.dumps(row))
    assert survey(DataConfig(directory))[1].unused == {"time": "seen on"}
    assert "is not used" not in told(directory, "--column", "time=seen on")


def test_columns_that_are_neither_are_not(write: Write) -> None:
    log = "user_id,item_id,timestamp,created,flag,count,city\n" + "".join(
        f"u,1,1700000000,2023-11-15,{row % 2},{row},Oslo\n" for row in range(50)
    )
    assert survey(DataConfig(write(interactions__csv=log, items__csv=ITEMS)))[1] == Survey()


@pytest.mark.parametrize(
    "name",
    [
        "quantity",
        "Qty",
        "order_amount",
        "items_count",
        "itemsCount",
        "price",
        "QUANTITY",
        "no_items",
    ],
)
def test_what_was_bought_and_for_how_much_is_no_rating(write: Write, name: str) -> None:
    log = f"user_id,item_id,{name}\n" + "".join(
        f"u{row % 9},{1 + row % 3},{row % 5 + 1}\n" for row in range(60)
    )
    directory = write(interactions__csv=log, items__csv=ITEMS)
    assert survey(DataConfig(directory))[1] == Survey()
    assert "rating" not in told(directory)
    assert survey(DataConfig(write(interactions__csv=log.replace(name, "grade"))))[1] != Survey()


def test_ratings_of_several_scales_are_not_compared(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = "user_id,item_id,rating,helpful\n" + "u,1,4/5,1/2\nv,2,8/10,2/3\nw,3,5/5,0/1\n" * 9
    directory = write(interactions__csv=log, items__csv=ITEMS)
    assert survey(DataConfig(directory))[1] == Survey()
    assert (
        "interactions.csv: rating: the ratings are of 5 and of 10; they count as no ratings"
        in caplog.text
    )
    assert "--min-rating" not in train_options(directory)
    output = tmp_path / "new"
    result = CliRunner().invoke(app, ["convert", str(directory), "--output", str(output)])
    assert result.exception is None, result.output
    table = pyarrow.parquet.read_table(output / "interactions.parquet")
    assert table.column_names == ["user_id", "item_id"]
    # Nor are they, and what is counted of more and less, offered as ratings.
    write(interactions__csv=log.replace("rating", "graded"))
    assert survey(DataConfig(directory))[1] == Survey()


def test_repeats_and_users_with_few_events(write: Write) -> None:
    rows = [f"u{user},{item}" for user in range(20) for item in (1, 2, 3, 3)]
    log = "\n".join(["who,item_id", *rows, "few,1", "few,1"])
    directory = write(interactions__csv=log, items__csv=ITEMS)
    found = json.loads(told(directory, "--column", "user=who", "--json"))
    assert (found["repeated_pairs"], found["few_events"]) == (21, 1)
    assert (found["tested"], found["seen_before"]) == (20, 20)
    assert "20 of 20" in told(directory, "--column", "user=who")
    options = train_options(directory, "--column", "user=who", "--text", "The {title}")
    assert options[:6] == [
        "--column", "user=who", "--text", "The {title}", "--min-events", "3",
    ]  # fmt: skip
    # So many that they are worth learning from.
    (directory / "interactions.csv").write_text("who,item_id\nu,1\nu,2\nu,3\nv,1\n")
    assert "--min-events" not in train_options(directory, "--column", "user=who")


def test_actions_need_no_rating(write: Write, minilm: Path) -> None:
    log = "user_id,item_id,rating,action\nu,1,1,buy\nu,2,5,buy\nu,3,5,look\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    options = train_options(directory, "--target-actions", "buy,look", "--backbone", minilm)
    assert options == [
        "--target-actions", "buy,look", "--backbone", str(minilm), "--output", "runs/first",
    ]  # fmt: skip


def test_a_log_without_a_header_is_looked_at_as_it_is_read(write: Write) -> None:
    log = "".join(f"u{user}::{item}::{4 + item % 2}::{1_700_000_000 + user}\n"
                  for user in range(3) for item in range(4))  # fmt: skip
    directory = write(ratings__dat=log, movies__dat="0::a::x\n1::b::x\n2::c::x\n3::d::x\n")
    found = survey(DataConfig(directory))[1]
    assert found.ratings == {4.0: 6, 5.0: 6}
    assert found.unused == {}


@pytest.mark.parametrize("name", ["rating", "score"])
@pytest.mark.parametrize("fault", ["good", "inf", "-inf", "1.500,5"])
def test_ratings_that_cannot_be_read_are_told(
    write: Write, caplog: pytest.LogCaptureFixture, name: str, fault: str
) -> None:
    rows = ["u,1,5", "u,2,4", "v,1,", "v,2,NaN", f"v,3,{fault}".replace("1.500,5", '"1.500,5"')]
    log = "".join(f"{row}\n" for row in [f"user_id,item_id,{name}", *rows])
    directory = write(interactions__csv=log, items__csv=ITEMS)
    found = survey(DataConfig(directory))[1]
    assert found.ratings == {4: 1, 5: 1}
    assert caplog.messages[-1] == (
        f"interactions.csv: {name}: 1 of 3 cannot be read, such as {fault!r}; they count as "
        "no ratings, and with --min-rating are errors; write numbers, give --on-bad-rows drop, or "
        "name another column with --column rating=NAME"
    )
    with pytest.raises(DataError, match="is no number, which the minimum rating needs"):
        survey(DataConfig(directory, min_rating=4))


def test_a_column_of_words_by_the_name_of_a_rating_is_told(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    log = "user_id,item_id,rating\nu,1,good\nu,2,bad\n"
    survey(DataConfig(write(interactions__csv=log, items__csv=ITEMS)))
    assert "rating: 2 of 2 cannot be read, such as 'good'" in caplog.text
