"""What is said of folders in which no file can be read as the log, or none as the item file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.data import Columns, DataConfig, read
from builder.errors import DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n3,Yak\n"
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},{item},17000{user}000{item}\n" for user in range(3) for item in (1, 2, 3)
)


def error_of(directory: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(DataConfig(directory, **options))
    return str(caught.value).replace(f"{directory}/", "")


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("events.csv", b"", "events.csv:1: the file is empty"),
        ("Event-Log.csv", b"", "Event-Log.csv:1: the file is empty"),
        (
            "events.csv.gz",
            gzip.compress(LOG.encode(), mtime=0)[:-20],
            "events.csv.gz: cannot be read: ",
        ),
        ("ratings.csv.zip", b"PK\x03\x04" + b"x" * 40, "ratings.csv.zip: cannot be read: "),
        (
            "orders.csv",
            LOG.replace(",", "~").encode(),
            (
                "orders.csv:1: nothing is found that separates its values, so it has one column, "
                "'user_id~item_id~timestamp'; give what separates them with --separator"
            ),
        ),
    ],
)
def test_a_file_that_is_named_as_the_log_has_its_own_fault_named(
    write: Write, name: str, content: bytes, fault: str
) -> None:
    directory = write(items__csv=ITEMS)
    (directory / name).write_bytes(content)
    error = error_of(directory)
    assert fault in error
    assert "--interactions" not in error


def test_a_link_that_leads_nowhere_is_named(write: Write) -> None:
    directory = write(items__csv=ITEMS)
    (directory / "events.csv").symlink_to("../gone.csv")
    assert "events.csv: the link leads to ../gone.csv, which is not there" in error_of(directory)


def test_a_log_without_roles_is_named_before_the_items(write: Write) -> None:
    directory = write(
        items__csv=ITEMS, events__csv=LOG.replace("user_id,item_id,timestamp", "x,y,z")
    )
    assert "if events.csv is it, give --interactions events.csv" in error_of(directory)


def test_files_of_single_months_may_be_read_as_one_log(write: Write) -> None:
    directory = write(items__csv=ITEMS)
    for month in (1, 2):
        (directory / f"events-2024-0{month}.csv").write_text(LOG)
    error = error_of(directory)
    assert "as in --interactions events-2024-01.csv" in error
    assert error.endswith(
        "if they are parts of one table, put them all into a folder interactions/ beside the "
        "others, which is read as one"
    )
    (directory / "interactions").mkdir()
    for month in (1, 2):
        file = directory / f"events-2024-0{month}.csv"
        file.rename(directory / "interactions" / file.name)
    assert len(read(DataConfig(directory))[0]) == 18


@pytest.mark.parametrize(
    ("prefix", "known"),
    [("a", "no header, as its first row has the item 'a1' of the log;"), ("", "no header;")],
)
def test_items_without_a_header_have_their_columns_guessed(
    write: Write, prefix: str, known: str
) -> None:
    log = "user_id,item_id\n" + "".join(
        f"u{user},{prefix}{item}\n" for user in range(3) for item in (1, 2, 3)
    )
    items = "1,Ape,x\n2,Zebra,y\n3,Big yak,z\n".replace("\n", f"\n{prefix}").removesuffix(prefix)
    items = prefix + items
    directory = write(items__csv=items, interactions__csv=log)
    error = error_of(directory)
    assert known in error
    assert error.startswith("items.csv:1: the file seems to have no header")
    assert error.endswith("; give its columns, as in --item-columns item,title,column_3")
    names = ("item", "title", "column_3")
    assert len(read(DataConfig(directory, item_columns=names))[1]) == 3


def test_a_file_in_place_of_its_folder_is_told(write: Write) -> None:
    directory = write(events__csv=LOG, items__csv=ITEMS)
    with pytest.raises(DataError) as caught:
        read(DataConfig(directory / "events.csv"))
    assert str(caught.value) == (
        f"{directory}/events.csv: this is a file, and the folder that it is in is wanted; give "
        f"{directory}"
    )


@pytest.mark.parametrize("names", [("events.csv", "goods.csv"), ("u.data", "u.item")])
def test_the_folder_above_that_of_the_data_is_told(tmp_path: Path, names: tuple[str, str]) -> None:
    below = tmp_path / "data" / "shop-2024"
    below.mkdir(parents=True)
    (below / names[0]).write_text(LOG)
    (below / names[1]).write_text(ITEMS)
    told = f"{tmp_path}: all that it holds is in a folder below it; did you mean {below}? give that"
    with pytest.raises(DataError) as caught:
        read(DataConfig(tmp_path))
    assert str(caught.value) == told
    (below / names[1]).unlink()
    (below / names[0]).rename(below / "part-0.csv")  # a table in parts may be all that there is
    assert len(read(DataConfig(tmp_path / "data"))[0]) == 9


def test_a_log_that_is_the_item_file_too_has_a_fault_once(write: Write) -> None:
    directory = write(access__log=LOG)
    error = error_of(directory, interactions="access.log")
    assert error.startswith("1 problem in the data:\naccess.log: the suffix '.log' is not known")


WIDE = "product_id,title,brand\n" + "".join(f"{item},A film,Acme,\n" for item in (1, 2, 3))
OTHER = "id,name,about\nc1,Toys,For play\nc2,Books,To read\n"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("products.csv", WIDE.encode(), "products.csv:2: 4 values where the header has 3 columns"),
        (
            "products.csv.gz",
            gzip.compress(ITEMS.encode(), mtime=0)[:-20],
            "products.csv.gz: cannot be read: ",
        ),
        ("Meta_Books.csv", b"", "Meta_Books.csv:1: the file is empty"),
    ],
)
@pytest.mark.parametrize("others", [{}, {"categories__csv": OTHER}])
def test_a_file_that_is_named_as_items_has_its_own_fault_named(
    write: Write, others: dict[str, str], name: str, content: bytes, fault: str
) -> None:
    directory = write(events__csv=LOG, **others)
    (directory / name).write_bytes(content)
    assert fault in error_of(directory)
    assert fault in error_of(directory, on_bad_rows="drop")
    write(items__csv=ITEMS)  # which tells about the items, so that the other does not matter
    assert len(read(DataConfig(directory))[1]) == 3


def test_a_file_named_as_items_with_a_header_alone_is_none(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    directory = write(events__csv=LOG, products__csv="product_id,title\n")
    assert len(read(DataConfig(directory))[1]) == 3
    assert "no other file tells about the items of events.csv" in caplog.text


def test_an_id_that_is_given_twice_makes_a_file_no_other(write: Write) -> None:
    products = "product_id,title\n" + "".join(f"{item},Film {item}\n" for item in range(9))
    directory = write(events__csv=LOG, products__csv=f"{products}2,Another\n")
    assert "products.csv:11: product_id: '2' was already given" in error_of(directory)
    (directory / "products.csv").rename(directory / "items.csv")
    assert "items.csv:11: product_id: '2' was already given" in error_of(directory)
    # What users viewed has ids of items too, and no title.
    views = "product_id,source\n" + "".join(f"{item},page\n" for item in range(9))
    (directory / "items.csv").unlink()
    write(views__csv=f"{views}2,page\n")
    assert len(read(DataConfig(directory))[1]) == 3


def test_the_column_of_ids_that_is_named_makes_the_item_file(write: Write) -> None:
    directory = write(events__csv=LOG, goods__csv=ITEMS.replace("item_id", "code"))
    catalogue = read(DataConfig(directory, columns=Columns(item_key="code")))[1]
    assert catalogue.texts == ["Ape", "Zebra", "Yak"]
    write(goods__csv="code,colour\n1,red\n2,red\n3,blue\n3,green\n")
    assert "goods.csv:5: code: '3' was already" in error_of(
        directory, columns=Columns(item_key="code")
    )


@pytest.mark.parametrize("log", ["user_id,item_ids\n" + "u1,1 2 3\nu2,2 3\n" * 3, LOG])
def test_of_two_files_with_titles_the_one_with_the_items_of_the_log_is_taken(
    write: Write, log: str
) -> None:
    # The first items of the log are not among the first thousand of the file.
    many = "".join(f"{item},Film {item}\n" for item in range(20_000, 0, -1))
    directory = write(events__csv=log, goods__csv=f"product_id,title\n{many}", kinds__csv=OTHER)
    assert read(DataConfig(directory))[1].item_ids[0] == "20000"


def test_of_two_files_with_the_items_of_the_log_the_one_that_says_so_is_taken(
    write: Write,
) -> None:
    kinds = OTHER.replace("c2", "2").replace("c1", "1") + "3,Games,To win\n"
    goods = ITEMS.replace("item_id", "product_id")
    directory = write(events__csv=LOG, goods__csv=goods, kinds__csv=kinds)
    assert read(DataConfig(directory))[1].texts == ["Ape", "Zebra", "Yak"]


def test_files_with_titles_of_other_items_are_named(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    goods = ITEMS.replace("item_id", "product_id").replace("\n", "\nx")[:-1]
    directory = write(events__csv=LOG, goods__csv=goods, kinds__csv=OTHER)
    assert "item '1' is not in goods.csv" in error_of(directory)
    assert (
        "neither goods.csv nor any other file has the items with which events.csv begins; name the "
        "one that tells about them, as in --items kinds.csv"
    ) in caplog.text


def test_quotes_are_found_in_a_file_of_another_encoding(write: Write) -> None:
    books = "ISBN;Book-Title\n" + "".join(f'{n};"A \\"caf\xe9\\"; {n}"\n' for n in (1, 2, 3))
    directory = write(events__csv=LOG, books__csv=books.encode("latin-1"))
    error = error_of(directory, columns=Columns(item_key="ISBN"))
    assert error.startswith("3 problems in the data:\nbooks.csv:2: byte 0xe9")
    given = DataConfig(directory, encoding="latin-1")
    assert read(given)[1].texts[0] == 'A "caf\xe9"; 1'
