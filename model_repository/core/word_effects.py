"""How much each word of a text counts: what a logit loses where the text lacks the word.

All texts without one of their words are encoded together, and placed as new items are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .arrays import Floats, Indices
from .items import NewItems
from .score_terms import Users
from .scoring import Scorer
from .users import History
from .words import Word, without, words_of

MOST_TEXTS: Final = 4
"""Texts of a request whose words are looked at. With `words.MOST_WORDS` of each, a request costs at
most as much as the 128 texts that one may bring (`export --max-rows`)."""


@dataclass(frozen=True, slots=True)
class WithoutWords:
    """Texts without each of their words.

    Attributes
    ----------
    words
        W of each text, by its slot.
    slots
        INT32 [W], the text without each of them, likewise.
    fresh
        The new items that all slots name.
    """

    words: Mapping[int, Sequence[Word]]
    slots: Mapping[int, Indices]
    fresh: NewItems


def without_words(
    scorer: Scorer,
    texts: Mapping[int, str],
    fresh: NewItems,
    encode: Callable[[Sequence[str]], Floats],
) -> WithoutWords:
    """Leave out each word of ``texts``, by their slots; row r of ``fresh`` is slot ``-(r + 1)``.

    ``encode`` makes vectors FP32 [R, h] of R texts.
    """
    words = {slot: words_of(text) for slot, text in texts.items()}
    words = {slot: each for slot, each in words.items() if each}
    left = [without(texts[slot], [word]) for slot, each in words.items() for word in each]
    if not left:
        return WithoutWords({}, {}, fresh)
    catalogue = scorer.catalogue
    placed = catalogue.neighbourhood.place(encode(left), catalogue.vectors)
    numbered = -1 - np.arange(len(fresh.bias), len(fresh.bias) + len(left), dtype=np.int32)
    ends = np.cumsum([len(each) for each in words.values()])
    slots = dict(zip(words, np.split(numbered, ends[:-1]), strict=True))
    return WithoutWords(words, slots, fresh.followed_by(placed))


def lost_of_events(
    scorer: Scorer, history: History, events: Sequence[int], items: Indices, found: WithoutWords
) -> list[Floats]:
    """What logits FP32 [W, m] of a user who did one event alone lose without each of its words.

    For each of the ``events``, which are texts, and for slots INT32 [m], all different.
    """
    alone = [
        History(np.array([slot], np.int32), history.actions[[event]], history.ages[[event]])
        for event in events
        for slot in (history.slots[event], *found.slots[history.slots[event]])
    ]
    if not alone:
        return []
    logits = scorer.logits_of(scorer.users(alone, found.fresh), items, found.fresh)
    ends = np.cumsum([1 + len(found.slots[history.slots[event]]) for event in events])
    return [each[0] - each[1:] for each in np.split(logits, ends[:-1])]


def lost_of_item(scorer: Scorer, user: Users, slot: int, found: WithoutWords) -> Floats:
    """What the logit of a ranked text loses without each of its words, FP32 [W], for one user."""
    both = np.array([slot, *found.slots[slot]], np.int32)
    logits = scorer.rank(user, 0, both, found.fresh).logit
    lost: Floats = logits[0] - logits[1:]
    return lost
