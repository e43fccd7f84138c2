"""Tables in several files of one directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.data import DataConfig, read
from builder.errors import DataError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "items.csv").write_text("item_id,title\n1,a\n2,b\n")
    log = tmp_path / "interactions"
    (log / "year=2024").mkdir(parents=True)
    (log / "part-1.csv").write_text("user_id,item_id\nu,1\n\nu,2\n")
    (log / "year=2024" / "part-2.csv").write_text("user_id,item_id\nv,2\n")
    (log / "_SUCCESS").write_text("")
    (log / ".part-1.csv.crc").write_text("crc")
    (log / "README.txt").write_text("Notes.")
    return tmp_path


def test_all_parts_are_read(directory: Path) -> None:
    log, _ = read(DataConfig(directory))
    assert log.user_ids == ["u", "v"]
    assert log.item.tolist() == [0, 1, 1]


def test_a_fault_is_shown_in_its_part(directory: Path) -> None:
    (directory / "interactions" / "year=2024" / "part-2.csv").write_text("user_id,item_id\nv,7\n")
    with pytest.raises(DataError, match=r"interactions:year=2024/part-2.csv:2: item_id: item '7'"):
        read(DataConfig(directory))


def test_parts_with_other_columns_are_refused(directory: Path) -> None:
    (directory / "interactions" / "part-2.csv").write_text("user_id,item\nv,2\n")
    with pytest.raises(DataError, match=r"part-2.csv:1: the columns are user_id, item, but"):
        read(DataConfig(directory))
    for part in (directory / "interactions").rglob("part-*"):
        part.unlink()
    with pytest.raises(DataError, match=r"interactions"):
        read(DataConfig(directory, interactions="interactions"))


def test_objects_may_lack_keys(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('[{"item_id": 1, "title": "a"}, {"item_id": 2}]')
    (tmp_path / "interactions").mkdir()
    (tmp_path / "interactions" / "1.jsonl").write_text('{"user_id": 1, "item_id": 1}')
    (tmp_path / "interactions" / "2.jsonl").write_text(
        '{"item_id": 2, "user_id": 1, "action": "buy"}'
    )
    log, _ = read(DataConfig(tmp_path, on_items_without_text="keep"))
    assert log.actions == ["buy"]
    assert log.item.tolist() == [0, 1]
