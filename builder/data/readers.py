"""Reads a data set of any format into one ``Interactions`` and one ``Catalogue``."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builder.data.config import DataConfig
from builder.data.files import TextTable, load
from builder.data.layouts import Layout, find_layout, layout_of_items, tidy_items, usual_template
from builder.data.problems import Problems
from builder.data.tables import Catalogue, Interactions
from builder.data.template import Template
from builder.data.times import KINDS, UNREADABLE, Times, parse_times
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
            "too few items",
            f"{layout.items}: {len(catalogue)} items where recommending needs at least 2; add some",
        )
    profile = _read_users(config, layout, problems)
    interactions = _read_log(config, layout, catalogue, problems)
    problems.raise_if_any()
    if catalogue is None or interactions is None:  # both report why, so this is unreachable
        raise DataError(f"{config.directory}: cannot be read")
    if profile is not None:
        everyone = profile.reindex(interactions.user_ids, fill_value="").reset_index(drop=True)
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
    table = load(layout.items, None, problems)
    if table is None:
        return None
    key = layout.columns.item_key or layout.columns.item or ""
    if not _has(table, key, "item_key", problems):
        return None
    _check_ids(table, key, problems)
    rows = pd.DataFrame({name: column.to_pandas() for name, column in table.columns.items()})
    rows = tidy_items(layout.format, rows)
    own = [str(name) for name in rows.columns if name != key]
    for what, names in (("profile", config.item_profile), ("vectors", config.item_vectors)):
        for name in names:
            if name not in own:
                problems.add(
                    f"{what} columns that do not exist",
                    f"{table.path}:1: {name}: there is no such column for an item's {what}; there "
                    f"are {', '.join(own) or 'none'}",
                )
    item_ids: list[str] = rows[key].tolist()
    given = [name for name in config.item_vectors if name in own]
    vectors = {name: read_vectors(table, name, item_ids, problems) for name in given}
    rows = rows.drop(columns=given)  # which are no text
    if template is None and config.text is not None:
        template = Template.parse(config.text)
    template = template or usual_template(layout.format, rows, key)
    return Catalogue(item_ids, _texts(template, table, rows, key, problems), rows, vectors)


def _texts(
    template: Template,
    table: TextTable,
    rows: pd.DataFrame,
    key: str,
    problems: Problems,
) -> list[str]:
    names = ", ".join(template.columns)
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
    table = load(layout.users, {column, *config.profile}, problems)
    if table is None or not _has(table, column, "user", problems):
        return None
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


def _has(table: TextTable, column: str, role: str, problems: Problems) -> bool:
    if column in table.columns:
        return True
    problems.add(
        "missing columns",
        f"{table.path}:1: {column}: there is no such column; map '{role}' to one of "
        f"{', '.join(table.names)}",
    )
    return False


def _read_log(
    config: DataConfig, layout: Layout, catalogue: Catalogue | None, problems: Problems
) -> Interactions | None:
    columns = layout.columns
    log = load(
        layout.interactions,
        {getattr(columns, field.name) for field in fields(columns)},
        problems,
    )
    if log is None:
        return None
    required = {"user", "item"} | ({"rating"} if config.min_rating is not None else set())
    required |= {f.name for f in fields(columns) if getattr(layout.given, f.name) is not None}
    present = [
        _has(log, getattr(columns, role) or role, role, problems)
        for role in ("user", "item", "time", "rating", "action")
        if role in required
    ]
    if not all(present):
        return None
    if config.request_time and columns.time not in log.columns:
        problems.add(
            "no times",
            f"{log.path}:1: {columns.time or 'time'}: there is no such column, and the time of a "
            f"request ({', '.join(config.request_time)}) is learnt from it; map 'time' to one of "
            f"{', '.join(log.names)}, or leave request_time out",
        )
        return None
    if not len(log):
        problems.add("empty log", f"{log.path}: there are no events; give a log that has some")
        return None
    user_column, item_column = columns.user or "", columns.item or ""
    _check_present(log, user_column, problems)
    _check_present(log, item_column, problems)
    items = _item_indices(log, item_column, catalogue, layout, problems)
    times = _times(log, columns.time, problems)
    keep = np.ones(len(log), np.bool_)
    if config.min_rating is not None:
        keep = _ratings(log, columns.rating or "", problems) >= config.min_rating
    if len(problems):
        return None
    users, user_ids = _codes(log.columns[user_column])
    counts = np.bincount(users[keep], minlength=len(user_ids))
    keep &= (counts >= config.min_events)[users]
    if not keep.any():
        problems.add(
            "empty log",
            f"{log.path}: none of the {len(log):,} events is left after the minimum rating "
            f"({config.min_rating}) and the minimum of events per user ({config.min_events}); "
            "lower them",
        )
        return None
    actions = None
    action_names: list[str] = []
    if columns.action in log.columns:
        actions, action_names = _actions(log.columns[columns.action])
    return _sorted(user_ids, users, items, times, actions, action_names, keep)


def _sorted(
    user_ids: list[str],
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    times: Times | None,
    actions: NDArray[np.int32] | None,
    action_names: list[str],
    keep: NDArray[np.bool_],
) -> Interactions:
    rows = np.flatnonzero(keep)
    kept = np.unique(users[rows])
    renumbered = np.zeros(len(user_ids), np.int32)
    renumbered[kept] = np.arange(len(kept), dtype=np.int32)
    # Both sorts are stable: events at the same time stay in the order of the file.
    if times is None:
        order = rows[np.argsort(users[rows], kind="stable")]
    else:
        order = rows[np.lexsort((times.ticks[rows], users[rows]))]
    return Interactions(
        user_ids=[user_ids[user] for user in kept],
        user=renumbered[users[order]],
        item=items[order],
        time=None if times is None else times.seconds[order],
        action=None if actions is None else actions[order],
        actions=action_names,
    )


def _codes(text: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Give the distinct values numbers, in order of first appearance."""
    encoded = text.combine_chunks().dictionary_encode()
    codes: NDArray[np.int32] = encoded.indices.to_numpy().astype(np.int32)
    return codes, encoded.dictionary.to_pylist()


def _actions(text: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    codes, met = _codes(text)
    names = sorted(name for name in met if name)
    numbers = np.array([names.index(name) + 1 if name else 0 for name in met], np.int32)
    return numbers[codes], names


def _item_indices(
    log: TextTable,
    column: str,
    catalogue: Catalogue | None,
    layout: Layout,
    problems: Problems,
) -> NDArray[np.int32]:
    """INT32 [E]; -1 where the item is not known, which is reported."""
    if catalogue is None:
        return np.full(len(log), -1, np.int32)
    codes, ids = _codes(log.columns[column])
    numbers = np.array([catalogue.index.get(item_id, -1) for item_id in ids], np.int32)
    items = numbers[codes]
    rows = np.flatnonzero((items < 0) & (pc.not_equal(log.columns[column], "").to_numpy()))
    log.report(
        problems,
        "events with items that are not known",
        rows,
        column,
        lambda row: (
            f"item {ids[codes[row]]!r} is not in {layout.items.name}; add it there or "
            "remove its events"
        ),
    )
    return items


def _times(log: TextTable, column: str | None, problems: Problems) -> Times | None:
    if column is None or column not in log.columns:
        return None
    text = log.columns[column]
    times = parse_times(text)
    usual = times.usual
    log.report(
        problems,
        "times that cannot be read",
        np.flatnonzero(times.kinds == UNREADABLE),
        column,
        lambda row: (
            f"{text[row].as_py()!r} is no time; write Unix seconds or milliseconds, or "
            "ISO 8601 such as 2024-05-01T12:30:00Z"
        ),
    )
    odd = np.flatnonzero((times.kinds != usual) & (times.kinds != UNREADABLE))
    if len(odd):
        log.report(
            problems,
            "times of several kinds",
            odd[:1],
            column,
            lambda row: (
                f"{text[row].as_py()!r} looks like {KINDS[times.kinds[row]]}, but most of "
                f"the column is {KINDS[usual]} ({len(odd):,} rows differ); write all in one unit"
            ),
        )
    return times


def _ratings(log: TextTable, column: str, problems: Problems) -> NDArray[np.float64]:
    text = log.columns[column]
    try:
        ratings: NDArray[np.float64] = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        ratings = pd.to_numeric(text.to_pandas(), errors="coerce").to_numpy(np.float64)
    log.report(
        problems,
        "ratings that cannot be read",
        np.flatnonzero(~np.isfinite(ratings)),
        column,
        lambda row: (
            f"{text[row].as_py()!r} is no number, which the minimum rating needs; "
            "correct it or remove the row"
        ),
    )
    return ratings
