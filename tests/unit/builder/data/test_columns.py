"""Columns of every type: those that nobody asked for neither fail nor become text."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from builder.data import DataConfig, read
from builder.errors import DataError

Write = Callable[..., Path]

LOG = "user_id,item_id\nu,1\nu,2\n"
PICTURE = bytes([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0xFF, 0xFE])


def write_items(directory: Path, **columns: object) -> None:
    table = pa.table({"item_id": [1, 2], "title": ["one", "two"], **columns})
    pyarrow.parquet.write_table(table, directory / "items.parquet")


def problems_of(config: DataConfig) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(config)
    return str(caught.value).replace(f"{config.directory}/", "").splitlines()[1:]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(10), pa.binary_view()], ids=str
)
def test_pictures_are_no_text(write: Write, kind: pa.DataType) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory, picture=pa.array([PICTURE, PICTURE], kind))
    _, catalogue = read(DataConfig(directory))
    assert catalogue.texts == ["one", "two"]
    assert list(catalogue.columns) == ["item_id", "title"]
    for config in (
        DataConfig(directory, text="{title} {picture}"),
        DataConfig(directory, item_profile=("picture",)),
        DataConfig(directory, item_vectors=("picture",)),
    ):
        assert problems_of(config) == [
            (
                "items.parquet: picture: this column holds bytes that are no text, such as "
                "pictures; leave it out, or write it as text"
            )
        ]


def test_bytes_may_be_text(write: Write) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory, maker=pa.array(["Löwe".encode(), None], pa.binary()))
    assert read(DataConfig(directory))[1].texts == ["one Löwe", "two"]


def test_uuids_are_ids(tmp_path: Path) -> None:
    names = [uuid.uuid5(uuid.UUID(int=5), each) for each in "ab"]
    raw = pa.array([each.bytes for each in names], pa.binary(16))
    ids = pa.ExtensionArray.from_storage(pa.uuid(), raw)
    items = pa.table({"item_id": ids, "title": ["one", "two"]})
    pyarrow.parquet.write_table(items, tmp_path / "items.parquet")
    log = pa.table({"user_id": ids, "item_id": ids})
    pyarrow.parquet.write_table(log, tmp_path / "interactions.parquet")
    interactions, catalogue = read(DataConfig(tmp_path))
    assert catalogue.item_ids == interactions.user_ids == list(map(str, names))
    assert interactions.item.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array(np.array([0.5, 2], np.float16)), "0.5"),
        (pa.array(np.array([1, 2], np.float16)), "1"),
        (pa.array([Decimal("1.50"), None]), "1.50"),
        (pa.array(["a", None], pa.string_view()), "a"),
        (pa.array([None, None], pa.null()), ""),
        (pa.array([["a", "b"], None], pa.list_(pa.string())), "a b"),
    ],
    ids=str,
)
def test_columns_of_any_type(write: Write, column: pa.Array, text: str) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory, other=column)
    _, catalogue = read(DataConfig(directory))
    assert catalogue.columns["other"][0] == text


def test_objects_are_no_text_unless_they_are_asked_for(write: Write) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory, details=pa.array([{"a": 1}, None]), parts=pa.array([[{"b": "x"}], []]))
    assert read(DataConfig(directory))[1].texts == ["one", "two"]
    texts = read(DataConfig(directory, text="{title} {details}"))[1].texts
    assert texts == ['one {"a": 1}', "two"]
    (directory / "items.parquet").unlink()
    write(
        items__jsonl='{"item_id": 1, "title": "one", "d": {"a": 1}, "p": [{"b": "x"}]}\n'
        '{"item_id": 2, "title": "two", "tags": ["x", "y"]}\n'
    )
    assert read(DataConfig(directory))[1].texts == ["one", "two x y"]


def test_halves_of_characters(write: Write) -> None:
    directory = write(
        interactions__csv=LOG,
        items__jsonl='{"item_id": 1, "title": "one"}\n'
        '{"item_id": 2, "title": "two", "raw": "\\ud83d", "\\ud83d": 1}\n',
    )
    config = DataConfig(directory, text="{title}")
    assert list(read(config)[1].columns) == ["item_id", "title"]
    message = "items.jsonl:2: raw: half of a character, as \\ud83d is by itself; write the whole"
    assert problems_of(DataConfig(directory))[0].startswith(message)
    (directory / "interactions.csv").rename(directory / "log.csv")
    write(interactions__jsonl='{"user_id": "\\ud83d", "item_id": 1}\n')
    found = problems_of(DataConfig(directory, text="{title}"))
    assert found[0].startswith("interactions.jsonl:1: user_id: half of a character")


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_deep(write: Write, start: str, end: str) -> None:
    deep = start * 600 + "1" + end * 600
    directory = write(
        interactions__csv=LOG,
        items__jsonl=f'{{"item_id": 1, "title": "one", "d": {deep}}}\n'
        '{"item_id": 2, "title": "two"}\n',
    )
    assert read(DataConfig(directory))[1].texts == ["one", "two"]
    assert "1" in read(DataConfig(directory, text="{title} {d}"))[1].texts[0]


def test_json_that_is_too_deep_is_no_matter_where_nobody_asks_for_it(write: Write) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    text = f'{{"d": {deep}, "item_id": 2, "title": "[{{\\"two", "list": ["a"]}}\n'
    directory = write(interactions__csv=LOG, items__jsonl='{"item_id": 1, "title": "one"}\n' + text)
    _, catalogue = read(DataConfig(directory))
    assert catalogue.texts == ["one", '[{"two']
    (directory / "items.jsonl").write_text(f"{deep}\n")
    assert problems_of(DataConfig(directory))[0].startswith("items.jsonl:1: ")


@pytest.mark.parametrize(
    "items",
    [
        '[{"item_id": 1, "title": "one"}, {"item_id": 2, "title": "two"}]',
        '\ufeff[\n  {"item_id": 1,\n   "title": "one"},\n  {"item_id": 2, "title": "two"}\n]\n',
        '{"1": {"title": "one"}, "2": {"title": "two"}}',
        '{\n  "1": {"title": "one"},\n  "2": {"item_id": "2", "title": "two"}\n}\n',
    ],
)
def test_json_in_one_piece(write: Write, items: str) -> None:
    directory = write(interactions__csv=LOG, items__json=items)
    log, catalogue = read(DataConfig(directory))
    assert catalogue.texts == ["one", "two"]
    assert log.item.tolist() == [0, 1]
    (directory / "items.json").write_text(items.replace("two", ""))
    assert problems_of(DataConfig(directory))[0].startswith("items.json:row 2: title: item '2'")


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        (
            '[{"item_id": 1},\n{"item_id"}]',
            "1: not valid JSON (Expecting ':' delimiter at line 2, ",
        ),
        ('[{"item_id": 1}, 2]', "row 2: not a JSON object"),
        ("[" * 100_000, "1: nested too deeply to be read"),
        ('{"item_id":\n{"item_id": 2}', "1: not valid JSON (Expecting value at character "),
        ("[]", "1: the file holds no row"),
    ],
)
def test_json_in_one_piece_that_is_wrong(write: Write, items: str, problem: str) -> None:
    directory = write(interactions__csv=LOG, items__json=items)
    assert problems_of(DataConfig(directory))[0].startswith(f"items.json:{problem}")


@pytest.mark.parametrize("name", ["items.parquet.gz", "items.csv", "items.csv.gz"])
def test_parquet_is_known_by_its_first_bytes(write: Write, name: str) -> None:
    directory = write(interactions__csv=LOG)
    write_items(directory)
    content = (directory / "items.parquet").read_bytes()
    (directory / "items.parquet").unlink()
    (directory / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(DataConfig(directory))[1].texts == ["one", "two"]
