"""The log is read in batches: where one ends must make no difference, and few may be in memory."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from builder.data import (
    Columns,
    DataConfig,
    Interactions,
    columnar,
    event_log,
    files,
    json_files,
    read,
)
from builder.data.config import CONTEXT, Context
from builder.errors import DataError

Write = Callable[..., Path]
Outcome = dict[str, object] | str

ITEMS = "item_id,title\n" + "".join(f"{item},title {item}\n" for item in range(9))
SUFFIXES = ("csv", "tsv", "inter", "parquet", "jsonl")
NAMES = Columns(time="timestamp", rating="rating", action="action")


def log_of(events: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in random.integers(0, 30, events)],
            "item_id": [str(item) for item in random.integers(0, 9, events)],
            "rating": [str(rating) for rating in random.integers(1, 6, events)],
            "timestamp": [
                str(time) for time in random.integers(1_700_000_000, 1_700_000_050, events)
            ],
            "action": [("view", "buy", "")[kind] for kind in random.integers(0, 3, events)],
        }
    )


def save(directory: Path, log: pd.DataFrame, suffix: str) -> DataConfig:
    """Write a log, and say how it is read."""
    (directory / "items.csv").write_text(ITEMS)
    path = directory / f"log.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pandas(log), path)
    elif suffix == "jsonl":
        log.to_json(path, orient="records", lines=True)
    else:
        log.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    return DataConfig(
        directory, interactions=path.name, items="items.csv", columns=NAMES, min_rating=2
    )


def outcome(config: DataConfig) -> Outcome:
    """What was read, or what is wrong."""
    try:
        interactions, _ = read(config)
    except DataError as error:
        return str(error)
    return {
        field.name: value.tolist() if isinstance(value, np.ndarray) else value
        for field in fields(Interactions)
        for value in [getattr(interactions, field.name)]
    }


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> Callable[[DataConfig], Outcome]:
    """Read once in one batch, once in many; the outcome must be the same, and is returned."""

    def read_both(config: DataConfig) -> Outcome:
        whole = outcome(config)
        taken: list[int] = []
        add = event_log._Events.add

        def count(self: event_log._Events, batch: files.Batch) -> None:
            taken.append(batch.rows)
            add(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(event_log, "_BLOCK_BYTES", 128)
            patch.setattr(json_files, "_BATCH_ROWS", 4)
            patch.setattr(columnar, "_BATCH_ROWS", 4)
            patch.setattr(event_log._Events, "add", count)
            assert outcome(config) == whole
        assert sum(map(bool, taken)) > 1
        return whole

    return read_both


InBatches = Callable[[DataConfig], Outcome]


@pytest.mark.parametrize("context", CONTEXT)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("min_events", [1, 6])
def test_the_same_events(
    tmp_path: Path, in_batches: InBatches, suffix: str, min_events: int, context: Context
) -> None:
    log = log_of(200)
    config = save(tmp_path, log, suffix)
    found = in_batches(replace(config, min_events=min_events, context=context))
    # Against pandas: users as they first appear in the file, whatever the rating there.
    users = {user: number for number, user in enumerate(dict.fromkeys(log["user_id"]))}
    log["target"] = log["rating"].astype(int) >= 2
    kept = log[log.groupby("user_id")["target"].transform("sum") >= min_events]
    if context == "drop":
        kept = kept[kept["target"]]
    order = np.lexsort((kept["timestamp"].astype(int), kept["user_id"].map(users)))
    kept = kept.iloc[order]
    assert isinstance(found, dict)
    assert found["user_ids"] == list(dict.fromkeys(kept["user_id"]))
    assert found["item"] == kept["item_id"].astype(int).tolist()
    assert found["time"] == kept["timestamp"].astype(int).tolist()
    assert found["target"] == (None if context == "drop" else kept["target"].tolist())
    assert found["actions"] == ["buy", "view"]
    assert found["action"] == kept["action"].map({"": 0, "buy": 1, "view": 2}).tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_problems(tmp_path: Path, in_batches: InBatches, suffix: str) -> None:
    log = log_of(200)
    log.loc[[3, 150], "user_id"] = ""
    log.loc[[91], "item_id"] = ""
    log.loc[40:99:2, "item_id"] = "99"
    log.loc[[7, 199], "timestamp"] = "yesterday"
    log.loc[[120, 130], "timestamp"] = "1700000000000"
    log.loc[[60], "rating"] = "four"
    found = in_batches(save(tmp_path, log, suffix))
    assert isinstance(found, str)
    lines = found.splitlines()
    assert lines[0] == "37 problems in the data:"
    assert sum("item '99' is not in items.csv" in line for line in lines) == 20
    assert "... and 10 more: events with items that are not known" in lines
    first = {"parquet": "row 121", "jsonl": "121"}.get(suffix, "122")
    assert any(f":{first}: timestamp: '1700000000000' looks like milli" in line for line in lines)
    assert "(2 rows differ)" in found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fractions_and_dates_after_whole_seconds(
    tmp_path: Path, in_batches: InBatches, suffix: str
) -> None:
    log = log_of(60)
    log.loc[50:, "timestamp"] = "1700000007.25"
    found = in_batches(save(tmp_path, log, suffix))
    assert isinstance(found, dict)
    assert isinstance(found["time"], list)
    assert set(found["time"]) <= set(range(1_700_000_000, 1_700_000_050))
    log.loc[55:, "timestamp"] = "2024-05-01"
    assert "looks like ISO text" in str(in_batches(save(tmp_path, log, suffix)))


def test_lines_bytes_and_quotes_across_blocks(write: Write, in_batches: InBatches) -> None:
    rows = "".join(f'"u\n{row % 7}é",{row % 9},{row}\n\n' for row in range(200))
    directory = write(
        interactions__csv=f"\ufeffuser_id,item_id,timestamp\r\n{rows}".encode(), items__csv=ITEMS
    )
    found = in_batches(DataConfig(directory))
    assert isinstance(found, dict)
    assert found["user_ids"] == [f"u\n{user}é" for user in range(7)]
    broken = rows.replace('",5,', '"5,', 1).encode() + b"u\xe9,1,nan\nu,1\n"
    write(interactions__csv=b"user_id,item_id,timestamp\n" + broken)
    found = in_batches(DataConfig(directory))
    assert isinstance(found, str)
    assert "interactions.csv:602: byte 0xe9" in found
    assert "interactions.csv:17: 2 values where the header has 3 columns" in found
    assert "interactions.csv:603: 2 values where the header has 3 columns" in found
    assert re.search(r"interactions.csv:602: timestamp: 'nan' is no time", found)


def test_parquet_text_that_is_not_utf8(tmp_path: Path, in_batches: InBatches) -> None:
    log = log_of(40)
    config = save(tmp_path, log, "csv")
    for column in ("user_id", "action"):
        log[column] = log[column].str.encode("latin-1")
        log.loc[[20, 30], column] = b"caf\xe9"
    pyarrow.parquet.write_table(pa.Table.from_pandas(log), tmp_path / "log.parquet")
    found = in_batches(replace(config, interactions="log.parquet"))
    assert re.findall(r"log.parquet:(row \d+: \w+): byte 0xe9 at offset 3", str(found)) == [
        "row 21: user_id",
        "row 31: user_id",
        "row 21: action",
        "row 31: action",
    ]


@pytest.mark.parametrize(("last", "first"), [(29.0, "10000000000"), (29.5, "1e+10")])
def test_parquet_floats_are_whole_in_all_of_the_column_or_none(
    tmp_path: Path, in_batches: InBatches, last: float, first: str
) -> None:
    log = log_of(30)
    config = save(tmp_path, log, "csv")
    log["user_id"] = [1e10, *map(float, range(28)), last]
    log["rating"] = 5
    pyarrow.parquet.write_table(pa.Table.from_pandas(log), tmp_path / "log.parquet")
    found = in_batches(replace(config, interactions="log.parquet"))
    assert isinstance(found, dict)
    assert found["user_ids"] == [first, *map(str, range(28)), f"{last:g}"]


def test_json_columns_that_come_late(write: Write, in_batches: InBatches) -> None:
    plain = "".join(f'{{"user_id": {row % 3}, "item_id": {row % 9}}}\n\n' for row in range(20))
    late = '{"user_id": 1, "item_id": 2, "action": "buy"}\n'
    config = DataConfig(
        write(interactions__jsonl=plain + late, items__csv=ITEMS), columns=Columns(action="action")
    )
    found = in_batches(config)
    assert isinstance(found, dict)
    assert isinstance(found["action"], list)
    assert sum(found["action"]) == 1
    assert len(found["action"]) == 21
    assert found["time"] is None
    write(interactions__jsonl=plain + late.replace("action", "timestamp"))
    found = str(in_batches(DataConfig(config.directory)))
    assert "interactions.jsonl:1: timestamp: '' is no time" in found
    assert "interactions.jsonl:41: timestamp: 'buy' is no time" not in found


# Not getrusage: what that says of a process begins with the size of the one that started it.
PEAK = """
import re, sys
from pathlib import Path
from builder.data import DataConfig, read
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
events = len(read(DataConfig(Path(sys.argv[1])))[0])
print(events, (peak() - before) / 1024)
"""


def test_memory_of_a_long_log(tmp_path: Path) -> None:
    events = 1_000_000
    random = np.random.default_rng(0)
    log = pa.table(
        {
            "user_id": random.integers(0, 20_000, events),
            "item_id": random.integers(0, 9, events),
            "timestamp": random.integers(1_700_000_000, 1_700_000_050, events),
            "page": pa.array(["a column that nothing asks for " * 4]).take(pa.repeat(0, events)),
        }
    )
    pyarrow.csv.write_csv(log, tmp_path / "interactions.csv")
    (tmp_path / "items.csv").write_text(ITEMS)
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    read_events, mebibytes = done.stdout.split()
    assert int(read_events) == events
    assert float(mebibytes) < 160
