"""The servers as one client calls them: what calls share, and what an inference takes. No I/O."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from client import _inputs
from client._balancing import Endpoint
from client._calls import Call
from client._configuration import Labels, Limits, labels_plan, limits_plan
from client._core import Context, Core, Metadata, Plan, perform, together
from client._deadlines import Deadline, Timeout
from client._discovery import Discovery
from client._requests import StableInputs
from client._responses import LabelScores, name_labels
from client.errors import InvalidInput, ModelNotFound
from client.results import Classification

_Result = TypeVar("_Result")

Token = str | Callable[[], str]


def authorization(token: object) -> Metadata:
    """Return the metadata that a token goes along as. Raises InvalidInput for what is none."""
    if not isinstance(token, str) or not token:
        raise InvalidInput("token: pass a str, or a function that returns one", field="token")
    return _inputs.read_metadata({"authorization": f"Bearer {token}"})


@dataclass(slots=True, eq=False)
class Service:
    """What the calls of one client share.

    Attributes
    ----------
    timeout
        Seconds, for calls that are not told otherwise; None for no deadline.
    metadata, token
        What goes along with every call.
    stable
        Which optional inputs are sent.
    limits
        Of requests to each model that was asked for them.
    labels
        By the version of the classifier.
    """

    core: Core
    discovery: Discovery
    timeout: float | None
    metadata: Metadata
    token: Token | None
    stable: StableInputs = field(default_factory=StableInputs)
    limits: dict[str, Limits] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)
    _prefix: str = field(default_factory=partial(secrets.token_hex, 4))
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def context(
        self,
        timeout: Timeout,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Context:
        """Start a call's clock and settle what goes along with its requests."""
        deadline = Deadline.after(timeout, self.timeout)
        name = _inputs.read_request_id(request_id) or self._new_id()
        together = self.metadata + _inputs.read_metadata(metadata)
        if self.token is not None:
            together += authorization(self.token() if callable(self.token) else self.token)
        return Context(deadline, name, together)

    def infer(self, call: Call[_Result], context: Context) -> Plan[_Result]:
        """Make a call, in as many requests as the limits of its model ask for."""
        try:
            limits = (yield from self._limits(call, context)) if call.large else Limits()
            parts = call.split(limits)
            if not parts:
                return call.join(())
            yield from self.discovery.ensure(context.deadline)
            if len(parts) == 1:
                return (yield from perform(self.core, parts[0], context))
            plans = [
                perform(self.core, part, context.part(number))
                for number, part in enumerate(parts, 1)
            ]
            return call.join((yield from together(plans)))
        except InvalidInput as error:
            if call.large and error.code is not None:
                # Perhaps the repository was exported anew, with other limits.
                self.limits.pop(call.model, None)
            raise

    def classify(self, call: Call[LabelScores], context: Context) -> Plan[Classification]:
        """Make a call, and put the names of the labels to its result."""
        scores = yield from self.infer(call, context)
        labels = self.labels.get(scores.version)
        if labels is None:
            try:
                labels = yield from labels_plan(self.core, scores.version, context.part(0))
            except ModelNotFound:  # another server than the one with the scores: asked again later
                return name_labels(scores, Labels())
            self.labels[scores.version] = labels
        return name_labels(scores, labels)

    def ask_all(
        self, plan: Callable[[Endpoint, Context], Plan[_Result]], context: Context
    ) -> Plan[list[_Result]]:
        """Ask every server."""
        yield from self.discovery.ensure(context.deadline)
        endpoints = self.core.balancer.endpoints
        return (yield from together([plan(endpoint, context) for endpoint in endpoints]))

    def _limits(self, call: Call[_Result], context: Context) -> Plan[Limits]:
        limits = self.limits.get(call.model)
        if limits is None:
            call.split(Limits())  # what is wrong with the arguments is said before anything is sent
            yield from self.discovery.ensure(context.deadline)
            limits = yield from limits_plan(self.core, call.model, context.part(0))
            self.limits[call.model] = limits
        return limits

    def _new_id(self) -> str:
        # Unique among clients by the prefix, among the calls of one by the number, and among
        # processes that were forked from one by the process id.
        return f"{self._prefix}-{os.getpid():x}-{next(self._numbers):x}"
