"""Reads an item file into a catalogue: ids, texts, profiles and vectors."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from builder.data.config import DataConfig
from builder.data.files import TextTable, load
from builder.data.items_of_log import items_of_log
from builder.data.layouts import Layout, layout_of_items, plain_values, tidy_items, usual_template
from builder.data.problems import BAD_ROWS, Problems
from builder.data.repeats import check_ids, with_ids, without_repeats
from builder.data.tables import Catalogue
from builder.data.template import Template
from builder.data.vectors import read_vectors
from builder.errors import DataError

_TEMPLATE: Final = "template columns that do not exist"

log = logging.getLogger(__name__)


def read_items(config: DataConfig, file: Path, template: Template) -> Catalogue:
    """Read an item file by itself, and make its texts with this template.

    Raises
    ------
    DataError
        Every problem in one message, as from `builder.data.read`.
    """
    problems = Problems()
    catalogue = read_catalogue(config, layout_of_items(config, file), template, problems)[0]
    problems.raise_if_any()
    if catalogue is None:  # reports why, so this is unreachable
        raise DataError(f"{file}: cannot be read")
    return catalogue


def read_catalogue(
    config: DataConfig, layout: Layout, template: Template | None, problems: Problems
) -> tuple[Catalogue | None, Collection[str]]:
    """Read the items of a layout, and the ids of those that are left out for want of a text.

    None means that ``problems`` says why there is nothing to read.
    """
    drops = config.on_bad_rows == "drop"
    left_out = Problems()
    if layout.items_of_log:  # whose rows are reported where its events are read
        table = items_of_log(layout, left_out if drops else problems)
    else:
        of_items = Problems()
        table = load(layout.items, None, of_items, layout.dialects["items"])
        left_out = of_items.moved(BAD_ROWS if drops else ())
        problems.take(of_items)
    key = layout.columns.item_key or layout.columns.item or ""
    if table is None or not table.has(key, "item_key", problems):
        return None, ()
    if key in table.unread:
        table.check({key}, problems)
        return None, ()
    table = without_repeats(table, key)
    if drops:
        table = with_ids(table, key, left_out)
        if not layout.items_of_log:
            left_out.warn_of_rows_left_out()
    check_ids(table, key, problems)
    if template is None and config.text is not None:
        template = Template.parse(config.text)
    asked = {key, *config.item_profile, *config.item_vectors}
    asked |= set(template.columns if template is not None else ())
    read = {
        name: column.to_pandas()
        for name, column in table.columns.items()
        if name in asked or name not in table.nested
    }
    rows = tidy_items(layout.format, pd.DataFrame(read))
    _check_columns(config, table, rows, key, problems)
    item_ids: list[str] = rows[key].tolist()
    given = [name for name in config.item_vectors if name in rows.columns and name != key]
    vectors = {name: read_vectors(table, name, item_ids, problems) for name in given}
    rows = rows.drop(columns=given)  # which are no text
    rows = plain_values(rows, key)
    template = template or usual_template(layout.format, rows, key)
    asked |= set(template.columns)
    table.check(asked, problems)
    rows = rows.drop(columns=[name for name in rows if name in table.faults and name not in asked])
    catalogue = Catalogue(item_ids, _texts(template, table, rows, problems), rows, vectors)
    without = np.array([not text for text in catalogue.texts], np.bool_)
    if not without.any() or _TEMPLATE in problems:
        return catalogue, ()
    if layout.items_of_log or config.on_items_without_text == "keep":
        return catalogue.with_ids_for_texts(), ()
    if config.on_items_without_text == "drop":
        log.warning("left out: items without text, %d of %d", without.sum(), len(without))
        dropped = {item_ids[row] for row in np.flatnonzero(without)}
        return catalogue.only(~without), dropped
    _report_no_text(template, table, catalogue, problems)
    return catalogue, ()


def _check_columns(
    config: DataConfig, table: TextTable, rows: pd.DataFrame, key: str, problems: Problems
) -> None:
    own = [str(name) for name in rows.columns if name != key]
    for what, names in (("profile", config.item_profile), ("vectors", config.item_vectors)):
        for name in names:
            if name not in own and name not in table.unread:
                problems.add(
                    f"{what} columns that do not exist",
                    f"{table.path}:1: {name}: there is no such column for an item's {what}; there "
                    f"are {', '.join(own) or 'none'}",
                )


def _texts(
    template: Template, table: TextTable, rows: pd.DataFrame, problems: Problems
) -> list[str]:
    blank = [""] * len(rows)
    if table.unread.intersection(template.columns):  # which is reported
        problems.add_all(_TEMPLATE, [], 0)
        return blank
    unknown = [name for name in template.columns if name not in rows.columns]
    for name in dict.fromkeys(unknown):
        problems.add(
            _TEMPLATE,
            f"{table.path}:1: {name}: the text template names this column, which does not exist; "
            f"the columns are {', '.join(rows.columns)}",
        )
    return blank if unknown or not template.columns else template.render(rows)


def _report_no_text(
    template: Template, table: TextTable, catalogue: Catalogue, problems: Problems
) -> None:
    or_by_id = "or give --on-items-without-text keep to know such items by their ids"
    if not template.columns:
        problems.add(
            "no text",
            f"{table.path}:1: no column holds text; name some in a text template with --text, "
            f"{or_by_id}; the columns are {', '.join(catalogue.columns.columns)}",
        )
        return
    table.report(
        problems,
        "items without text",
        np.flatnonzero([not text for text in catalogue.texts]),
        ", ".join(template.columns),
        lambda row: (
            f"item {catalogue.item_ids[row]!r} has no text; fill a column in, change the text "
            f"template, {or_by_id}"
        ),
    )
