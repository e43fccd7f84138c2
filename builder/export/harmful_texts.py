"""``export --harmful-texts``: which items have a text that nobody should be shown.

What is harmful is for each team to say. So the judge is a function of theirs, or `WORDS`, a list of
English swear words; a list is quick, and wrong where a name is such a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from builder.errors import ConfigError
from model_repository.core.attributes import BooleanColumn

HARMFUL: Final = "harmful"
"""The attribute that says it."""
WORDS: Final = "words"
DETAIL: Final = "harmful_texts"
"""The key in a version's details."""

Judge = Callable[[Sequence[str]], Sequence[bool]]
"""Texts → whether each is harmful."""


def harmful_items(texts: Sequence[str], judge: str) -> BooleanColumn:
    """The attribute `HARMFUL` of items with these texts.

    ``judge`` is `WORDS`, or a `Judge` as ``package.module:function``.

    Raises
    ------
    ConfigError
        There is no such function, or it does not give a boolean for each text.
    """
    found = list(_judge(judge)(list(texts)))
    if len(found) != len(texts) or not all(isinstance(each, bool | np.bool_) for each in found):
        raise ConfigError(
            f"--harmful-texts {judge}: it must give True or False for each of the {len(texts):,} "
            "texts that it is given"
        )
    return BooleanColumn(np.array(found, np.int8))


def _judge(name: str) -> Judge:
    if name == WORDS:
        return _by_words
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--harmful-texts {name}: {error}; name a function as `package.module:function`, or "
            f"{WORDS}"
        ) from error
    if not callable(found):
        raise ConfigError(f"--harmful-texts {name}: {function} is no function")
    judge: Judge = found
    return judge


def _by_words(texts: Sequence[str]) -> list[bool]:
    try:
        from better_profanity import profanity
    except ImportError as error:
        raise ConfigError(
            f"--harmful-texts {WORDS} needs the package better-profanity: "
            "pip install 'tritonrec[safety]'"
        ) from error
    return [bool(profanity.contains_profanity(text)) for text in texts]
