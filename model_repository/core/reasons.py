"""Why an item is recommended: output REASON of a request that asks for it.

An event of the history speaks for an item by its *effect*: how much larger the item's logit is for
a user who did nothing but this, than for a new one. Two events that say the same both speak for an
item. If each were left out alone, the other would make up for it, and neither would be named.
docs/policy-reasons.md has the figures of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Indices
from .batch import Tensors
from .catalogue import Candidates, Catalogue
from .contract import REASON
from .items import NewItems
from .score_terms import NetworkTerm, Users
from .scoring import Scorer
from .users import History

NAMED: Final = 3
"""Events that are named for an item, at most."""
EVENTS: Final = 50
"""Events that are looked at, the latest ones: what a request may cost has a limit."""
_DIGITS: Final = 4
_LEAST_MOVE: Final = 1e-3
"""What is less is rounding."""


def reasons(
    scorer: Scorer,
    user: Users,
    chosen: Candidates,
    places: Indices,
    fresh: NewItems,
    rules: Sequence[Sequence[str]] = (),
) -> Tensors:
    """REASON [1, k] of the items that are recommended to one user.

    ``places`` INT32 [H] say where the events of the user's history are in HISTORY. ``fresh`` are
    the texts among them. ``rules`` [k] are those that moved each item; none for none of all.

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
    effects = event_effects(scorer, history, looked_at, chosen.index, fresh)
    best = [strongest(of_item).tolist() for of_item in effects.T]
    events = {
        row: _event(catalogue, history.slots[looked_at[row]], places[looked_at[row]])
        for row in {row for rows in best for row in rows}
    }
    cold = _cold_rows(catalogue, chosen.index)
    terms = _terms(scorer, user, chosen, cold >= 0)
    return _answer(
        [
            {
                "events": [
                    {**events[row], "effect": _rounded(effects[row, column])}
                    for row in best[column]
                ],
                "terms": {
                    name: _rounded(part[column]) for name, part in terms.items() if part[column]
                },
                **_neighbours(catalogue, row_of_cold),
                **({"rules": list(rules[column])} if rules and rules[column] else {}),
            }
            for column, row_of_cold in enumerate(cold.tolist())
        ]
    )


def no_reasons(number: int) -> Tensors:
    """REASON [1, k] of a list that is the same for all users."""
    return _answer([{"fallback": True}] * number)


def latest_of_each(history: History) -> Indices:
    """The events INT32 [E] that are looked at: of each item the latest, oldest first."""
    length = len(history.slots)
    _, from_end = np.unique(history.slots[::-1], return_index=True)
    return np.sort(length - 1 - from_end)[-EVENTS:].astype(np.int32)


def event_effects(
    scorer: Scorer, history: History, events: Indices, items: Indices, fresh: NewItems
) -> Floats:
    """The effect FP32 [E, m] of each of the ``events`` INT32 [E] on each of ``items`` INT32 [m].

    What does not depend on the history is the same for all, and so left out: the user's profile,
    and the time of the request.
    """
    alone = [only(history, [event]) for event in events.tolist()]
    # The last one is a new user.
    logits = scorer.logits_of(scorer.users([*alone, only(history, [])], fresh), items)
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
    scorer: Scorer, user: Users, chosen: Candidates, cold: NDArray[np.bool_]
) -> Mapping[str, Floats]:
    """The parts FP32 [k] of the logits by their names; those of ``cold`` BOOL [k] may be moved."""
    catalogue = scorer.catalogue
    terms = scorer.terms(user, 0, chosen.index)
    moved = np.where(cold, chosen.logit - sum(terms.values()), 0)
    if len(catalogue.text_part):
        text = catalogue.text_part[chosen.index] @ user.states[0]
        bias = catalogue.bias[chosen.index]
        residual = terms.pop(NetworkTerm.name) - text - bias
        terms = {"text": text, "residual": residual, "bias": bias, **terms}
    return {**terms, "moved": np.where(moved > _LEAST_MOVE, moved, 0)}


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


def _answer(found: list[dict[str, Any]]) -> Tensors:
    row: NDArray[Any] = np.empty((1, len(found)), np.object_)
    row[0, :] = [json.dumps(each, ensure_ascii=False).encode() for each in found]
    return {REASON.name: row}
