"""Checks the options of a request against their declarations in the contract."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .contract import FILTER, LIMITS, MOST_PARAMETERS, OPTIONS, TOP_K, OptionSpec
from .errors import InvalidRequest

_BY_NAME: Final = {option.name: option for option in OPTIONS}
_TYPES: Final = {bool: "a boolean", int: "an integer", float: "a number", str: "a string"}

_REMEMBERED: Final = 256
_LONGEST: Final = 256
"""Characters of parameters that are remembered: all of them take 64 KB."""

Options = dict[str, Any]
"""The value of every option that the contract declares, by its name."""


@dataclass(frozen=True, slots=True)
class RepositoryPolicy:
    """What a repository says of the options of ``recommend``.

    Attributes
    ----------
    default
        The values of options that a request does not send.
    always
        Values that a request cannot change. Its filter and its limits hold beside these.
    """

    default: Mapping[str, Any] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `InvalidRequest` for an option that does not exist, or a value that is wrong."""
        for values in (self.default, self.always):
            for name, value in values.items():
                _check(name, value)

    def join(self, given: Mapping[str, Any]) -> Options:
        """The options of a request that sends ``given``, where it or the policy has a value."""
        found: Options = {**self.default, **given, **self.always}
        for name in given.keys() & self.always.keys():
            if name in _JOINED:
                found[name] = f"{self.always[name]}; {given[name]}"
            elif given[name] != self.always[name]:
                raise InvalidRequest(
                    f"parameter {name} is {given[name]!r:.80}, and the policy of this model always "
                    f"has {self.always[name]!r:.80}; leave it out"
                )
        return found


NO_POLICY: Final = RepositoryPolicy()
_JOINED: Final = {FILTER.name, LIMITS.name}
"""Options of statements. Those of a request come after the policy's, so no quote of a request can
reach into these."""


class OptionsReader:
    """Reads the parameters of requests to one model.

    Parameters
    ----------
    max_top_k
        How many items a request may ask for. Where that is the whole catalogue, a larger ``top_k``
        is allowed: it simply asks for everything.
    catalogue_size
        Number of items.
    """

    def __init__(
        self, max_top_k: int, catalogue_size: int, policy: RepositoryPolicy = NO_POLICY
    ) -> None:
        self._policy = policy
        self._max_top_k = max_top_k
        self._catalogue_size = catalogue_size
        # A request without a number gets as many as there are.
        self._default: Options = {option.name: option.default for option in OPTIONS}
        self._default[TOP_K.name] = min(self._default[TOP_K.name], max_top_k)
        # Most requests ask for the same, and a check takes 10 µs. Only what was found in order
        # and is short is remembered.
        self._remembered: dict[str, Options] = {}

    def read(self, parameters: str) -> Options:
        """Check parameters, a JSON object as Triton hands it over; empty for none.

        Raises
        ------
        InvalidRequest
            An option that does not exist, has the wrong type or is out of range.
        """
        found = self._remembered.get(parameters)
        if found is None:
            given = _given(parameters)
            chosen = {name: value for name, value in given.items() if not _is_header(name, value)}
            found = self._checked(chosen)
            # Headers differ from request to request.
            if (
                len(chosen) == len(given)
                and len(parameters) <= _LONGEST
                and len(self._remembered) < _REMEMBERED
            ):
                self._remembered[parameters] = found
        return found

    def _checked(self, parameters: dict[str, object]) -> Options:
        for name, value in parameters.items():
            _check(name, value)
        options: Options = {**self._default, **self._policy.join(parameters)}
        top_k = options[TOP_K.name]
        if self._max_top_k < self._catalogue_size and top_k > self._max_top_k:
            raise InvalidRequest(
                f"parameter {TOP_K.name} is {top_k}; this model was exported to recommend at most "
                f"{self._max_top_k} items. Ask for fewer, or export it again with "
                f"`python -m builder export --max-top-k {min(top_k, self._catalogue_size)}`"
            )
        return options


def refuse_options(parameters: str) -> None:
    """Raise `InvalidRequest` for any option: for models of a family that has none."""
    for name, value in _given(parameters).items():
        if not _is_header(name, value):
            raise InvalidRequest(f"there is no option {name!r:.80}; classify has none")


def _given(parameters: str) -> dict[str, object]:
    given: dict[str, object] = json.loads(parameters) if parameters else {}
    if len(given) > MOST_PARAMETERS:
        raise InvalidRequest(
            f"the request has {len(given)} parameters, and at most {MOST_PARAMETERS} are read; "
            "send options alone, and forward fewer headers"
        )
    return given


def _is_header(name: str, value: object) -> bool:
    """Whether a parameter is no option: Triton can hand headers of a request on among them.

    They are strings, such as ``traceparent`` and ``x-request-id``. So a string under a name that
    resembles no option is one; a number, a boolean or a name like an option's is a mistyped option.
    """
    return isinstance(value, str) and name not in _BY_NAME and not _nearest(name, 0.7)


def _nearest(name: str, least: float) -> list[str]:
    return difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=least)


def _check(name: str, value: object) -> None:
    option = _BY_NAME.get(name)
    if option is None:
        near = _nearest(name, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(_BY_NAME)}"
        raise InvalidRequest(f"there is no option {name!r:.80}; {hint}")
    # A bool is an int to Python, and nothing that a caller means by a number.
    if type(value) is not type(option.default) and not (
        type(option.default) is float and type(value) is int
    ):
        raise InvalidRequest(
            f"parameter {name} is {value!r:.80}, a {type(value).__name__}; it must be "
            f"{_TYPES[type(option.default)]}"
        )
    if wanted := _range_fault(option, value):
        raise InvalidRequest(f"parameter {name} is {value!r:.80}; it must be {wanted}")


def _range_fault(option: OptionSpec, value: object) -> str | None:
    if option.choices and value not in option.choices:
        return " or ".join(repr(choice) for choice in option.choices)
    if not isinstance(value, (int, float)) or value == option.default:
        return None
    if not math.isfinite(value):
        return "finite"
    if option.minimum is not None and value < option.minimum:
        return f"at least {option.minimum}"
    if option.maximum is not None and value > option.maximum:
        return f"at most {option.maximum}"
    return None


NO_OPTIONS: Final = OptionsReader(max_top_k=1, catalogue_size=1)
"""For models on which no option has an effect: one that does not exist is refused all the same."""
