"""Tables of any values, written in any way: all rows are read, or an error says which are not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.data import DataConfig, read
from builder.errors import BuilderError

_SAFE = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x1f")
_VALUES = st.one_of(
    st.text(_SAFE, min_size=1, max_size=8),
    st.text("ab\",;|^\t: \n\r'", min_size=1, max_size=8),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=True).map(str),
    st.sampled_from(["", "NULL", "1.0", "007", " 7", "\ufeff", "nan", "N/A", "[1]", '{"a": 1}']),
)
_SECONDS = st.integers(10**9, 2 * 10**9).map(str)
_TIMES = st.one_of(
    _SECONDS,
    st.sampled_from(["2023-11-15", "15.11.2023", "1700000000000", "yesterday", "", "20231115"]),
)
_ROWS = st.one_of(
    st.lists(st.tuples(_VALUES, _VALUES, _SECONDS, _VALUES), max_size=12),
    st.lists(st.tuples(_VALUES, _VALUES, _TIMES, _VALUES), max_size=12),
)
_KINDS = ("csv", "tsv", "txt", "json", "jsonl", "parquet")
_PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
}
_NAMES = ("user_id", "item_id", "timestamp", "other")


class _Told(logging.Handler):
    """How many rows were reported as left out."""

    rows = 0

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r", ([\d,]+) rows: ", record.getMessage())
        self.rows += int(found[1].replace(",", "")) if found else 0


def _written(kind: str, rows: list[tuple[Any, ...]], how: dict[str, Any]) -> bytes:
    if kind == "parquet":
        columns = {name: [row[place] for row in rows] for place, name in enumerate(_NAMES)}
        sink = io.BytesIO()
        schema = pa.schema([(name, pa.string()) for name in _NAMES])
        pyarrow.parquet.write_table(pa.table(columns, schema=schema), sink)
        return sink.getvalue()
    objects = [dict(zip(_NAMES, row, strict=True)) for row in rows]
    if kind == "json":
        return json.dumps(objects).encode(how["encoding"])
    if kind == "jsonl":
        text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
        return text.encode(how["encoding"])
    file = io.StringIO()
    # Python leaves a line end that is not its own without quotes, so that nobody can read it.
    breaks = any("\r" in value or "\n" in value for row in rows for value in row)
    writer = csv.writer(
        file,
        delimiter=how["separator"],
        lineterminator=how["end"],
        quoting=csv.QUOTE_ALL if breaks else how["quoting"],
    )
    writer.writerow(_NAMES)
    writer.writerows(rows)
    return file.getvalue().encode(how["encoding"])


@settings(max_examples=100, deadline=None)
@given(
    rows=_ROWS,
    kind=st.sampled_from(_KINDS),
    packed=st.sampled_from(sorted(_PACKED)),
    how=st.fixed_dictionaries(
        {
            "separator": st.sampled_from(",;|\t^"),
            "end": st.sampled_from(["\n", "\r\n", "\r"]),
            "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        }
    ),
    drops=st.booleans(),
)
def test_rows_in_are_events_and_reported_rows(
    rows: list[tuple[Any, ...]], kind: str, packed: str, how: dict[str, Any], *, drops: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = _PACKED[packed](_written(kind, rows, how))
        (directory / f"interactions.{kind}{packed}").write_bytes(log)
        (directory / "items.csv").write_text("item_id,title\na,Ape\nb,Bee\n")
        config = DataConfig(
            directory,
            on_unknown_items="keep",
            on_bad_rows="drop" if drops else "error",
            match_ids="loose",
        )
        told = _Told()
        logging.getLogger("builder.data.problems").addHandler(told)
        try:
            events, _ = read(config)
        except BuilderError as error:
            if not re.search(r"; \S", str(error)):  # and what to do
                raise
        else:
            assert len(events) <= len(rows)
            assert len(events) + told.rows >= len(rows)  # a row may have two faults
            assert drops or len(events) == len(rows)
            assert set(events.user_ids) <= {row[0] for row in rows}
        finally:
            logging.getLogger("builder.data.problems").removeHandler(told)
