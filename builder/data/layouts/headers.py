"""Says how to name the columns of files that have no header."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from builder.data.layouts.peek import Peek
from builder.data.layouts.roles import guess_item_names, guess_names, is_of_users, may_be_items
from builder.data.rows import numbered


def how_to_name(peeks: Sequence[Peek]) -> str | None:
    """The options with which files without a header are a log and its items; None: there is none.

    Of several files, the log is the one with most roles, and of these the largest.
    """
    headless = [each for each in peeks if each.headless]
    others = [each for each in peeks if not each.headless]
    guesses = [guess_names(each, others) for each in headless]
    logs = [
        (not may_be_items(each), len(_roles(names)), each.path.stat().st_size, each)
        for names, each in zip(guesses, headless, strict=True)
        if {"user", "item"} <= set(names) and not is_of_users(each)
    ]
    if not logs:
        return None
    log = max(logs, key=lambda each: each[:3])[3]
    items = how_to_name_items([each for each in peeks if each is not log])
    words = shlex.join(["--interactions", log.path.name, *_columns_of(log, others)])
    return f"if {log.path.name} is it, it has no header: give {words}{f' {items}' if items else ''}"


def how_to_name_items(peeks: Sequence[Peek]) -> str | None:
    """The options with which a file without a header is the item file; None: there is none."""
    for each in peeks:
        if each.headless and may_be_items(each):
            names = ",".join(guess_item_names(each))
            return shlex.join(["--items", each.path.name, "--item-columns", names])
    return None


def without_header(log: Peek, items: Peek | None) -> str:
    """The option that names the columns of a log without a header."""
    return shlex.join(_columns_of(log, [items] if items else []))


def without_header_of_items(items: Peek) -> str:
    """The option that names the columns of an item file without a header."""
    values = items.columns.values()
    plain = replace(items, columns=dict(zip(numbered(len(values)), values, strict=True)))
    return shlex.join(["--item-columns", ",".join(guess_item_names(plain))])


def _columns_of(log: Peek, others: Sequence[Peek]) -> list[str]:
    return ["--columns", ",".join(guess_names(log, others))]


def _roles(names: Sequence[str]) -> set[str]:
    return {*names} - {*numbered(len(names))}
