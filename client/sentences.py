"""Sentences that tell a user why an item is recommended, in any language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Final

from client.errors import InvalidInput

_KEYS: Final = ("events", "neighbours", "popular")
_NAMING: Final = ("events", "neighbours", "words")


@dataclass(frozen=True, slots=True)
class Sentences:
    """The sentences of one language.

    The first of ``events``, ``neighbours`` and ``words`` names one as ``{0}``, the second two,
    ``{0}`` and ``{1}``, and so on. Where more could be named than the last one has room for, the
    first ones are.

    Attributes
    ----------
    events
        What names items of the history.
    neighbours
        What names the items that a new one is like.
    popular
        What is said where no item can be named.
    words
        What names words of a text, after a comma where an event is named too; none: they are not
        said.
    """

    events: Sequence[str] = (
        "because you liked {0}",
        "because you liked {0} and {1}",
        "because you liked {0}, {1} and {2}",
    )
    neighbours: Sequence[str] = ("new, and like {0}", "new, and like {0} and {1}")
    popular: str = "popular with other users"
    words: Sequence[str] = (
        'because of "{0}"',
        'because of "{0}" and "{1}"',
        'because of "{0}", "{1}" and "{2}"',
    )

    def __post_init__(self) -> None:
        for name in _NAMING:
            for number, template in enumerate(getattr(self, name), 1):
                _check(template, number, f"{name}[{number - 1}]")
        _check(self.popular, 0, "popular")

    @classmethod
    def load(cls, file: str | Path) -> Sentences:
        """Read a JSON object with the keys ``events``, ``neighbours``, ``popular`` and ``words``.

        Without ``words``, sentences name none.

        Raises
        ------
        InvalidInput
            It is not that, or a sentence lacks the place of an item.
        OSError
            The file cannot be read.
        """
        where = str(file)
        try:
            found = json.loads(Path(file).read_text("utf-8"))
        except ValueError as error:
            raise InvalidInput(
                f"{where} is no JSON ({error}); see docs/policy-reasons.md"
            ) from error
        if not isinstance(found, dict) or found.keys() - {"words"} != set(_KEYS):
            raise InvalidInput(
                f"{where} must be a JSON object of the keys {', '.join(_KEYS)}, and words if they "
                "are to be said"
            )
        for name in [each for each in _NAMING if each in found]:
            if not isinstance(found[name], list) or not found[name]:
                raise InvalidInput(f"{where}: {name} must be a list of one sentence or more")
        try:
            naming = {name: tuple(found.get(name, ())) for name in _NAMING}
            return cls(**naming, popular=found["popular"])
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from None

    def naming_events(self, titles: Sequence[str]) -> str:
        """The sentence that names items of the history by their titles, strongest first."""
        return _filled(self.events, titles)

    def naming_neighbours(self, titles: Sequence[str]) -> str:
        """The sentence that names the items that a new one is like, nearest first."""
        return _filled(self.neighbours, titles)

    def naming_words(self, words: Sequence[str]) -> str:
        """The sentence that names words of a text, strongest first."""
        return _filled(self.words, words)


def titles_of(ids: Sequence[str], titles: Mapping[str, str]) -> list[str]:
    """The titles of those items that have one."""
    return [titles[each] for each in ids if each in titles]


def _filled(templates: Sequence[str], titles: Sequence[str]) -> str:
    number = min(len(templates), len(titles))
    return templates[number - 1].format(*titles[:number]) if number else ""


def _check(template: Any, number: int, where: str) -> None:
    wanted = {str(place) for place in range(number)}
    try:
        named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{where} is {template!r}, no sentence ({error}); correct it") from error
    if named != wanted:
        places = " and ".join(f"{{{place}}}" for place in range(number)) or "nothing"
        raise InvalidInput(f"{where} is {template!r}; it must name {places} in curly brackets")


ENGLISH: Final = Sentences()
