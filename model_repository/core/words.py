"""The words of a text, and the text without some of them.

A word is what stands between white space, without the punctuation at its ends. A Chinese character
is a word too, as it is to the tokenizers of BERT.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MOST_WORDS: Final = 32
"""Words of a text that are looked at, the first ones: each costs a run of the text encoder."""
_LONGEST: Final = 2**13
"""Characters that are looked at, so that a megabyte of text costs no more than some pages."""

_IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_PIECE: Final = re.compile(f"[{_IDEOGRAPHS}]|[^\\s{_IDEOGRAPHS}]+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is first written, and where it begins and ends, punctuation included."""

    name: str
    places: list[tuple[int, int]] = field(default_factory=list)


def words_of(text: str) -> list[Word]:
    """The distinct words of a text in their order, at most `MOST_WORDS`; upper case is no other."""
    found: dict[str, Word] = {}
    for piece in _PIECE.finditer(text, 0, _LONGEST):
        name = _unpunctuated(piece[0])
        folded = name.casefold()
        if not name or (folded not in found and len(found) == MOST_WORDS):
            continue
        found.setdefault(folded, Word(name)).places.append(piece.span())
    return list(found.values())


def without(text: str, words: Iterable[Word]) -> str:
    """The text without these words of it, wherever they stand.

    A space parts what they parted: "0人0" is two words without the second, and not "00".
    """
    left, start = "", 0
    for begin, end in sorted(place for word in words for place in word.places):
        left, start = _apart(left, text[start:begin]), end
    return _apart(left, text[start:])


def _apart(left: str, right: str) -> str:
    parted = not left or not right or left[-1].isspace() or right[0].isspace()
    return left + right if parted else f"{left} {right}"


def _unpunctuated(piece: str) -> str:
    """Without what is no letter, mark or digit at its ends."""
    inner = [place for place, each in enumerate(piece) if unicodedata.category(each)[0] in "LMN"]
    return piece[inner[0] : inner[-1] + 1] if inner else ""
