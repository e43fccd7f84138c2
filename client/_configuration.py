"""Reads a model's configuration when it is needed: limits, and names of labels."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final, get_args

from client._core import Context, Core, Job, Plan, perform
from client._protocol import config_message
from client.errors import (
    MalformedResponse,
    ModelNotFound,
    PermissionDenied,
    Unauthenticated,
    Unsupported,
)
from client.results import Activation
from model_repository.core import contract

_logger = logging.getLogger(__name__)

FEW_CANDIDATES: Final = 1000
"""So many are never too many, and no reason to ask."""

_ACTIVATIONS: Final = get_args(Activation)
_LABEL_PARAMETERS: Final = (contract.LABELS, contract.ACTIVATION)

# Answers of a server that does not show its configuration, or has no such model.
_SECRET: Final = (PermissionDenied, Unauthenticated, Unsupported)
_NOT_TOLD: Final = (ModelNotFound, *_SECRET)


@dataclass(frozen=True, slots=True)
class Limits:
    """Most texts to encode and most candidates of one request; None for any number."""

    texts: int | None = None
    candidates: int | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of a classifier's labels, in the order of PROBABILITY; None where they are secret."""

    names: tuple[str, ...] | None = None
    activation: Activation | None = None


def limits_plan(core: Core, model: str, context: Context) -> Plan[Limits]:
    """Ask for the limits of requests to ``model``; none where they are kept secret."""
    ranks = model == contract.RANK.name
    try:
        # A ranking has no batch of texts. Those that it has encoded are as many as `encode` takes.
        config = yield from _config(core, contract.ENCODE.name if ranks else model, context)
        texts = max(1, int(config.max_batch_size))
        if not ranks:
            return Limits(texts)
        config = yield from _config(core, model, context.part(1))
        most = config.parameters[contract.MAX_CANDIDATES].string_value
        return Limits(texts, int(most) if most.isdecimal() and int(most) else None)
    except _NOT_TOLD as error:
        _logger.info("large requests to %s are not split, its limits are secret: %s", model, error)
        return Limits()


def trend_until_plan(core: Core, model: str, context: Context) -> Plan[int | None]:
    """Ask for the end of the log whose counts say what is popular; None if that is not told."""
    try:
        config = yield from _config(core, model, context)
    except _NOT_TOLD:
        return None
    told = config.parameters[contract.TREND_UNTIL].string_value
    return int(told) if told.lstrip("-").isdecimal() else None


def labels_plan(core: Core, version: str, context: Context) -> Plan[Labels]:
    """Ask what the labels of this version of ``classify`` are.

    Raises
    ------
    ModelNotFound
        The server that was asked lacks this version.
    MalformedResponse
        The configuration names none.
    """
    model = contract.CLASSIFY.name
    try:
        config = yield from _config(core, model, context, version)
    except _SECRET as error:
        _logger.info("labels have no names, the configuration of %s is secret: %s", model, error)
        return Labels()
    told = {name: config.parameters[name].string_value for name in _LABEL_PARAMETERS}
    try:
        names = json.loads(told[contract.LABELS])
    except ValueError:
        names = None
    activation = told[contract.ACTIVATION]
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or activation not in _ACTIVATIONS
    ):
        raise MalformedResponse(
            f"{model}: the configuration has no labels or no activation among its parameters "
            f"({told}); export the model repository and install the client from the same version"
        )
    return Labels(tuple(names), activation)


def _config(core: Core, model: str, context: Context, version: str = "") -> Plan[Any]:
    job: Job[Any, Any] = Job(config_message(model, version), lambda answer: answer.config)
    return (yield from perform(core, job, context))
