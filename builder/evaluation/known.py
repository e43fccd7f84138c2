"""What a row of figures knew of other users when it was asked about one."""

from __future__ import annotations

from typing import Final, Literal

from builder.evaluation.decayed_popularity import DECAYED, JOINED

EvaluationProtocol = Literal["leave-one-out", "temporal", "temporal replay"]

ALL_EVENTS: Final = ", all events"
"""Ends the name of a baseline that takes context for targets."""

_LEARNT: Final[dict[EvaluationProtocol, str]] = {
    "leave-one-out": "training events of any time, later ones too",
    "temporal": "events before the test window",
    "temporal replay": "events before the test window",
}
_COUNTED: Final[dict[EvaluationProtocol, str]] = {
    "leave-one-out": "training events before the target",
    "temporal": "events before the test window",
    "temporal replay": "every event before the target",
}


def known_of_others(name: str, protocol: EvaluationProtocol, *, counts: bool = False) -> str:
    """What the baseline or part of a model of this name knew of other users' events.

    ``counts`` says that it is a part of a model that counts them until the target too.
    """
    learnt, counted = _LEARNT[protocol], _COUNTED[protocol]
    plain = name.removesuffix(ALL_EVENTS)
    if plain == DECAYED:
        return counted
    if (counts or plain == JOINED) and learnt != counted:
        return f"{learnt}; counts: {counted}"
    return learnt
