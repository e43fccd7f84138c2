"""Tells from names and first values what the columns of a log and of an item file are.

Names are compared without case and punctuation: ``userId`` and ``User-ID`` are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from builder.data.config import Columns
from builder.data.dates import days, joined
from builder.data.event_lists import list_of
from builder.data.json_files import plain_text
from builder.data.layouts.peek import Peek, is_counter, is_time
from builder.data.object_ids import ObjectColumn, objects_in
from builder.data.ratings import numbers_of
from builder.data.rows import TEXT, is_missing, is_number

_USERS: Final = (
    *("userid", "user", "uid", "customerid", "customer", "clientid", "visitorid", "visitor"),
    *("accountid", "memberid", "profileid", "reviewerid", "readerid", "viewerid", "listenerid"),
    *("buyerid", "personid", "profilename", "username", "userhash", "usersha1", "usermd5"),
    *("msno", "householdid", "householdkey", "userpseudoid", "sessionid", "session"),
)
_ITEMS: Final = (
    *("itemid", "item", "iid", "productid", "product", "sku", "articleid", "parentasin", "asin"),
    *("movieid", "filmid", "bookid", "isbn", "newsid", "videoid", "songid", "trackid", "artistid"),
    *("albumid", "animeid", "gameid", "appid", "businessid", "venueid", "placeid", "locationid"),
    *("poiid", "gmapid", "recipeid", "courseid", "jobid", "contentid", "showid", "offerid"),
    *("stockcode", "workid", "docid", "documentid", "postid", "eventid", "adid", "goodsid"),
    *("aid", "adgroupid", "campaign", "campaignid", "restid", "restaurantid", "hotelid"),
    *("beerid", "beerbeerid", "bookmarkid", "targetid"),
)
USER_KEYS: Final = (*_USERS, "id")
ITEM_KEYS: Final = (*_ITEMS, "id")
"""Of ids in objects."""
_SURE: Final = 6
"""Names of `_ITEMS` that mean an item and nothing else."""
# Of logs whose items have a name and no id.
_ITEM_NAMES: Final = ("trackname", "hotelname", "gamename", "gametitle", "productname", "itemname")
# Of lists of items: names, or how they end.
_ITEM_LISTS: Final = (
    *("itemidlist", "itemids", "items", "itemlist", "itemsequence", "sequence", "history"),
    *("products", "productids", "articles", "articleids", "movieids", "newsids"),
)
_TIMES: Final = (
    *("timestamp", "ts", "unixreviewtime", "time", "datetime", "eventtime", "eventtimestamp"),
    *("timems", "timestampms", "datetimems", "ratingtime", "utctimestamp", "starttime"),
    *("createdat", "createdtime", "date", "eventdate", "reviewtime", "reviewdate", "tdat"),
    *("dateadded", "dateupdated", "datecreated", "addedat", "listenedat", "modified"),
    *("visittime", "viewedat", "watchedat", "boughtat", "purchasedate", "purchasedat"),
    *("orderdate", "invoicedate", "checkintime", "utctime", "occurredat", "localtime"),
)
# Of times of day beside a date.
_CLOCKS: Final = (*_TIMES, "timeofday", "clock", "hour", "uhrzeit", "zeit", "heure", "hora", "ora")
_RATINGS: Final = (
    *("rating", "ratings", "stars", "overall", "score", "bookrating", "userrating", "label"),
    *("clicked", "isclick", "clk", "click", "isrecommended", "liked", "islike", "weight", "target"),
)
_ACTIONS: Final = (
    *("action", "event", "eventtype", "behavior", "behaviour", "behaviortype", "interaction"),
    *("interactiontype", "eventname", "actiontype", "type"),
)
_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "user": _USERS,
    "item": _ITEMS,
    "time": _TIMES,
    "rating": _RATINGS,
    "action": _ACTIONS,
}
TITLES: Final = frozenset(
    (
        *("title", "name", "appname", "productname", "prodname", "movietitle", "booktitle"),
        *("itemname", "headline", "description", "artistname", "trackname", "producttitle"),
    )
)
_NOBODY_SAYS: Final = Columns()
_SEPARATED: Final = re.compile(r"[\s,;|]+")
_OWNERS: Final = ("review", "click")
_MOST_MISSING: Final = 0.5
"""Share of the rows that may lack the user, the time, or a rating that is one, of an event."""
_FEWEST_IDS: Final = 0.8
"""Different ids in an item file, as a share of its rows."""
_DATE_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")
_NEEDED_PARTS: Final = 3
_CLOCK: Final = re.compile(
    r"\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)
_DAY_DIGITS: Final = 8
_DATE_AND_CLOCK: Final = 2
_MOST_RATINGS: Final = 20  # different values
_BEST_RATING: Final = 100
_USUAL_BEST: Final = 10
_ACTION_WORDS: Final = frozenset(
    (
        *("view", "click", "clicks", "pv", "cart", "carts", "addtocart", "add_to_cart", "fav"),
        *("buy", "order", "orders", "purchase", "transaction", "play", "like", "share"),
    )
)
_RECENT: Final = 7.8e8  # 1994 in Unix seconds; logs are no older
_USER_FILES: Final = re.compile(
    r"(?i)(^|[_.-])(users|profiles?|members?|persons?|customers?|trusts?)([_.-]|$)"
)
_ANY_ID: Final = re.compile(r"(?<=[a-z])(?:_?id|ID|Id|-id)$")


def plain(name: str) -> str:
    """A name without case and punctuation."""
    return "".join(filter(str.isalnum, name)).lower()


def _forms(name: str) -> list[str]:
    """A name, and what it is without what it belongs to: ``review/userId``, ``click_timestamp``."""
    whole, last = plain(name), plain(re.split(r"[/.]", name)[-1])
    return [whole, last, *(last.removeprefix(of) for of in _OWNERS if last.startswith(of))]


def complete(columns: Columns, usual: Columns, log: Peek, items: Peek | None) -> Columns:
    """Name the column of each role that has none: by its usual name, else by what names mean.

    A role whose column is not found keeps its usual name.
    """
    found: dict[str, str | None] = {}
    of_items = () if items is None else items.columns
    for role, names in _NAMES.items():
        given, known = getattr(columns, role), getattr(usual, role)
        if role == "item" and given is None and (listed := _list_of(known, log)) is not None:
            given = listed
        if given is None and not _has_role(role, known, log):
            taken = {name for name in (*vars(columns).values(), *found.values()) if name}
            given = _find(role, names, [n for n in log.columns if n not in taken], log, of_items)
            given = given or _of_each_event(role, names, of_events(log, found.get("item")))
        found[role] = given or known
        if role == "time" and columns.time is None:
            found[role] = _with_clock(found[role], log)
    key = columns.item_key or usual.item_key
    if key is None and items is not None and found["item"] not in items.columns:
        key = item_key(items, found["item"])
    return replace(columns, **found, item_key=key)


def of_events(log: Peek, item: str | None) -> dict[str, list[str]]:
    """Columns of which each event of a row has a value of its own, and their first values.

    These are the keys of the objects in the column of items, as in ``items.name``, or lists of
    times beside a list of items.
    """
    values = log.columns.get(item or "", [])
    objects = ObjectColumn.of(values)
    if objects is not None and objects.many:
        each = [found for value in values for found in objects_in(value) or ()]
        return {f"{item}.{key}": [plain_text(one.get(key)) for one in each]
                for key in objects.others}  # fmt: skip
    if item not in log.columns or objects is not None or not are_lists(item or "", log):
        return {}
    first = {name: ["".join(list_of(text)[:1]) for text in texts]
             for name, texts in log.columns.items() if name != item}  # fmt: skip
    return {name: texts for name, texts in first.items() if is_time(texts)}


def _of_each_event(role: str, names: Sequence[str], own: Mapping[str, list[str]]) -> str | None:
    """The column of a role among those of `of_events`, with its name or that of a list."""
    if role not in ("time", "action"):
        return None
    fits = is_time if role == "time" else _are_actions
    fitting = [name for name, values in own.items() if any(values) and fits(values)]
    forms = {form: name for name in reversed(fitting) for form in _forms(name)}
    listed = [f"{name}{ending}" for name in names for ending in ("s", "list")]
    return next((forms[name] for name in (*names, *listed) if name in forms), None)


def _has_role(role: str, name: str | None, log: Peek) -> bool:
    """Whether a column is there, and its values are what the role needs."""
    values = log.columns.get(name or "")
    if values is None or role not in ("user", "rating"):
        return values is not None
    return _are_present(values) if role == "user" else _are_numbers(values)


def is_log(peek: Peek, given: Columns = _NOBODY_SAYS) -> int:
    """How many columns with a role there are, named or found; 0 without user and item."""
    columns = complete(given, Columns(), peek, None)
    if columns.user not in peek.columns or columns.item not in peek.columns:
        return 0
    return sum(_is_there(getattr(columns, role), peek) for role in _NAMES)


def _is_there(name: str | None, peek: Peek) -> bool:
    """Whether there is such a column, or a date and a time of day, which a comma joins.

    Parts of a date do not count: where a copy of the log has whole times, it is meant.
    """
    parts = (name or "").split(",")
    pair = len(parts) == _DATE_AND_CLOCK and {*parts} <= peek.columns.keys()
    return name in peek.columns or pair


def roles_of(peek: Peek) -> tuple[int, int]:
    """How many columns with a role are found by their names, and how many columns there are."""
    columns = complete(Columns(), Columns(), peek, None)
    found = sum(_is_there(getattr(columns, role), peek) for role in _NAMES)
    return found, len(peek.columns)


def item_of(log: Peek) -> str | None:
    """The column with the items of a log; None where no name tells it."""
    return complete(Columns(), Columns(), log, None).item


def item_key(items: Peek, item: str | None) -> str | None:
    """The column with the ids of an item file; a few may be given twice, which is reported."""
    wanted = {plain(item or "")} | {plain(item or "").removesuffix("id")} - {""}
    found = [
        name
        for names in (wanted, _ITEMS, ("id",))
        for name in items.columns
        if plain(name) in names and _nearly_differ(items.columns[name])
    ]
    once = (name for name in found if _differ(items.columns[name]))
    return next(once, next(iter(found), None))


def _find(
    role: str, names: Sequence[str], among: list[str], log: Peek, of_items: Iterable[str]
) -> str | None:
    plain_names = {form: name for name in reversed(among) for form in reversed(_forms(name))}
    plain_names |= {plain(name): name for name in reversed(among)}
    fitting = [plain_names[name] for name in names if name in plain_names]
    if role == "item":
        shared = [name for name in fitting if name in of_items]
        others = [name for name in among if name in of_items and _ANY_ID.search(name)]
        lists = [plain_names[name] for name in _ITEM_LISTS if name in plain_names]
        lists = [name for name in lists if are_lists(name, log)]
        objects = [name for name in among if _are_items(name, log)]
        sure = any(name in plain_names for name in _ITEMS[:_SURE])
        by_name = [plain_names[name] for name in _ITEM_NAMES if name in plain_names]
        fitting = [*shared, *fitting, *objects, *others, *lists, *by_name]
        fitting = fitting if sure else [*objects, *fitting]
        fitting = [_list_of(name, log) or name for name in fitting]
    elif role == "user":
        fitting = [name for name in fitting if _are_present(log.columns[name])]
    elif role == "time":
        fitting = [name for name in fitting if _are_present(log.columns[name])]
        counters = [name for name in fitting if is_counter(log.columns[name])]
        fitting = [name for name in fitting if is_time(log.columns[name])] or counters
        fitting += [parts for parts in [_date_parts(among)] if parts]
    elif role == "rating":
        fitting = [name for name in fitting if _are_numbers(log.columns[name])]
    return next(iter(fitting), None)


def _date_parts(names: Sequence[str]) -> str | None:
    """Columns of year, month and day, and finer ones, joined by commas."""
    found = []
    for part in _DATE_PARTS:
        name = next((name for name in names if plain(name).endswith(part)), None)
        if name is None:
            break
        found.append(name)
    return ",".join(found) if len(found) >= _NEEDED_PARTS else None


def _with_clock(date: str | None, log: Peek) -> str | None:
    """A column of dates, with that of the times of day, joined by a comma, where there is one."""
    dates = log.columns.get(date or "", [])
    written = [each for each in days(pa.array(dates, TEXT)).to_pylist() if not is_missing(each)]
    if date is None or not written or not all(map(_is_day, written)):
        return date
    clocks = [name for name, values in log.columns.items() if _are_clocks(values)]
    like = [name for name in clocks if plain(name) == plain(date).replace("date", "time")]
    usual = [name for name in clocks if plain(name) in _CLOCKS]
    for clock in (*like, *usual):
        both = zip(*(map(str.strip, log.columns[name]) for name in (date, clock)), strict=True)
        rows = [row for row in both if not any(map(is_missing, row))]
        texts = joined([pa.array(part, TEXT) for part in zip(*rows, strict=True)]) if rows else []
        if rows and is_time([str(text) for text in texts]):
            return f"{date},{clock}"
    return date


def _is_day(text: str) -> bool:
    """Whether a time has no time of day."""
    return ":" not in text and (not is_number(text) or len(text) == _DAY_DIGITS)


def _are_clocks(values: Sequence[str]) -> bool:
    present = [value for value in values if not is_missing(value)]
    return bool(present) and _are_present(values) and all(map(_CLOCK.fullmatch, present))


def _differ(values: Sequence[str]) -> bool:
    return len(set(values)) == len(values)


def _nearly_differ(values: Sequence[str]) -> bool:
    return len(set(values)) >= _FEWEST_IDS * len(values)


def _list_of(item: str | None, log: Peek) -> str | None:
    """The column of the lists of which a column of items has the last ones."""
    name = f"{item}_list"
    return name if name in log.columns and are_lists(name, log) else None


def are_lists(name: str, log: Peek) -> bool:
    """Whether a column has lists of items: in brackets, or with spaces or commas between."""
    values = [value for value in log.columns.get(name, ()) if value]
    if name in log.lists or (values and all(v[0] + v[-1] == "[]" for v in values)):
        return True
    if not plain(name).endswith(_ITEM_LISTS):
        return False
    return any(len(_SEPARATED.split(value.strip())) > 1 for value in values)


def _are_items(name: str, log: Peek) -> bool:
    """Whether a column has lists of objects with ids of items, as orders do."""
    listed = plain(name).endswith(_ITEM_LISTS)
    objects = ObjectColumn.of(log.columns[name])
    if objects is None or not (listed or objects.many):
        return False
    return key_among(objects.keys, ITEM_KEYS if listed else _ITEMS) is not None


def key_among(keys: Sequence[str], names: Sequence[str]) -> str | None:
    """The key of the first of these names that any has."""
    found = {plain(key): key for key in reversed(keys)}
    return next((found[name] for name in names if name in found), None)


def _are_present(values: Sequence[str]) -> bool:
    return sum(map(is_missing, values)) <= _MOST_MISSING * len(values)


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether most values are numbers; the others are reported where they are read."""
    present = [value for value in values if not is_missing(value)]
    read = np.isfinite(numbers_of(pa.array(present, TEXT)))
    return int(np.count_nonzero(~read)) <= _MOST_MISSING * len(present)


def guess_names(peek: Peek, others: Sequence[Peek]) -> list[str]:
    """Names for the columns of a log without a header: roles where the values tell them.

    Items are in ``others``, if any of these is an item file. Of two columns of ids, the first has
    the users.
    """
    rows = {name: values for name, values in peek.columns.items() if {*values} - {"", "0"}}
    names = {name: name for name in peek.columns}
    time = next((name for name, values in rows.items() if _is_recent(values)), None)
    action = next((name for name, values in rows.items() if _are_actions(values)), None)
    ids = [name for name, values in rows.items()
           if name not in (time, action) and _may_be_ids(values)]  # fmt: skip
    scales = [name for name in ids[2:] if _is_scale(rows[name])]
    rating = min(
        scales,
        key=lambda name: (_most(rows[name]) > _USUAL_BEST, len(set(rows[name])) < 2),
        default=None,
    )
    ids = [
        name
        for name in ids
        if name != rating and not any("." in each and is_number(each) for each in rows[name])
    ]
    if len(ids) == 1:  # items have a name, and no id
        ids += [name for name, values in rows.items()
                if name not in (*ids, time, action, rating) and _repeat(values)][:1]  # fmt: skip
    known = {value for each in others if not is_of_users(each)
             for values in each.columns.values() for value in values}  # fmt: skip
    as_items = sorted(ids[:2], key=lambda name: len(known.intersection(rows[name])))
    names |= dict(zip(as_items, ("user", "item"), strict=False))
    found = {time: "time", rating: "rating", action: "action"}
    return [found.get(name, role) for name, role in names.items()]


def is_of_users(peek: Peek) -> bool:
    """Whether a file tells about users, by its name."""
    return _USER_FILES.search(peek.path.name) is not None


def may_be_items(peek: Peek) -> bool:
    """Whether a file without a header has ids, each once, and texts."""
    ids = next((name for name, values in peek.columns.items() if _differ(values)), None)
    return (
        ids is not None
        and not is_of_users(peek)
        and not is_time(peek.columns[ids])
        and any(
            any(" " in value.strip() for value in values)
            for name, values in peek.columns.items()
            if name != ids and not is_time(values)
        )
    )


def _is_recent(values: Sequence[str]) -> bool:
    """Whether these are times, and not ids that are as long as Unix seconds of the seventies."""
    if not is_time(values):
        return False
    first = min(value for value in values if not is_missing(value))
    return not is_number(first) or float(first) >= _RECENT


def _are_actions(values: Sequence[str]) -> bool:
    return _ACTION_WORDS.issuperset(values)


def _repeat(values: Sequence[str]) -> bool:
    return not _differ(values) and not all(map(_is_exact, values))


def _most(values: Sequence[str]) -> float:
    return max(map(float, values), default=0)


def guess_item_names(peek: Peek) -> list[str]:
    """The same for an item file: the first column whose values differ has the ids."""
    rows = peek.columns
    names = {name: name for name in rows}
    key = next((name for name, values in rows.items() if _differ(values)), next(iter(rows)))
    names[key] = "item"
    lengths = {name: sum(map(len, rows[name])) for name in names if names[name] != "item"}
    if lengths:
        names[max(lengths, key=lengths.__getitem__)] = "title"
    return list(names.values())


def _is_scale(values: Sequence[str]) -> bool:
    few = set(values)
    return len(few) <= _MOST_RATINGS and all(
        is_number(value) and float(value) <= _BEST_RATING for value in few
    )


def _may_be_ids(values: Sequence[str]) -> bool:
    """Whether these are words or whole numbers, or ratings; no place on earth, no prose."""
    return not any(len(value.split()) > 1 or _is_exact(value) for value in values)


def _is_exact(value: str) -> bool:
    return is_number(value.removeprefix("-")) and len(value.partition(".")[2]) > 1
