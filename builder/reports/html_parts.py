"""What the HTML pages are made of: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from builder.errors import ConfigError
from builder.outputs import check_file
from builder.reports.plots import check_drawable

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #dde2e8; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
tr.main { font-weight: 600; }
p.note { color: #55606e; font-size: .9rem; } svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""


def check_page(file: Path) -> None:
    """Refuse a page before the work that it shows.

    Raises
    ------
    ConfigError
        Nothing can be drawn here, or the file could not be written.
    """
    check_drawable()
    check_file(file, "--html")


def write_page(file: Path, page: str) -> None:
    """Write a page.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    try:
        file.write_text(page, "utf-8")
    except OSError as error:
        raise ConfigError(f"--html {file}: cannot be written: {error}; give another") from error


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], main: str | None = None) -> str:
    """A table; the row that begins with ``main`` stands out."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{' class=main' if row[0] == main else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def heading(text: str) -> str:
    """A heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def note(text: str) -> str:
    """A sentence or two."""
    return f'<p class="note">{escape(text)}</p>'


def page(title: str, parts: Sequence[str]) -> str:
    """A page of these parts, which needs no other file."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
