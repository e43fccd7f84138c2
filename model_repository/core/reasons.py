"""Why an item is recommended, or ranked so: output REASON of a request that asks for it.

An event of the history speaks for an item by its *effect*: how much larger the item's logit is for
a user who did nothing but this, than for a new one. Two events that say the same both speak for an
item. If each were left out alone, the other would make up for it, and neither would be named.
docs/policy-reasons.md has the figures of both.

Words of a text count by what is lost without each: see `word_effects`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices
from .batch import Tensors
from .catalogue import Catalogue
from .contract import REASON
from .errors import Overloaded, Unavailable
from .items import NO_NEW_ITEMS, NewItems
from .score_terms import NetworkTerm, Users
from .scoring import Scorer
from .users import History
from .word_effects import (
    MOST_TEXTS,
    WithoutWords,
    lost_of_events,
    lost_of_item,
    without_words,
)

NAMED: Final = 3
"""Events that are named for an item, and words of a text, at most."""
EVENTS: Final = 50
"""Events that are looked at, the latest ones: what a request may cost has a limit."""
Reason = dict[str, Any]
"""What REASON says of an item, as JSON."""
_DIGITS: Final = 4
_LEAST_MOVE: Final = 1e-3
"""What is less is rounding."""


@dataclass(frozen=True, slots=True)
class Explained:
    """The items of one user that reasons are asked for.

    Attributes
    ----------
    slots, logit
        INT32 and FP32 [k], the items, all different, and their logits.
    places
        INT32 [H], where the events of the user's history are in HISTORY.
    fresh
        The texts of the batch; row r is slot ``-(r + 1)``.
    texts
        Those of this request by their slots.
    rules
        [k], those that moved each item; none for none of all.
    """

    slots: Indices
    logit: Floats
    places: Indices
    fresh: NewItems = NO_NEW_ITEMS
    texts: Mapping[int, str] = field(default_factory=dict)
    rules: Sequence[Sequence[str]] = ()


def reasons(
    scorer: Scorer,
    user: Users,
    asked: Explained,
    encode: Callable[[Sequence[str]], Floats],
) -> list[Reason]:
    """The reason of each of k items for one user.

    ``encode`` makes vectors FP32 [R, h] of R texts. It is called once where a reason names a text
    of the request, and never where none does. Words are left out where it is overloaded or not
    available.

    Raises
    ------
    UserEncoderFailed
        The network over events does.
    Overloaded
        The model that runs it has too much to do.
    """
    (history,) = user.histories
    catalogue = scorer.catalogue
    looked_at = latest_of_each(history)
    effects = event_effects(scorer, history, looked_at, asked.slots, asked.fresh)
    best = [strongest(of_item).tolist() for of_item in effects.T]
    events = {
        row: _event(catalogue, history.slots[looked_at[row]], asked.places[looked_at[row]])
        for row in {row for rows in best for row in rows}
    }
    cold = _cold_rows(catalogue, asked.slots)
    terms = _terms(scorer, user, asked, cold >= 0)
    found: list[Reason] = [
        {
            "events": [
                {**events[row], "effect": _rounded(effects[row, column])} for row in best[column]
            ],
            "terms": {name: _rounded(part[column]) for name, part in terms.items() if part[column]},
            **_neighbours(catalogue, row_of_cold),
            **({"rules": list(asked.rules[column])} if asked.rules and asked.rules[column] else {}),
        }
        for column, row_of_cold in enumerate(cold.tolist())
    ]
    if asked.texts:
        _add_words(found, scorer, user, asked, [looked_at[rows].tolist() for rows in best], encode)
    return found


def _add_words(
    found: Sequence[Reason],
    scorer: Scorer,
    user: Users,
    asked: Explained,
    named: Sequence[Sequence[int]],
    encode: Callable[[Sequence[str]], Floats],
) -> None:
    """Add words to k reasons: of the texts among the items, and of those that are events.

    ``named`` [k] are the events of each reason.
    """
    (history,) = user.histories
    texts = _texts_named(asked, [history.slots[events].tolist() for events in named])
    try:
        without = without_words(
            scorer, {slot: asked.texts[slot] for slot in texts}, asked.fresh, encode
        )
    except (Overloaded, Unavailable):
        return  # the reasons are as good without
    events = sorted(
        {event for each in named for event in each if history.slots[event] in without.words}
    )
    by_event = lost_of_events(scorer, history, events, asked.slots, without)
    lost = dict(zip(events, by_event, strict=True))
    for column, (reason, slot) in enumerate(zip(found, asked.slots.tolist(), strict=True)):
        for told, event in zip(reason["events"], named[column], strict=True):
            if event in lost:
                told["words"] = _words(without, history.slots[event], lost[event][:, column])
        if slot in without.words:
            reason["words"] = _words(without, slot, lost_of_item(scorer, user, slot, without))


def _texts_named(asked: Explained, slots_of_events: Sequence[Sequence[int]]) -> list[int]:
    """Slots of the texts that reasons name, of the best items first, at most `MOST_TEXTS`."""
    slots = (
        slot
        for column in np.argsort(-asked.logit, kind="stable").tolist()
        for slot in (int(asked.slots[column]), *slots_of_events[column])
    )
    return [slot for slot in dict.fromkeys(slots) if slot in asked.texts][:MOST_TEXTS]


def _words(without: WithoutWords, slot: int, lost: Floats) -> list[dict[str, Any]]:
    """The words of a text by which most is ``lost`` FP32 [W], most first."""
    words = without.words[slot]
    told = [{"word": words[row].name, "effect": _rounded(lost[row])} for row in strongest(lost)]
    return [each for each in told if each["effect"]]


def no_reasons(number: int) -> list[Reason]:
    """The reasons of a list that is the same for all users."""
    return [{"fallback": True}] * number


def written(found: Sequence[Reason]) -> Tensors:
    """REASON [1, k]."""
    row: NDArray[Any] = np.empty((1, len(found)), np.object_)
    row[0, :] = [json.dumps(each, ensure_ascii=False).encode() for each in found]
    return {REASON.name: row}


def latest_of_each(history: History) -> Indices:
    """The events INT32 [E] that are looked at: of each item the latest, oldest first."""
    length = len(history.slots)
    _, from_end = np.unique(history.slots[::-1], return_index=True)
    return np.sort(length - 1 - from_end)[-EVENTS:].astype(np.int32)


def event_effects(
    scorer: Scorer, history: History, events: Indices, items: Indices, fresh: NewItems
) -> Floats:
    """The effect FP32 [E, m] of each of the ``events`` INT32 [E] on each of ``items`` INT32 [m].

    Both ``items`` and the events may be new ones; the items are all different.

    What does not depend on the history is the same for all, and so left out: the user's profile,
    and the time of the request.
    """
    alone = [only(history, [event]) for event in events.tolist()]
    # The last one is a new user.
    logits = scorer.logits_of(scorer.users([*alone, only(history, [])], fresh), items, fresh)
    effects: Floats = logits[:-1] - logits[-1]
    return effects


def only(history: History, events: list[int]) -> History:
    """A history of some of its events."""
    return History(history.slots[events], history.actions[events], history.ages[events])


def strongest(effects: Floats) -> Indices:
    """Where effects FP32 [E] are largest, at most `NAMED` of those above 0, largest first."""
    order = np.argsort(-effects, kind="stable")[:NAMED]
    found: Indices = order[effects[order] > 0].astype(np.int32)
    return found


def _event(catalogue: Catalogue, slot: int, place: int) -> dict[str, Any]:
    known = {"id": _id(catalogue, slot)} if slot >= 0 else {}
    return {"place": int(place), **known}


def _terms(
    scorer: Scorer, user: Users, asked: Explained, cold: NDArray[np.bool_]
) -> Mapping[str, Floats]:
    """The parts FP32 [k] of the logits by their names; those of ``cold`` BOOL [k] may be moved."""
    known = asked.slots >= 0
    if known.all():
        return _terms_of_known(scorer, user, asked.slots, asked.logit, cold)
    found: dict[str, Floats] = {}
    of_known = _terms_of_known(scorer, user, asked.slots[known], asked.logit[known], cold[known])
    of_new = _terms_of_new(scorer, user, asked.fresh.rows(-asked.slots[~known] - 1))
    for which, terms in ((known, of_known), (~known, of_new)):
        for name, part in terms.items():
            found.setdefault(name, np.zeros(len(known), np.float32))[which] = part
    return found


def _terms_of_known(
    scorer: Scorer, user: Users, items: Indices, logit: Floats, cold: NDArray[np.bool_]
) -> Mapping[str, Floats]:
    catalogue = scorer.catalogue
    terms = scorer.terms(user, 0, items)
    moved = np.where(cold, logit - sum(terms.values()), 0)
    if len(catalogue.text_part):
        text = catalogue.text_part[items] @ user.states[0]
        bias = catalogue.bias[items]
        residual = terms.pop(NetworkTerm.name) - text - bias
        terms = {"text": text, "residual": residual, "bias": bias, **terms}
    return {**terms, "moved": np.where(moved > _LEAST_MOVE, moved, 0)}


def _terms_of_new(scorer: Scorer, user: Users, fresh: NewItems) -> Mapping[str, Floats]:
    """Nothing but its text is known of a new item, and how popular those near it are."""
    terms = scorer.terms_of_new(user, 0, fresh)
    text = terms.pop(NetworkTerm.name) - fresh.bias
    return {"text": text, "bias": fresh.bias, **terms}


def _cold_rows(catalogue: Catalogue, items: Indices) -> Indices:
    """Which cold item each of ``items`` INT32 [k] is, -1 for none."""
    cold = catalogue.cold
    if not len(cold):
        return np.full(len(items), -1)
    row = np.minimum(np.searchsorted(cold, items), len(cold) - 1)
    return np.where(cold[row] == items, row, -1)


def _neighbours(catalogue: Catalogue, row: int) -> dict[str, list[str]]:
    """Ids of the items in whose place a cold one stands."""
    if row < 0 or not len(catalogue.cold_neighbours):
        return {}
    near = catalogue.cold_neighbours[row].tolist()
    return {"neighbours": [_id(catalogue, item) for item in near]}


def _id(catalogue: Catalogue, item: int) -> str:
    return catalogue.ids.strings[item].decode()


def _rounded(number: np.float32) -> float:
    return round(float(number), _DIGITS)
