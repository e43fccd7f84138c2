"""Pages of a list: the next one has nothing that an earlier one had.

A cursor holds the items that were shown, and the time that the first request named, if any: later
pages are of the same time. The server keeps nothing.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ..arrays import NO_ITEMS, Indices
from ..batch import Tensors
from ..catalogue import Candidates, Catalogue
from ..contract import CURSOR, PAGE, TIME, TOP_K
from ..errors import InvalidRequest
from ..options import Options
from ..requests import UserRequest
from .base import Context, Stage

START: Final = "start"
_MOST: Final = 2_500
"""Items of all pages."""
_SAMPLE: Final = 64
_HEAD: Final = struct.Struct("<BIq")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Shown:
    time: int
    items: Indices


class Pages(Stage):
    """Option ``cursor``, output CURSOR."""

    name = "cursor"

    def applies(self, options: Options) -> bool:
        return bool(options[PAGE.name])

    def masked(self, context: Context) -> Indices:
        return _read(context.catalogue, context.options).items

    def outputs(self, chosen: Candidates, context: Context) -> Tensors:
        items = np.concatenate([self.masked(context), chosen.index])
        more = len(chosen) == context.options[TOP_K.name] and len(items) < _MOST
        text = b""
        if more:
            head = _HEAD.pack(_VERSION, _print_of(context.catalogue), context.options[TIME.name])
            text = base64.urlsafe_b64encode(head + items.astype("<u4").tobytes())
        return {CURSOR.name: np.array([[text]], object)}


def shown_before(catalogue: Catalogue, options: Options) -> int:
    """How many items earlier pages had."""
    return len(_read(catalogue, options).items) if options[PAGE.name] else 0


def as_of_first_page(request: UserRequest, catalogue: Catalogue) -> UserRequest:
    """The request with the time of its first page; InvalidRequest for a cursor that is none."""
    options = request.options
    if options[PAGE.name] in ("", START):
        return request
    return replace(request, options={**options, TIME.name: _read(catalogue, options).time})


def _read(catalogue: Catalogue, options: Options) -> _Shown:
    text: str = options[PAGE.name]
    if text == START:
        return _Shown(0, NO_ITEMS)
    try:
        content = base64.b64decode(text.encode("ascii"), b"-_", validate=True)
        version, mark, time = _HEAD.unpack_from(content)
        items = np.frombuffer(content[_HEAD.size :], "<u4")
    except (ValueError, struct.error, binascii.Error):
        version = 0
    if version != _VERSION or not 0 < len(items) <= _MOST:
        raise InvalidRequest(
            f"parameter {PAGE.name} is {text!r:.40}, which no answer gave; send '{START}' for the "
            "first page, and then the cursor that came with it"
        )
    if mark != _print_of(catalogue) or items.max() >= len(catalogue):
        raise InvalidRequest(
            f"parameter {PAGE.name} is of another catalogue; send '{START}' to begin anew"
        )
    return _Shown(time, items.astype(np.int32))


def _print_of(catalogue: Catalogue) -> int:
    """What tells one catalogue from another, of a sample of its ids."""
    strings = catalogue.ids.strings
    places = np.linspace(0, len(catalogue) - 1, _SAMPLE).astype(int).tolist()
    return zlib.crc32(b"\0".join(strings[place] for place in places), len(catalogue))
