"""How much one request may hold, as the server's own configuration says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from client import _contract as contract
from client._core import Context, Core, Job, Plan, perform
from client._protocol import config_message
from client.errors import ModelNotFound, PermissionDenied, Unauthenticated, Unsupported

_logger = logging.getLogger(__name__)

MAX_CANDIDATES: Final = "max_candidates"
"""Parameter of ``rank``'s configuration, where its engines take a limited number of candidates."""

FEW_CANDIDATES: Final = 1000
"""So many are never too many, and no reason to ask."""

# What a server says that lets nobody see its configuration, or has no such model.
_NOT_TOLD: Final = (ModelNotFound, PermissionDenied, Unauthenticated, Unsupported)


@dataclass(frozen=True, slots=True)
class Limits:
    """Most texts to encode and most candidates of one request; None for any number."""

    texts: int | None = None
    candidates: int | None = None


def limits_plan(core: Core, model: str, context: Context) -> Plan[Limits]:
    """Ask for the limits of requests to ``model``; none where they are kept secret."""
    ranks = model == contract.RANK.model.name
    try:
        # A ranking has no batch of texts. Those that it has encoded are as many as `encode` takes.
        config = yield from _config(core, contract.ENCODE.model.name if ranks else model, context)
        texts = max(1, int(config.max_batch_size))
        if not ranks:
            return Limits(texts)
        config = yield from _config(core, model, context)
        most = config.parameters[MAX_CANDIDATES].string_value
        return Limits(texts, int(most) if most.isdecimal() and int(most) else None)
    except _NOT_TOLD as error:
        _logger.info("large requests to %s are not split, its limits are secret: %s", model, error)
        return Limits()


def _config(core: Core, model: str, context: Context) -> Plan[Any]:
    job: Job[Any, Any] = Job(config_message(model), lambda answer: answer.config)
    return (yield from perform(core, job, context))
