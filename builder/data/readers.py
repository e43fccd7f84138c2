"""Reads a data set of any format into one ``Interactions`` and one ``Catalogue``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from builder.data.config import DataConfig
from builder.data.event_log import read_log
from builder.data.files import TextTable, load
from builder.data.formats import Layout, find_layout, layout_of_items, tidy_items, usual_template
from builder.data.ids import rows_of_users
from builder.data.problems import TOO_FEW_ITEMS, Problems
from builder.data.repeats import without_repeats
from builder.data.tables import Catalogue, Interactions
from builder.data.template import Template
from builder.data.vectors import read_vectors
from builder.errors import DataError


def read(config: DataConfig) -> tuple[Interactions, Catalogue]:
    """Read, check and sort a data set.

    Repeated events are kept. Items without events stay in the catalogue.

    Raises
    ------
    DataError
        Every problem in one message, each as ``file:line: column: problem; what to do``. Of each
        kind the first 20 are spelt out and the rest counted.
    """
    layout = find_layout(config)
    problems = Problems()
    catalogue = _read_items(config, layout, None, problems)
    if catalogue is not None and len(catalogue) < 2:
        problems.add(
            TOO_FEW_ITEMS,
            f"{layout.items}: {len(catalogue)} items where recommending needs at least 2; add some",
        )
    profile = _read_users(config, layout, problems)
    interactions = read_log(config, layout, catalogue, problems)
    problems.raise_if_any()
    if catalogue is None or interactions is None:  # both report why, so this is unreachable
        raise DataError(f"{config.directory}: cannot be read")
    if profile is not None:
        everyone = rows_of_users(
            profile,
            interactions.user_ids,
            f"{layout.users}: {layout.columns.user}",
            loose=config.match_ids == "loose",
        )
        interactions = replace(interactions, profile=everyone)
    return interactions, catalogue


def read_items(config: DataConfig, file: Path, template: Template) -> Catalogue:
    """Read an item file by itself, and make its texts with this template.

    Raises
    ------
    DataError
        Every problem in one message, as from `read`.
    """
    problems = Problems()
    catalogue = _read_items(config, layout_of_items(config, file), template, problems)
    problems.raise_if_any()
    if catalogue is None:  # reports why, so this is unreachable
        raise DataError(f"{file}: cannot be read")
    return catalogue


def _read_items(
    config: DataConfig, layout: Layout, template: Template | None, problems: Problems
) -> Catalogue | None:
    table = load(layout.items, None, problems, layout.dialects["items"])
    if table is None:
        return None
    key = layout.columns.item_key or layout.columns.item or ""
    if not table.has(key, "item_key", problems):
        return None
    if key in table.unread:
        table.check({key}, problems)
        return None
    table = without_repeats(table, key)
    _check_ids(table, key, problems)
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
    own = [str(name) for name in rows.columns if name != key]
    for what, names in (("profile", config.item_profile), ("vectors", config.item_vectors)):
        for name in names:
            if name not in own and name not in table.unread:
                problems.add(
                    f"{what} columns that do not exist",
                    f"{table.path}:1: {name}: there is no such column for an item's {what}; there "
                    f"are {', '.join(own) or 'none'}",
                )
    item_ids: list[str] = rows[key].tolist()
    given = [name for name in config.item_vectors if name in own]
    vectors = {name: read_vectors(table, name, item_ids, problems) for name in given}
    rows = rows.drop(columns=given)  # which are no text
    template = template or usual_template(layout.format, rows, key)
    asked |= set(template.columns)
    table.check(asked, problems)
    rows = rows.drop(columns=[name for name in rows if name in table.faults and name not in asked])
    return Catalogue(item_ids, _texts(template, table, rows, key, problems), rows, vectors)


def _texts(
    template: Template,
    table: TextTable,
    rows: pd.DataFrame,
    key: str,
    problems: Problems,
) -> list[str]:
    names = ", ".join(template.columns)
    if table.unread.intersection(template.columns):  # which is reported
        return [""] * len(rows)
    unknown = [name for name in template.columns if name not in rows.columns]
    for name in dict.fromkeys(unknown):
        problems.add(
            "template columns that do not exist",
            f"{table.path}:1: {name}: the text template names this column, which does not exist; "
            f"the columns are {', '.join(rows.columns)}",
        )
    if unknown:
        return [""] * len(rows)
    if not template.columns and len(rows):
        problems.add(
            "no text",
            f"{table.path}:1: no column holds text; name some in a text template; "
            f"the columns are {', '.join(rows.columns)}",
        )
        return [""] * len(rows)
    texts = template.render(rows)
    empty = np.flatnonzero([not text for text in texts])
    table.report(
        problems,
        "items without text",
        empty,
        names,
        lambda row: (
            f"item {rows[key].iloc[row]!r} has no text; fill a column in, or change the "
            "text template"
        ),
    )
    return texts


def _read_users(config: DataConfig, layout: Layout, problems: Problems) -> pd.DataFrame | None:
    """Check the user file, and read the columns of ``config.profile``, by user id."""
    if layout.users is None:
        if config.profile:
            problems.add(
                "no user file",
                f"{config.directory}: there is no user file to take the profile "
                f"({', '.join(config.profile)}) from; name it",
            )
        return None
    column = layout.columns.user or ""
    wanted = {column, *config.profile}
    table = load(layout.users, wanted, problems, layout.dialects["users"])
    if table is None or not table.has(column, "user", problems):
        return None
    table = without_repeats(table, column)
    _check_ids(table, column, problems)
    own = [name for name in table.names if name != column]
    unknown = [name for name in config.profile if name not in own]
    for name in unknown:
        problems.add(
            "profile columns that do not exist",
            f"{table.path}:1: {name}: there is no such column for a profile; there are "
            f"{', '.join(own) or 'none'}",
        )
    if not config.profile or unknown or len(problems):
        return None
    rows = {name: table.columns[name].to_pandas() for name in config.profile}
    return pd.DataFrame(rows).set_index(table.columns[column].to_pandas())


def _check_ids(table: TextTable, column: str, problems: Problems) -> None:
    _check_present(table, column, problems)
    ids = table.columns[column].to_pandas()
    repeated = np.flatnonzero(ids.duplicated() & (ids != ""))

    def describe(row: int) -> str:
        first = int(np.flatnonzero(ids == ids.iloc[row])[0])
        return (
            f"{ids.iloc[row]!r} was already given at "
            f"{table.path.name}:{table.places([first])[0]}; keep one of the two"
        )

    table.report(problems, f"repeated ids in {table.path.name}", repeated, column, describe)


def _check_present(table: TextTable, column: str, problems: Problems) -> None:
    table.report(
        problems,
        f"missing values of {column} in {table.path.name}",
        np.flatnonzero(pc.equal(table.columns[column], "").to_numpy()),
        column,
        lambda _: "the value is missing; fill it in or remove the row",
    )
