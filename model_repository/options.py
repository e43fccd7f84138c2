"""The options of a request, which travel as its typed parameters to every step."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .errors import InvalidRequest

_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "top_k": (int, "an integer"),
    "on_unknown": (str, "a string"),
    "include_seen": (bool, "a boolean"),
}
_ON_UNKNOWN: Final = ("error", "skip")


@dataclass(frozen=True, slots=True)
class Options:
    """What a request may choose.

    ``top_k`` is the number of items to recommend. ``on_unknown`` says what becomes of a candidate
    that is neither in the catalogue nor given as text: "error", or "skip" for a NaN in its place.
    ``include_seen`` lets items of the history be recommended again.
    """

    top_k: int = 10
    on_unknown: str = "error"
    include_seen: bool = False

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, object], *, max_top_k: int, catalogue_size: int
    ) -> Options:
        """Check a request's parameters.

        Parameters
        ----------
        parameters
            As Triton hands them over: bool, int, float or str by name.
        max_top_k
            How many items the retriever ranks. Where that is the whole catalogue, a larger
            ``top_k`` is allowed: it simply asks for everything.
        catalogue_size
            Number of items.

        Raises
        ------
        InvalidRequest
            An option that does not exist, has the wrong type or is out of range.
        """
        return _checked(max_top_k, catalogue_size, **parameters)


@lru_cache(maxsize=1024, typed=True)  # 10 µs a request, and most ask for the same; typed: 1 is True
def _checked(max_top_k: int, catalogue_size: int, /, **parameters: object) -> Options:
    for name, value in parameters.items():
        _check_type(name, value)
    # Whoever does not ask for a number gets what there is.
    options = Options(**{"top_k": min(Options().top_k, max_top_k), **parameters})  # type: ignore[arg-type]
    if options.top_k < 1:
        raise InvalidRequest(f"parameter top_k is {options.top_k}; it must be at least 1")
    if max_top_k < catalogue_size and options.top_k > max_top_k:
        raise InvalidRequest(
            f"parameter top_k is {options.top_k}; this model was exported to recommend at "
            f"most {max_top_k} items. Ask for fewer, or export it again with "
            f"`python -m builder export --max-top-k {min(options.top_k, catalogue_size)}`"
        )
    if options.on_unknown not in _ON_UNKNOWN:
        raise InvalidRequest(
            f"parameter on_unknown is {options.on_unknown!r}; it must be 'error' or 'skip'"
        )
    return options


def _check_type(name: str, value: object) -> None:
    if name not in _TYPES:
        near = difflib.get_close_matches(name, _TYPES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(_TYPES)}"
        raise InvalidRequest(f"there is no option {name!r:.80}; {hint}")
    kind, described = _TYPES[name]
    # A bool is an int to Python, and nothing that a caller means by a number.
    if type(value) is not kind:
        raise InvalidRequest(
            f"parameter {name} is {value!r:.80}, a {type(value).__name__}; it must be {described}"
        )
