"""Reads a data set of any format into one ``Interactions`` and one ``Catalogue``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from builder.data.config import DataConfig
from builder.data.event_log import read_log
from builder.data.files import Batch, load
from builder.data.ids import rows_of_users
from builder.data.item_file import read_catalogue
from builder.data.layouts import Layout, find_layout
from builder.data.problems import BAD_ROWS, TOO_FEW_ITEMS, Problems
from builder.data.repeated_events import repeats
from builder.data.repeats import check_ids, with_ids, without_repeats
from builder.data.tables import Catalogue, Interactions
from builder.data.unsorted import UnsortedEvents
from builder.errors import DataError
from builder.progress import Progress, silent

_FEWEST_ITEMS: Final = 2

log = logging.getLogger(__name__)


@dataclass(eq=False)
class DataSet:
    """A data set as it was read: nothing is wrong with it.

    Attributes
    ----------
    profile
        The columns of ``config.profile``, by user id; None where none were asked for.
    """

    layout: Layout
    events: UnsortedEvents
    catalogue: Catalogue
    profile: pd.DataFrame | None


def read(config: DataConfig, progress: Progress = silent) -> tuple[Interactions, Catalogue]:
    """Read, check and sort a data set.

    Repeated events are kept. Items without events stay in the catalogue.

    Raises
    ------
    DataError
        Every problem in one message, each as ``file:line: column: problem; what to do``. Of each
        kind the first 20 are spelt out and the rest counted.
    """
    layout = find_layout(config)
    found = read_unsorted(config, layout, progress)
    profile, catalogue = found.profile, found.catalogue
    interactions = found.events.sorted()
    if profile is not None:
        everyone = rows_of_users(
            profile,
            interactions.user_ids,
            f"{layout.users}: {layout.columns.user}",
            loose=config.match_ids == "loose",
        )
        interactions = replace(interactions, profile=everyone)
    return interactions, catalogue


def read_unsorted(
    config: DataConfig,
    layout: Layout,
    progress: Progress = silent,
    watch: Callable[[Batch], None] | None = None,
    *,
    ratings: bool = False,
) -> DataSet:
    """The same without sorting, which takes as much memory again; raises the same.

    ``watch`` sees each batch of events, before they are checked. With ``ratings``, the events have
    theirs.
    """
    log.info("%s", layout)
    problems = Problems()
    catalogue, left_out = read_catalogue(config, layout, None, problems)
    if catalogue is not None and len(catalogue) < _FEWEST_ITEMS:
        problems.add(
            TOO_FEW_ITEMS,
            f"{layout.items}: {len(catalogue)} items where recommending needs at least 2; add some",
        )
    profile = _read_users(config, layout, problems)

    def take(batch: Batch) -> None:
        progress(f"Reading {layout.interactions.name}, %", int(100 * batch.share), 100)
        if watch is not None:
            watch(batch)

    events, catalogue = read_log(
        config, layout, catalogue, left_out, problems, take, ratings=ratings
    )
    problems.raise_if_any()
    if catalogue is None or events is None:  # both report why, so this is unreachable
        raise DataError(f"{config.directory}: cannot be read")
    if not _warn_of_equal_times(layout, events):
        _warn_of_repeats(layout, events)
    return DataSet(layout, events, catalogue, profile)


def _warn_of_equal_times(layout: Layout, events: UnsortedEvents) -> bool:
    """Whether all events have one time, which is told."""
    ticks = events.ticks
    if ticks is None or len(ticks) < 2 or ticks.min() != ticks.max():
        return False
    log.warning(
        "%s: %s: all %s events have the same time, so the log has no order but that of its "
        "rows, and nothing tells which event of a user was the last; name a column of times with "
        "--column time=NAME, or write the rows in the order of time",
        layout.interactions,
        layout.columns.time,
        f"{len(ticks):,}",
    )
    return True


def _warn_of_repeats(layout: Layout, events: UnsortedEvents) -> None:
    found = repeats(events)
    if found:
        log.warning(
            "%s: %s of the %s events repeat another of the same user, item and time, so that tests "
            "ask for items that the user has already, and figures come out too good; if an export "
            "wrote them twice, keep one of each, as awk '!seen[$0]++' does for lines of text",
            layout.interactions,
            f"{found:,}",
            f"{len(events):,}",
        )


def _read_users(config: DataConfig, layout: Layout, problems: Problems) -> pd.DataFrame | None:
    """Check the user file, and read the columns of ``config.profile``, by user id."""
    if layout.users is None:
        if config.profile:
            problems.add(
                "no user file",
                f"{config.directory}: there is no user file to take the profile "
                f"({', '.join(config.profile)}) from; name it with "
                "--users, or leave --profile out",
            )
        return None
    column = layout.columns.user or ""
    wanted = {column, *config.profile}
    of_users = Problems()
    table = load(layout.users, wanted, of_users, layout.dialects["users"])
    if config.on_bad_rows == "drop":
        of_users.moved(BAD_ROWS).warn_of_rows_left_out()
    problems.take(of_users)
    if table is None or not table.has(column, "user", problems):
        return None
    table = without_repeats(table, column)
    if config.on_bad_rows == "drop":
        left_out = Problems()
        table = with_ids(table, column, left_out)
        left_out.warn_of_rows_left_out()
    check_ids(table, column, problems)
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
