"""Splits the text of an option into statements: ``;`` or a new line ends one, but not in quotes."""

from __future__ import annotations

import re
from typing import Final

from ..contract import OptionSpec
from ..errors import InvalidRequest

LONGEST: Final = 2**14
"""Characters of an option."""
_MOST: Final = 50
_TEXT: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_QUOTED: Final = rf"{_TEXT}|`[^`]*`"
_STATEMENT: Final = re.compile(rf"(?:{_QUOTED}|[^;\n\"'`])+")
_IF: Final = re.compile(rf"(?:{_QUOTED}|[^\"'`])*?(?=\sif\s)")


def statements(option: OptionSpec, text: str) -> list[str]:
    """The statements of an option, stripped; empty ones are left out.

    Raises
    ------
    InvalidRequest
        The text is too long, has too many statements, or a quote that nothing closes.
    """
    if len(text) > LONGEST:
        raise InvalidRequest(
            f"parameter {option.name} has {len(text)} characters, and at most {LONGEST} are read; "
            "put long lists of ids into a named list"
        )
    found, end = [], 0
    for match in _STATEMENT.finditer(text):
        if text[end : match.start()].strip(";\n"):
            break
        found.append(match.group().strip())
        end = match.end()
    if text[end:].strip(";\n"):
        raise InvalidRequest(f"parameter {option.name}: nothing closes the quote in {text:.80}")
    kept = [each for each in found if each]
    if len(kept) > _MOST:
        raise InvalidRequest(
            f"parameter {option.name} has {len(kept)} statements, and at most {_MOST} are read"
        )
    return kept


def condition_of(statement: str) -> tuple[str, str | None]:
    """What stands before `` if `` and after it; None where there is no ``if`` outside quotes."""
    match = _IF.match(statement)
    if match is None:
        return statement, None
    return match.group().strip(), statement[match.end() + 1 :].lstrip()[2:].strip()


def unquoted(text: str) -> str:
    """A text without the quotes around it, if it has any."""
    if re.fullmatch(_TEXT, text):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
