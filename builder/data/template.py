"""The text of an item, made from the columns of its row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import unescape
from string import Formatter

import pandas as pd

from builder.errors import ConfigError

_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]")


@dataclass(frozen=True)
class Template:
    """Literal text and columns in turn, as in ``"{title} ({year}) {genres}"``.

    Attributes
    ----------
    parts
        Pairs of literal text and the column that follows it (None after the last literal).
    """

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read ``{column}`` placeholders; ``{{`` and ``}}`` stand for braces.

        Raises
        ------
        ConfigError
            Unbalanced braces, a format after the column name, or no column at all.
        """
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ConfigError(
                f"text template {text!r}: {error}; write columns as {{name}} and a brace as {{{{"
            ) from error
        for _, name, spec, conversion in parsed:
            if name is not None and (not name or spec or conversion):
                raise ConfigError(
                    f"text template {text!r}: a placeholder is a column name and nothing else, "
                    "as in {title}"
                )
        template = cls(tuple((literal, name) for literal, name, _, _ in parsed))
        if not template.columns:
            raise ConfigError(
                f"text template {text!r} names no column, so all items would get the same text; "
                "name at least one, as in {title}"
            )
        return template

    @classmethod
    def join(cls, columns: Iterable[str]) -> Template:
        """Join the columns with spaces."""
        return cls(tuple((" ", column) for column in columns))

    @property
    def columns(self) -> list[str]:
        return [name for _, name in self.parts if name is not None]

    def render(self, rows: pd.DataFrame) -> list[str]:
        """Make one text per row.

        Missing values render as nothing; brackets left empty by them go, and runs of white space
        become one space. ``&amp;`` of HTML is ``&``. Case and accents stay: the backbone's
        tokenizer decides about those.
        """
        values = [rows[name].tolist() for name in self.columns]
        pattern = "".join(
            literal.replace("{", "{{").replace("}", "}}") + ("" if name is None else "{}")
            for literal, name in self.parts
        )
        filled = (pattern.format(*row) for row in zip(*values, strict=True))
        return [" ".join(_EMPTY_BRACKETS.sub(" ", unescape(text)).split()) for text in filled]
