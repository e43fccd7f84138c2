"""Texts, as files have them, read as values of the kinds of attributes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Final, TypeVar

import numpy as np

from .attributes import (
    KINDS,
    NO_CODE,
    NO_DATE,
    SEPARATORS,
    BooleanColumn,
    Column,
    DateColumn,
    Kind,
    NumberColumn,
    list_column,
    text_column,
)

_TRUTHS: Final = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
_TRUTH_WORDS: Final = frozenset(("true", "false", "yes", "no"))
_ANY_SEPARATOR: Final = "|;, "
_DATE: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?"
)
_FRACTION: Final = re.compile(r"\.\d+")

_Value = TypeVar("_Value")


class WrongValue(ValueError):  # noqa: N818  (it names the value, not an error of the code)
    """A value that is not of the kind that was asked for; ``place`` says which."""

    def __init__(self, place: int, value: str, kind: Kind, why: str = "") -> None:
        super().__init__(f"{value!r:.80} is no {kind}{why}")
        self.place = place
        self.kind = kind


def named_kind(text: str) -> tuple[str, Kind | None]:
    """The name and the kind of ``name:kind``; None for the kind where none of `KINDS` is named."""
    name, _, kind = text.rpartition(":")
    for each in KINDS:
        if each == kind and name:
            return name, each
    return text, None


def guessed_kind(texts: Sequence[str]) -> Kind:
    """The kind that all texts fit that are not empty, the narrowest one.

    These are numbers; the words true, false, yes and no; dates in ISO 8601; lists, where ``|`` or
    ``;`` separates values, or which are JSON; and text.
    """
    given = [text for text in map(str.strip, texts) if text]
    if not given:
        return "text"
    if _all(given, _number):
        return "number"
    if all(text.lower() in _TRUTH_WORDS for text in given):
        return "boolean"
    if _all(given, seconds_of):
        return "date"
    if any("|" in text or ";" in text for text in given) or _all(given, _json_list):
        return "list"
    return "text"


def separators_of(texts: Sequence[str]) -> str:
    """The characters that separate the values of lists, as texts of them show.

    It is ``|``; where no text has one, ``;``, else a comma, else a blank. Those before it are there
    too: where commas separate values, no value has a ``|`` either. A list in JSON shows nothing.
    """
    texts = [text for text in map(str.strip, texts) if _in_json(text) is None]
    for place, separator in enumerate(_ANY_SEPARATOR, 1):
        if any(separator in text for text in texts):
            return _ANY_SEPARATOR[:place]
    return SEPARATORS


def read_column(texts: Sequence[str], kind: Kind, separators: str = SEPARATORS) -> Column:
    """Read texts [n] as values of a kind; an empty one, or one of blanks, is absent.

    Any of ``separators`` separates the values of a list. A list may be JSON too.

    Raises
    ------
    WrongValue
        A text is not of this kind.
    """
    texts = [text.strip() for text in texts]
    match kind:
        case "text":
            return text_column([text or None for text in texts])
        case "number":
            numbers = _read(texts, _number, math.nan, kind)
            return NumberColumn(np.array(numbers, np.float64))
        case "boolean":
            truths = _read(texts, lambda text: _TRUTHS[text.lower()], NO_CODE, kind)
            return BooleanColumn(np.array(truths, np.int8))
        case "date":
            return DateColumn(np.array(_read(texts, seconds_of, NO_DATE, kind), np.int64))
        case "list":
            none: list[str] = []
            lists = _read(texts, lambda text: _values(text, separators), none, kind)
            return list_column(lists, separators)


def seconds_of(text: str) -> int:
    """Unix seconds of an ISO 8601 date, or date and time, in UTC unless it names another zone.

    Raises
    ------
    ValueError
        It is none, or none that exists.
    """
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    # Python 3.10 reads neither "Z" nor a fraction of any length.
    moment = datetime.fromisoformat(_FRACTION.sub("", text).replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return math.floor(moment.timestamp())


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or "_" in text:
        raise ValueError(text)
    return number


def _values(text: str, separators: str) -> list[str]:
    found = _in_json(text)
    if found is not None:
        # JSON can name half of a character, such as "\ud83d", which no file can hold.
        "".join(found).encode()
        return found
    parts = re.split(f"[{re.escape(separators)}]", text)
    return [value for each in parts if (value := each.strip())]


def _in_json(text: str) -> list[str] | None:
    """The values of a list in JSON, None where the text is none."""
    if text.startswith("["):
        with suppress(ValueError):
            return _json_list(text)
    return None


def _json_list(text: str) -> list[str]:
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError(text) from None
    if not isinstance(values, list) or not all(isinstance(each, str | int) for each in values):
        raise ValueError(text)
    return [value for each in values if (value := str(each).strip())]


def _all(texts: Sequence[str], read: Callable[[str], object]) -> bool:
    try:
        for text in texts:
            read(text)
    except ValueError:
        return False
    return True


def _read(
    texts: Sequence[str], read: Callable[[str], _Value], absent: _Value, kind: Kind
) -> list[_Value]:
    found: list[_Value] = []
    try:
        for text in texts:
            found.append(read(text) if text else absent)  # noqa: PERF401 - its length tells where
    except (ValueError, KeyError) as error:
        why = ": it has half of a character" if isinstance(error, UnicodeEncodeError) else ""
        raise WrongValue(len(found), texts[len(found)], kind, why) from None
    return found
