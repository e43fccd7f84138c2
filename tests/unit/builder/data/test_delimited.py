"""Line ends, separators, quotes and headers as practitioners have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.data import DataConfig, read
from builder.data.dialect import Quote
from builder.errors import ConfigError, DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,one\n2,two\n"
LOG = "user_id,item_id,timestamp\nu,1,20\nu,2,10\n"


def problems_of(config: DataConfig) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(config)
    return str(caught.value).replace(f"{config.directory}/", "").splitlines()[1:]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n"])
def test_line_ends(write: Write, end: str, start: str) -> None:
    def text(of: str) -> bytes:
        return (start + of).replace("\n", end).encode()

    directory = write(interactions__csv=text(LOG), items__csv=text(ITEMS))
    log, catalogue = read(DataConfig(directory))
    assert log.item.tolist() == [1, 0]
    assert catalogue.texts == ["one", "two"]
    (directory / "interactions.csv").write_bytes(text(LOG + "u,7,30\n"))
    line = 4 + 2 * start.count("\n") // 2
    assert problems_of(DataConfig(directory))[0].startswith(f"interactions.csv:{line}: item_id:")


def test_a_quoted_line_break_in_the_header(write: Write) -> None:
    items = 'item_id,"title\nof it"\n1,one\n2,"two\r\nlines"\n7,\n'
    directory = write(interactions__csv=LOG, items__csv=items)
    assert problems_of(DataConfig(directory))[0].startswith(
        "items.csv:6: title\nof it: item '7'"[:13]
    )
    (directory / "items.csv").write_text(items[: items.index("7")], newline="")
    _, catalogue = read(DataConfig(directory))
    assert list(catalogue.columns) == ["item_id", "title\nof it"]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::", "^"])
@pytest.mark.parametrize(
    "name", ["interactions.csv", "interactions.txt", "interactions.dat", "interactions"]
)
def test_separators_are_found(write: Write, separator: str, name: str) -> None:
    directory = write(items__csv=ITEMS.replace(",", separator))
    (directory / name).write_text(LOG.replace(",", separator))
    log, catalogue = read(DataConfig(directory))
    assert log.item.tolist() == [1, 0]
    assert catalogue.texts == ["one", "two"]


def test_the_separator_splits_all_lines_alike(write: Write) -> None:
    items = "1::a, b: c|d::x|y, z\n2::e::x|y|z\n3::f, g::z\n"
    directory = write(interactions__csv=LOG, items__dat=items)
    config = DataConfig(directory, item_columns=("item", "title", "genres"), text="{title}")
    assert read(config)[1].texts == ["a, b: c|d", "e", "f, g"]


@pytest.mark.parametrize(
    ("given", "used"), [(" ", " "), ("\\t", "\t"), ("tab", "\t"), ("<>", "<>")]
)
def test_a_separator_that_is_given(write: Write, given: str, used: str) -> None:
    directory = write(interactions__csv=LOG.replace(",", used), items__csv=ITEMS.replace(",", used))
    assert read(DataConfig(directory, separator=given))[0].item.tolist() == [1, 0]


@pytest.mark.parametrize("separator", ["", '"', "\n"])
def test_separators_that_make_no_sense(tmp_path: Path, separator: str) -> None:
    with pytest.raises(ConfigError, match="must be text without quotes and line breaks"):
        DataConfig(tmp_path, separator=separator)
    with pytest.raises(ConfigError, match="need a separator of one character"):
        DataConfig(tmp_path, separator="::", quote="double")


def test_files_without_a_header(write: Write) -> None:
    directory = write(
        interactions__dat="20;u;01\n10;u;1\n", items__txt="one|01\ntwo|1\n", users__csv="u,30\n"
    )
    config = DataConfig(
        directory,
        log_columns=("time", "user", "item"),
        item_columns=("title", "item"),
        user_columns=("user", "age"),
        profile=("age",),
    )
    log, catalogue = read(config)
    assert log.item.tolist() == [1, 0]
    assert catalogue.item_ids == ["01", "1"]
    assert log.profile is not None
    assert log.profile["age"].tolist() == ["30"]
    (directory / "interactions.dat").write_text("20;u;01\n10;u\n30;u;7\n")
    assert problems_of(config) == [
        (
            "interactions.dat:2: 2 values where --columns names 3 columns; add or remove values, "
            "quote the one that holds the separator, or give --on-bad-rows drop"
        ),
        (
            "interactions.dat:3: item_id: item '7' is not in items.txt; add it there, or "
            "give --on-unknown-items drop to leave its events out, or keep to know it by its id"
        ),
    ]
    with pytest.raises(ConfigError, match="log_columns 'user': must be the name of a column, once"):
        DataConfig(directory, log_columns=("user", "user"))


def test_a_missing_header_is_noticed(write: Write) -> None:
    directory = write(interactions__csv="u,1,20\n", items__csv=ITEMS)
    with pytest.raises(DataError, match=r"interactions.csv:1: .* --columns user,item,rating$"):
        read(DataConfig(directory))
    directory = write(interactions__csv="u,i,t\n", items__csv=ITEMS)
    assert problems_of(DataConfig(directory))[0].endswith("--column user=NAME, one of u, i, t")


def test_a_separator_that_is_not_found(write: Write) -> None:
    directory = write(interactions__csv=LOG.replace(",", " "), items__csv=ITEMS)
    assert problems_of(DataConfig(directory))[0].endswith("with --separator")


def test_notes_and_copies_beside_a_file_are_left_alone(write: Write) -> None:
    directory = write(
        interactions__csv=LOG, interactions__csv__gz="", items__csv=ITEMS, items__txt="", items=""
    )
    assert len(read(DataConfig(directory))[1]) == 2


def test_a_quote_that_swallows_more_than_a_block(write: Write) -> None:
    log = 'user_id,item_id\nu,"1\n' + "u,2\n" * 400_000
    directory = write(interactions__csv=log, items__csv=ITEMS)
    assert problems_of(DataConfig(directory))[0].startswith("interactions.csv:2: a quote opens")


SWALLOWED = 'item_id\ttitle\n1\t"red lamp\n2\ttwo\n3\t"blue chair\n4\tfour\n'


@pytest.mark.parametrize(
    ("items", "first", "last"),
    [
        (SWALLOWED, 2, 4),
        ('item_id\ttitle\n1\t"red lamp\n2\ttwo\n3\tscreen of 15"\n4\tfour\n', 2, 4),
        ('item_id\ttitle\n1\t"red lamp\n2\tscreen of 15"\n4\tfour\n', 2, 3),
        ('item_id\ttitle\n1\tone\n2\ttwo\n3\t"blue chair\n4\tfour\n', 4, 5),
    ],
)
def test_a_quote_that_swallows_rows(write: Write, items: str, first: int, last: int) -> None:
    log = "user_id,item_id\nu,1\nu,4\n"
    directory = write(interactions__csv=log, items__tsv=items)
    assert problems_of(DataConfig(directory))[0] == (
        f"items.tsv:{first}: a quote opens a value here that goes on to line {last}, over what "
        "looks like rows; if quotes are part of the values give --quote none, if values have line "
        "breaks give --quote double"
    )
    _, catalogue = read(DataConfig(directory, quote="none"))
    assert catalogue.texts == [line.split("\t")[1] for line in items.splitlines()[1:]]


@pytest.mark.parametrize("rows", [2, 3_000_000])
def test_a_quote_in_the_header_that_swallows_all(write: Write, rows: int) -> None:
    items = 'item_id,"title\n' + "1,one\n" * rows
    directory = write(interactions__csv=LOG, items__csv=items)
    assert problems_of(DataConfig(directory))[0].startswith("items.csv:1: a quote opens a value")


def test_quoted_line_breaks_with_separators_are_no_rows(write: Write) -> None:
    items = (
        'item_id,title\n1,"one\nof, and ""two"""\n2,"a, b\nc\nd"\n3,"two,\n\nlines"\n'
        '4,"Well,\nyes"\n'
    )
    _, catalogue = read(DataConfig(write(interactions__csv=LOG, items__csv=items)))
    assert catalogue.columns["title"][0] == 'one\nof, and "two"'
    assert len(catalogue) == 4


def test_values_that_look_like_rows_may_be_meant(write: Write) -> None:
    items = 'item_id,title\n1,"x,y\nred,blue\nred,blue"\n2,two\n'
    directory = write(interactions__csv=LOG, items__csv=items.replace("x,y", "x"))
    assert "looks like rows" in problems_of(DataConfig(directory))[0]
    quote: Quote = "double"
    assert len(read(DataConfig(directory, quote=quote))[1]) == 2


RATINGS = "1::1193::5::978300760\n1::661::3::978300709\n"


def test_movielens_1m(write: Write) -> None:
    movies = "661::Été, L' (1996)::Animation|Children's\n1193::\"One\" Flew, Over (1975)::Drama\n"
    directory = write(
        ratings__dat=RATINGS,
        movies__dat=movies.encode("latin-1"),
        users__dat="1::F::1::10::48067\n",
    )
    log, catalogue = read(DataConfig(directory, profile=("gender", "zip")))
    assert catalogue.texts == [
        "Été, L' (1996) Animation Children's",
        '"One" Flew, Over (1975) Drama',
    ]
    assert log.time is not None
    assert log.time.tolist() == [978300709, 978300760]
    assert log.profile is not None
    assert log.profile.iloc[0].tolist() == ["F", "48067"]


def test_movielens_100k_as_grouplens_writes_it(write: Write) -> None:
    film = "{}|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title?a,b|0|0|0|1|1|1" + "|0" * 13
    directory = write(
        u__data="1\t1\t5\t20\n1\t2\t3\t10\n",
        u__item="\n".join(map(film.format, (1, 2))),
        u__user="1|24|M|technician|85711\n",
    )
    log, catalogue = read(DataConfig(directory, profile=("occupation",)))
    assert log.item.tolist() == [1, 0]
    assert catalogue.texts[0] == "Toy Story (1995) Animation Children's Comedy"
    assert log.profile is not None
    assert log.profile["occupation"].tolist() == ["technician"]


def test_a_file_of_such_a_name_may_be_another(write: Write) -> None:
    directory = write(
        ratings__dat="user_id\titem_id\nu\t2\n", movies__dat="item_id\ttitle\n1\tone\n2\ttwo\n"
    )
    config = DataConfig(directory, format="table", interactions="ratings.dat", items="movies.dat")
    assert read(config)[0].item.tolist() == [1]


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("user_id item_id timestamp\nu 1 1700000000\nv  2\t1700000001\n", "interactions.txt"),
        ("# made by us\n# 2024\nuser_id,item_id\nu,1\nv,2\n", "interactions.csv"),
        ("sep=;\nuser_id;item_id\nu;1\nv;2\n", "interactions.csv"),
        ("user_id,item_id,,\nu,1,,\nv,2,,\n", "interactions.csv"),
        (",user_id,item_id\n0,u,1\n1,v,2\n", "interactions.csv"),
    ],
)
def test_how_programs_write_tables(write: Write, log: str, name: str) -> None:
    directory = write(items__csv="item_id,title\n1,one\n2,two\n")
    (directory / name).write_text(log)
    interactions, _ = read(DataConfig(directory))
    assert (interactions.user_ids, interactions.item.tolist()) == (["u", "v"], [0, 1])


def test_quotes_may_have_a_backslash_before_them(write: Write) -> None:
    items = '"id";"title"\n"1";"a \\"b\\"; c"\n"2";"C:\\\\"\n'
    directory = write(interactions__csv="user_id,item_id\nu,1\nu,2\n", items__csv=items)
    assert read(DataConfig(directory))[1].texts == ['a "b"; c', "C:\\"]
    # After a quote that ends a value there is a separator.
    (directory / "items.csv").write_text('"id";"title"\n"1";"C:\\"\n"2";"two"\n')
    assert read(DataConfig(directory))[1].texts == ["C:\\", "two"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_other_backslashes_are_part_of_a_value(write: Write, encoding: str) -> None:
    # As MySQL writes it: \N stands for null, and \\ for one backslash.
    rows = (r'"EU\west","1","a \"quote\", é"', r'\N,"2","C:\\"', r"EU\\0,2,C:\dir")
    log = "".join(f"{row}\n" for row in ("user_id,item_id,note", *rows))
    directory = write(interactions__csv=log.encode(encoding), items__csv=ITEMS)
    config = DataConfig(directory, encoding=encoding)
    assert problems_of(config)[0].startswith(
        r"interactions.csv:3: user_id: the value is missing (\N stands for that)"
    )
    found = read(replace(config, on_bad_rows="drop"))[0]
    assert found.user_ids == [r"EU\west", r"EU\0"]


def test_bad_rows_of_the_item_file_are_left_out(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    directory = write(
        interactions__csv="user_id,item_id\nu,1\nu,2\n",
        items__csv="item_id,title\n1,one\n2,two\n1,again\n,none\n3,a,b\n",
        users__csv="user_id,age\nu,1\nu,2\n",
    )
    with pytest.raises(DataError) as caught:
        read(DataConfig(directory))
    assert len(str(caught.value).splitlines()) == 1 + 3
    found = read(DataConfig(directory, on_bad_rows="drop", profile=("age",)))
    assert found[1].texts == ["one", "two"]
    assert found[0].profile is not None
    assert found[0].profile["age"].tolist() == ["1"]
    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [text.split(",")[0] for text in told] == [
        "left out: rows of the wrong length",
        "left out: missing values of item_id in items.csv",
        "left out: repeated ids in items.csv",
        "left out: repeated ids in users.csv",
    ]
