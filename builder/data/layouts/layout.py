"""Finds the files of a data set and knows the usual column names of each format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from builder.data.config import Columns, DataConfig
from builder.data.dialect import Dialect, spoken
from builder.data.layouts.find_files import files_of, find_by_content, find_by_name
from builder.data.layouts.headers import without_header, without_header_of_items
from builder.data.layouts.known import FORMATS
from builder.data.layouts.peek import Peek, peek
from builder.data.layouts.roles import (
    ITEM_KEYS,
    USER_KEYS,
    are_lists,
    complete,
    item_key,
    key_among,
    of_events,
)
from builder.data.object_ids import ObjectColumn
from builder.data.rows import numbered
from builder.data.sources import first_line, uncompressed
from builder.errors import DataError


@dataclass(frozen=True)
class Layout:
    """The files of a data set and the columns to look for.

    Attributes
    ----------
    columns
        Complete but for those that the format does not have.
    given
        The columns that the user named, which therefore must exist.
    dialects
        How the text of the log, the item file and the user file is written.
    time_parts
        The columns that make up the time of an event where it has several.
    has_lists, lists_are_text, last_item
        Whether a row of the log has a list of items, whether these are text such as ``[1, 2]``,
        and the column of the item after them.
    object_key, object_texts
        Where a row of the log has items as objects: the key of their ids, and their other keys.
    user_key
        The key of the user's id, where users are objects.
    items_of_log
        Whether no file but the log tells about the items.
    of_log
        The columns of the log, and those of its events.
    """

    format: str
    interactions: Path
    items: Path
    users: Path | None
    columns: Columns
    given: Columns
    dialects: Mapping[str, Dialect]
    time_parts: tuple[str, ...] = ()
    has_lists: bool = False
    lists_are_text: bool = False
    last_item: str | None = None
    object_key: str | None = None
    object_texts: tuple[str, ...] = ()
    user_key: str | None = None
    items_of_log: bool = False
    of_log: frozenset[str] = frozenset()

    def __str__(self) -> str:
        roles = [(f.name, getattr(self.columns, f.name)) for f in fields(Columns)]
        given = {*self.of_log, ",".join(self.time_parts)}
        found = [f"{role} {name}" for role, name in roles if name in given]
        key = self.columns.item_key or self.columns.item
        return f"{self.interactions.name}: {', '.join(found)}; {self.items.name}: item {key}"


def find_layout(config: DataConfig) -> Layout:
    """Find the files that the configuration means.

    Raises
    ------
    DataError
        No directory, a file that is not there, or several that could be meant.
    """
    if config.directory.is_file():
        raise DataError(
            f"{config.directory}: this is a file, and the folder that it is in is wanted; give "
            f"{config.directory.parent}"
        )
    if not config.directory.is_dir():
        raise DataError(
            f"{config.directory}: no such directory; give the one that holds the data's files"
        )
    kind = _guess_format(config) if config.format == "auto" else config.format
    known = FORMATS[kind]
    found = find_by_name(config, known)
    if found["interactions"] is None or found["items"] is None:
        plain = Dialect(
            config.encoding, None, spoken(config.separator), config.quote, (), known.columns.item
        )
        found = find_by_content(config, plain, found, known)
    log, items = found["interactions"], found["items"]
    if log is None or items is None:  # reports why, so this is unreachable
        raise DataError(f"{config.directory}: cannot be read")
    said = _said(config, kind)
    first = peek(log, _dialect(config, kind, "interactions", log, said))
    first_items = peek(items, _dialect(config, kind, "items", items, said))
    columns = said
    if first is not None and first.columns:
        columns = complete(config.columns, known.columns, first, first_items)
        if first.headless and not {columns.user, columns.item} & set(first.columns):
            raise DataError(
                f"{log}:1: the file seems to have no header; give its columns, as in "
                f"{without_header(first, first_items)}"
            )
        if first_items is not None and items != log:
            _check_header_of_items(columns, first, first_items)
    dialects = {
        role: _dialect(config, kind, role, path, columns)
        for role, path in found.items()
        if path is not None
    }
    if items == log:
        dialects["items"] = dialects["interactions"]
    layout = Layout(
        kind,
        log,
        items,
        found["users"],
        columns,
        config.columns,
        dialects,
        items_of_log=items == log,
    )
    return layout if first is None else _with_details(layout, first)


def _check_header_of_items(columns: Columns, log: Peek, items: Peek) -> None:
    """Raise DataError where the first row of the item file has an item of the log, not names."""
    if (columns.item_key or columns.item) in items.columns:
        return
    of_log = {*log.columns.get(columns.item or "", ())} - {""}
    found = next((name for name in items.columns if name in of_log), None)
    if found is None and not items.headless:
        return
    known = f", as its first row has the item {found!r} of the log" if found else ""
    raise DataError(
        f"{items.path}:1: the file seems to have no header{known}; give its columns, as in "
        f"{without_header_of_items(items)}"
    )


def _with_details(layout: Layout, log: Peek) -> Layout:
    """What the first rows of the log say about its columns of times and items."""
    time, item = layout.columns.time or "", layout.columns.item or ""
    layout = replace(layout, of_log=frozenset((*log.columns, *of_events(log, item))))
    layout = replace(layout, user_key=_key(layout, log, "user", USER_KEYS))
    key = _key(layout, log, "item", ITEM_KEYS)
    parts = _parts(time, log)
    if parts:
        layout = replace(layout, columns=replace(layout.columns, time=",".join(parts)))
    if key is not None and (objects := ObjectColumn.of(log.columns[item])) is not None:
        others = tuple(other for other in objects.others if other != key)
        return replace(layout, time_parts=parts, object_key=key, object_texts=others)
    if item not in log.lists and not are_lists(item, log):
        return replace(layout, time_parts=parts)
    last = item.removesuffix("_list")
    last_item = last if last != item and last in log.columns else None
    return replace(
        layout,
        time_parts=parts,
        has_lists=True,
        lists_are_text=item not in log.lists,
        last_item=last_item,
    )


def _parts(time: str, log: Peek) -> tuple[str, ...]:
    """The columns that are joined by commas in a name that is none of a column."""
    if time in log.columns or "," not in time:
        return ()
    return tuple(part if part in log.columns else part.strip() for part in time.split(","))


def _key(layout: Layout, log: Peek, role: str, names: Sequence[str]) -> str | None:
    """The key of the ids in a column of objects; None where it has none.

    Raises
    ------
    DataError
        The objects have no key of a usual name.
    """
    column = getattr(layout.columns, role) or ""
    objects = ObjectColumn.of(log.columns.get(column, ()))
    if objects is None:
        return None
    found = key_among(objects.keys, names)
    if found is None:
        raise DataError(
            f"{log.path}: {column}: none of the keys of its objects "
            f"({', '.join(objects.others) or 'there are none'}) is the id of "
            f"{'an item' if role == 'item' else 'a user'} by its name; rename the one that is to "
            f"{role}_id, or name another column with --column {role}=NAME"
        )
    return found


def layout_of_items(config: DataConfig, file: Path) -> Layout:
    """For an item file that is read by itself, wherever it is; there is no log."""
    alone = replace(config, directory=file.parent, items=file.name, interactions=None, users=None)
    kind = _guess_format(alone) if config.format == "auto" else config.format
    columns = _said(config, kind)
    first = peek(file, _dialect(config, kind, "items", file, columns))
    key = columns.item_key or columns.item
    if first is not None and config.columns.item_key is None and key not in first.columns:
        columns = replace(columns, item_key=item_key(first, columns.item) or columns.item_key)
    dialects = {"items": _dialect(config, kind, "items", file, columns)}
    return Layout(kind, file, file, None, columns, config.columns, dialects)


def _dialect(config: DataConfig, kind: str, role: str, path: Path, columns: Columns) -> Dialect:
    key = {"items": columns.item_key or columns.item, "users": columns.user}.get(role)
    said = Dialect(config.encoding, None, spoken(config.separator), config.quote, (), key)
    names = _names_given(config, role, columns)
    if names:
        return replace(said, names=names)
    known = FORMATS[kind].headers.get(uncompressed(path).name.lower())
    if known is None:
        return said
    separator, names = known
    values = first_line(path).split(said.separator or separator)
    if len(values) == 1:  # some other file of this name
        return said
    if len(values) != len(names):
        names = (names[0], *numbered(len(values))[1:])
    other = FORMATS[kind].encoding
    return Dialect(said.encoding, other, said.separator or separator, "none", names)


def _names_given(config: DataConfig, role: str, columns: Columns) -> tuple[str, ...]:
    """The columns of a file without a header, where a role stands for the name of its column."""
    if role == "interactions":
        roles = {each.name: getattr(columns, each.name) for each in fields(Columns)}
        return tuple(roles.get(name) or name for name in config.log_columns)
    if role == "items":
        key = columns.item_key or columns.item or "item"
        return tuple(key if name == "item" else name for name in config.item_columns)
    user = columns.user or "user"
    return tuple(user if name == "user" else name for name in config.user_columns)


def _said(config: DataConfig, kind: str) -> Columns:
    """The columns that the user named, and the usual ones for the others."""
    usual = FORMATS[kind].columns
    return Columns(
        *(getattr(config.columns, f.name) or getattr(usual, f.name) for f in fields(Columns))
    )


def _guess_format(config: DataConfig) -> str:
    named = [name for name in (config.interactions, config.items) if name is not None]
    for kind, known in FORMATS.items():
        logs, items = (known.files[role] for role in ("interactions", "items"))
        if named:
            if any(
                uncompressed(Path(name)).match(pattern)
                for name in named
                for pattern in (*logs, *items)
            ):
                return kind
        elif files_of(config.directory, logs) and files_of(config.directory, items):
            return kind
    return "table"
