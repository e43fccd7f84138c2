"""Checks what the caller passed and turns it into the columns that travel.

Everything here raises :class:`InvalidInput` with the argument, the position and the value, before
anything is sent.
"""

from __future__ import annotations

import json
import math
import operator
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from numbers import Real
from typing import Any, Final

from client._bytes import encode_ids, encode_strings
from client._encoding import Parameter
from client.errors import InvalidInput
from client.items import Event, Item, Profile
from model_repository.core.contract import LIKE, LIKE_TEXT, OptionSpec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND: Final = timedelta(seconds=1)
_INT64: Final = 2**63
_MOST: Final = 2**31 - 1  # indices are INT32, so no catalogue is larger

_METADATA_KEY: Final = re.compile(r"[a-z0-9_.-]+")
_METADATA_VALUE: Final = re.compile(r"[ -~]*").fullmatch

# gRPC adds the timeout to its clock in integers; 1e12 s overflows and fails the call at once.
_MAX_TIMEOUT: Final = 1e9


@dataclass(slots=True, eq=False)
class ItemColumns:
    """Items, column by column; ``texts`` is None when none of them has a text, "" stands in.

    ``framed`` is ``ids`` as they travel.
    """

    ids: Sequence[str]
    framed: bytes
    texts: Sequence[str] | None = None

    def part(self, start: int, stop: int) -> ItemColumns:
        ids = self.ids[start:stop]
        return ItemColumns(
            ids, encode_ids(ids), None if self.texts is None else self.texts[start:stop]
        )


NO_ITEMS: Final = ItemColumns((), b"")


@dataclass(slots=True, eq=False)
class HistoryColumns:
    """Events, oldest first; a column is None when no event has a value for it."""

    items: ItemColumns
    actions: list[str] | None = None
    times: list[int] | None = None


@dataclass(slots=True, eq=False)
class EventColumns:
    """Events as they happen; a time of 0 is the server's, ``actions`` is None if none has one."""

    items: Sequence[str]
    times: Sequence[int]
    actions: Sequence[str] | None
    ids: Sequence[str]

    def part(self, start: int, stop: int) -> EventColumns:
        columns = self.items, self.times, self.actions, self.ids
        return EventColumns(*(each and each[start:stop] for each in columns))  # type: ignore[arg-type]


def read_items(items: Iterable[str | Item], field: str) -> ItemColumns:
    """Check the items of argument ``field``."""
    entries = _entries(items, field, "['50', Item('51', 'a text')]")
    try:
        return ItemColumns(entries, encode_ids(entries))  # all of them plain ids: the usual case
    except (TypeError, ValueError):
        pass  # some are something else, or wrong
    pairs = [_item(entry, f"{field}[{position}]") for position, entry in enumerate(entries)]
    return _item_columns(pairs, field)


def read_anchor(item: str | Item) -> dict[str, Parameter]:
    """Check the item that others are to be like, and say it in the options of a request."""
    pair = _item(item, "item")
    columns = _item_columns([pair], "item")
    found: dict[str, Parameter] = {LIKE.name: pair[0]}
    if columns.texts:
        frame_strings(columns.texts, "item.text")
        found[LIKE_TEXT.name] = pair[1]
    return found


def read_history(history: Iterable[str | Item | Event]) -> HistoryColumns:
    """Check a history."""
    if isinstance(history, (set, frozenset)):
        raise InvalidInput.at(
            "history", history, "a set has no order; pass a list, the oldest event first"
        )
    entries = _entries(history, "history", "['50', Event('51', action='buy')]")
    try:
        return HistoryColumns(ItemColumns(entries, encode_ids(entries)))
    except (TypeError, ValueError):
        pass

    pairs: list[tuple[str, str]] = []
    actions: list[str] = []
    times: list[int | None] = []
    for position, entry in enumerate(entries):
        field = f"history[{position}]"
        if isinstance(entry, Event):
            pairs.append(_item(entry.item, f"{field}.item"))
            actions.append(_optional_text(entry.action, f"{field}.action"))
            times.append(_unix_seconds(entry.time, f"{field}.time"))
        else:
            pairs.append(_item(entry, field, "a str, an Item or an Event"))
            actions.append("")
            times.append(None)
    return HistoryColumns(
        _item_columns(pairs, "history"),
        actions if any(actions) else None,
        _all_or_no_times(times),
    )


def read_events(events: Iterable[str | Item | Event]) -> EventColumns:
    """Check events as they happen; those without an id get one that nobody else has."""
    entries = _entries(events, "events", "['50', Event('51', action='buy')]")
    prefix = secrets.token_hex(8)
    pairs: list[tuple[str, str]] = []
    actions: list[str] = []
    times: list[int] = []
    ids: list[str] = []
    for position, entry in enumerate(entries):
        field = f"events[{position}]"
        event = entry if isinstance(entry, Event) else Event(entry)
        pairs.append(_item(event.item, field, "a str, an Item or an Event"))
        actions.append(_optional_text(event.action, f"{field}.action"))
        times.append(_unix_seconds(event.time, f"{field}.time") or 0)
        ids.append(_optional_text(event.id, f"{field}.id") or f"{prefix}-{position:x}")
    return EventColumns(
        _item_columns(pairs, "events").ids, times, actions if any(actions) else None, ids
    )


def read_profile(profile: Profile | None) -> str | None:
    """Check a profile and write it as JSON; None where nothing is known."""
    if profile is None:
        return None
    if not isinstance(profile, Mapping):
        raise InvalidInput.at("profile", profile, "pass a mapping, such as {'age': 24}")
    if not profile:
        return None
    written: dict[str, str | int | float] = {}
    for name, value in profile.items():
        field = f"profile[{name!r}]"
        if not isinstance(name, str):
            raise InvalidInput.at("profile", name, "the name of a column is a str")
        if isinstance(value, str):
            written[name] = value
        elif isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidInput.at(field, value, "pass a str, an int or a float")
        else:
            # numpy's too, which JSON does not take as they are
            whole = _integer(value)
            written[name] = _finite(value, field) if whole is None else whole
    text = json.dumps(written, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput.at(
            "profile", profile, "it holds half of a surrogate pair; was it decoded wrongly?"
        ) from error
    return text


def read_texts(texts: Iterable[str], field: str = "texts") -> list[str]:
    """Check the texts of argument ``field``; at least one, since Triton refuses zero rows."""
    entries = _entries(texts, field, "['a text']")
    if not entries:
        raise InvalidInput.at(field, entries, "pass at least one text")
    for position, text in enumerate(entries):
        if not isinstance(text, str):
            raise InvalidInput.at(f"{field}[{position}]", text, "a text is a str")
    return entries


def read_pairs(pairs: Iterable[str] | None, texts: Sequence[str]) -> list[str] | None:
    """Check the second texts of a ``classify`` call: none at all, or one for each text."""
    if pairs is None:
        return None
    entries = read_texts(pairs, "pairs")
    if len(entries) != len(texts):
        raise InvalidInput.at(
            "pairs", entries, f"pass one for each of the {len(texts)} texts, '' for none"
        )
    return entries


def read_options(
    declared: Sequence[OptionSpec], given: Mapping[str, object]
) -> dict[str, Parameter]:
    """Check the request options that were given against their declarations.

    Those left out are not sent: the server has its own default, and one that was exported before an
    option was declared refuses it.

    Raises
    ------
    TypeError
        One that is not declared, as Python says it of a keyword.
    InvalidInput
        A value of another type, or out of range.
    """
    if undeclared := given.keys() - {option.name for option in declared}:
        raise TypeError(f"got an unexpected keyword argument {min(undeclared)!r}")
    return {
        option.name: _option(option, given[option.name])
        for option in declared
        if option.name in given
    }


def _option(option: OptionSpec, value: object) -> Parameter:
    least = -_MOST if option.minimum is None else option.minimum
    most = _MOST if option.maximum is None else option.maximum
    match option.default:
        case bool():  # before int, which it is a kind of
            if isinstance(value, bool):
                return value
            expected = "True or False"
        case int():
            number = _integer(value)
            if number is not None and (least <= number <= most or number == option.default):
                return number
            expected = "a positive int" if least == 1 else f"an int of at least {least}"
            if option.maximum is not None:
                expected = f"an int from {least} to {most}"
        case float():
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            real: Any = value if is_number else math.nan  # of which each comparison is false
            if least <= real <= most or real == option.default:
                return float(real)
            expected = f"a number from {least:g} to {most:g}"
        case str():
            if isinstance(value, str) and (not option.choices or value in option.choices):
                check_text(value, option.name)
                return value
            expected = " or ".join(map(repr, option.choices)) or "a str"
    raise InvalidInput.at(option.name, value, f"pass {expected}, {option.meaning}")


def read_flag(flag: bool, field: str) -> bool:  # noqa: FBT001 - it is the value to check
    if not isinstance(flag, bool):
        raise InvalidInput.at(field, flag, "pass True or False")
    return flag


def read_timeout(timeout: float | None) -> float | None:
    """Check a timeout; zero or less is allowed, it is what is left of a deadline that passed."""
    if timeout is None:
        return None
    # The comparison is false for NaN.
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, Real)
        or not -_MAX_TIMEOUT <= timeout <= _MAX_TIMEOUT
    ):
        raise InvalidInput.at("timeout", timeout, "pass seconds, or None for no deadline")
    return float(timeout)


def frame_strings(values: Sequence[str], field: str) -> bytes:
    """Frame as UTF-8; half a surrogate pair, which UTF-8 cannot carry, is refused."""
    try:
        return encode_strings(values)
    except UnicodeEncodeError as error:
        position = next(i for i, value in enumerate(values) if value == error.object)
        raise _not_utf_8(values[position], f"{field}[{position}]", error) from error


def check_text(text: str, field: str) -> None:
    """Refuse what UTF-8 cannot carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_utf_8(text, field, error) from error


def _not_utf_8(text: str, field: str, error: UnicodeEncodeError) -> InvalidInput:
    return InvalidInput.at(
        field,
        text,
        f"character {error.start} is half of a surrogate pair; was it decoded wrongly?",
    )


def check_kinds(**policies: tuple[object, tuple[type, ...]]) -> None:
    """Refuse a policy that is none of its classes."""
    for field, (value, kinds) in policies.items():
        if not isinstance(value, kinds):
            raise InvalidInput.at(field, value, f"pass a client.{kinds[0].__name__}")


def check_hooks(on_response: object, observers: Iterable[object]) -> None:
    if on_response is not None and not callable(on_response):
        raise InvalidInput.at("on_response", on_response, "pass a function of a ResponseInfo")
    for observer in observers:
        if not callable(getattr(observer, "start", None)):
            raise InvalidInput.at("observers", observer, "pass objects with a method start")


def read_count(count: int, field: str) -> int:
    number = _integer(count)
    if number is None or number < 1:
        raise InvalidInput.at(field, count, "pass a positive int")
    return number


def read_models(models: Iterable[str], field: str = "models") -> list[str]:
    entries = _entries(models, field, "['rank']")
    names = _no_empty_id(read_texts(entries, field) if entries else [], field)
    for position, name in enumerate(names):
        check_text(name, f"{field}[{position}]")
    return names


def read_request_id(request_id: str | None) -> str | None:
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput.at("request_id", request_id, "pass a str, or None for one made up here")
    check_text(request_id or "", "request_id")
    return request_id or None


def read_metadata(metadata: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Check what is sent beside a request; no message shows a value, it may be a secret."""
    if metadata is None:
        return ()
    if not isinstance(metadata, Mapping):
        raise InvalidInput("metadata: pass a mapping of names to values", field="metadata")
    for key, value in metadata.items():
        if not isinstance(key, str) or not _METADATA_KEY.fullmatch(key) or key.startswith("grpc-"):
            raise InvalidInput.at(
                "metadata", key, "a name is of a-z, 0-9, '-', '_' and '.', and not gRPC's own"
            )
        if key.endswith("-bin") or not (isinstance(value, str) and _METADATA_VALUE(value)):
            raise InvalidInput(
                f"metadata[{key!r}]: pass a str of printable ASCII", field=f"metadata[{key!r}]"
            )
    return tuple(metadata.items())


# Any, since this is where what the caller really passed is found out.
def _entries(given: Iterable[Any], field: str, example: str) -> list[Any]:
    if isinstance(given, (str, bytes)):
        raise InvalidInput.at(
            field, given, f"a {type(given).__name__} is one value; pass a list, such as {example}"
        )
    try:
        return list(given)
    except TypeError as error:
        raise InvalidInput.at(field, given, f"pass a list, such as {example}") from error


def _item(entry: object, field: str, expected: str = "a str or an Item") -> tuple[str, str]:
    if isinstance(entry, Item):
        if not isinstance(entry.id, str):
            raise InvalidInput.at(f"{field}.id", entry.id, "an item id is a str")
        return entry.id, _optional_text(entry.text, f"{field}.text")
    if isinstance(entry, str):
        return entry, ""
    raise InvalidInput.at(field, entry, f"pass {expected}; an item id is always a str")


def _item_columns(pairs: Sequence[tuple[str, str]], field: str) -> ItemColumns:
    ids = [item_id for item_id, _ in pairs]
    texts = [text for _, text in pairs]
    framed = frame_strings(_no_empty_id(ids, field), field)
    return ItemColumns(ids, framed, texts if any(texts) else None)


def _no_empty_id(ids: list[str], field: str) -> list[str]:
    if "" in ids:
        raise InvalidInput.at(f"{field}[{ids.index('')}]", "", "an item id is not empty")
    return ids


def _optional_text(text: object, field: str) -> str:
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvalidInput.at(field, text, "pass a str or None")
    return text


def _integer(number: object) -> int | None:
    """Return any kind of integer (numpy's too) as an int, but neither a bool nor a float."""
    if isinstance(number, bool):
        return None
    try:
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        return None


def _finite(number: Real, field: str) -> float:
    found = float(number)
    if not math.isfinite(found):
        raise InvalidInput.at(field, number, "leave out what is not known")
    return found


def _unix_seconds(time: object, field: str) -> int | None:
    if time is None:
        return None
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise InvalidInput.at(
                field, time, "a datetime without a time zone; pass one with tzinfo, or Unix seconds"
            )
        return (time - _EPOCH) // _SECOND
    seconds = _integer(time)
    if seconds is None or not -_INT64 <= seconds < _INT64:
        raise InvalidInput.at(
            field, time, "pass whole Unix seconds, or a datetime with a time zone"
        )
    return seconds


def _all_or_no_times(times: Sequence[int | None]) -> list[int] | None:
    known = [time for time in times if time is not None]
    if known and len(known) < len(times):
        raise InvalidInput.at(
            f"history[{times.index(None)}].time",
            None,
            f"{len(known)} of {len(times)} events have a time; give one to all or to none",
        )
    return known or None
