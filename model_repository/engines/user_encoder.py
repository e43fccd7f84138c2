"""The user encoder as one of these engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from ..core.arrays import Floats
from ..core.contract import EVENT, EVENT_ACTION, EVENT_AGE, EVENT_COUNT, STATE
from ..core.users import EventBatch
from .engine import Engine

_RUN_COST: Final = 25
"""A run in process costs 50 us beside its events, and an event 2."""


class EngineUserEncoder:
    """Asks an engine of this process; see `core.users.UserEncoder`.

    ``lengths`` are those that the engine takes, ascending; empty: any.
    """

    call_cost = _RUN_COST

    def __init__(self, engine: Engine, lengths: Sequence[int] = ()) -> None:
        self._engine = engine
        self.lengths = lengths

    def __call__(self, batches: Sequence[EventBatch]) -> list[Floats]:
        return [self._engine.run(event_tensors(batch))[STATE.name] for batch in batches]


def event_tensors(batch: EventBatch) -> dict[str, NDArray[Any]]:
    """The inputs of ``user_encoder``."""
    return {
        EVENT.name: batch.vectors,
        EVENT_ACTION.name: batch.actions,
        EVENT_AGE.name: batch.ages,
        EVENT_COUNT.name: batch.counts,
    }
