"""Reasons in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client import InvalidInput, Reason, ReasonEvent, ReasonWord, Sentences

TITLES = {"1": "Alien", "2": "Aliens", "3": "Blade Runner", "4": "Brazil"}
DOCS = Path(__file__).parents[3] / "docs" / "policy-reasons.md"
GERMAN = {
    "events": ["weil dir {0} gefiel", "weil dir {0} und {1} gefielen"],
    "neighbours": ["neu, und ähnlich wie {0}"],
    "popular": "bei anderen beliebt",
}


def because_of(
    *ids: str,
    neighbours: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    words_of_last: tuple[str, ...] = (),
) -> Reason:
    events = [ReasonEvent(place, each, 1.0) for place, each in enumerate(ids)]
    if words_of_last:
        events[-1] = replace(events[-1], words=counting(*words_of_last))
    return Reason(tuple(events), neighbours=neighbours, words=counting(*words))


def counting(*words: str) -> tuple[ReasonWord, ...]:
    return tuple(ReasonWord(each, 1.0) for each in words)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (because_of("1"), "because you liked Alien"),
        (because_of("1", "2"), "because you liked Alien and Aliens"),
        (because_of("2", "1", "3"), "because you liked Aliens, Alien and Blade Runner"),
        (because_of("1", "unknown", "2"), "because you liked Alien and Aliens"),
        (because_of("1", neighbours=("3",)), "because you liked Alien"),
        (because_of("unknown", neighbours=("3",)), "new, and like Blade Runner"),
        (because_of(neighbours=("3", "4", "1")), "new, and like Blade Runner and Brazil"),
        (because_of("unknown"), "popular with other users"),
        (Reason(fallback=True), "popular with other users"),
        (because_of(words=("robots",)), 'because of "robots"'),
        (because_of(words=("robots", "space")), 'because of "robots" and "space"'),
        (
            because_of("1", words=("robots", "space", "war"), words_of_last=("alien",)),
            'because you liked Alien, because of "robots", "space" and "war"',
        ),
        (
            because_of("1", "2", words_of_last=("queen",)),
            'because you liked Alien and Aliens, because of "queen"',
        ),
        (because_of("unknown", words_of_last=("queen",)), "popular with other users"),
    ],
)
def test_a_reason_is_a_sentence(reason: Reason, said: str) -> None:
    assert reason.sentence(TITLES) == said


def test_a_title_may_hold_brackets() -> None:
    assert because_of("1").sentence({"1": "{0} {x}"}) == "because you liked {0} {x}"


def test_another_language_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "de.json"
    file.write_text(json.dumps(GERMAN, ensure_ascii=False), "utf-8")
    german = Sentences.load(file)
    assert because_of("1").sentence(TITLES, german) == "weil dir Alien gefiel"
    three = because_of("1", "2", "3")
    assert three.sentence(TITLES, german) == "weil dir Alien und Aliens gefielen"
    assert because_of(neighbours=("3",)).sentence(TITLES, german) == (
        "neu, und ähnlich wie Blade Runner"
    )
    assert Reason().sentence(TITLES, german) == "bei anderen beliebt"


def test_a_language_says_words_where_its_file_does(tmp_path: Path) -> None:
    file = tmp_path / "de.json"
    reason = because_of("1", words=("Roboter", "Weltraum"))
    for words, said in (
        ({}, "weil dir Alien gefiel"),
        ({"words": ["wegen „{0}“"]}, "weil dir Alien gefiel, wegen „Roboter“"),
    ):
        file.write_text(json.dumps({**GERMAN, **words}), "utf-8")
        assert reason.sentence(TITLES, Sentences.load(file)) == said


def test_words_of_an_event_that_is_not_named_are_not_said() -> None:
    one_alone = Sentences(events=["because you liked {0}"])
    reason = because_of("1", "2", words_of_last=("queen",))
    assert reason.sentence(TITLES, one_alone) == "because you liked Alien"


def test_the_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    _, block = DOCS.read_text("utf-8").split('```json\n{\n  "events"')
    file = tmp_path / "de.json"
    file.write_text('{\n  "events"' + block.split("```")[0], "utf-8")
    assert "Alien" in because_of("1").sentence(TITLES, Sentences.load(file))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"events": None}, "events must be a list of one sentence or more"),
        ({"events": []}, "events must be a list of one sentence or more"),
        ({"events": ["because"]}, "events[0] is 'because'; it must name {0}"),
        ({"events": ["{0}", "{0}"]}, "events[1] is '{0}'; it must name {0} and {1}"),
        ({"events": ["{0.__class__}"]}, "events[0] is '{0.__class__}'; it must name {0}"),
        ({"events": ["{0"]}, "events[0] is '{0', no sentence"),
        ({"neighbours": [7]}, "neighbours[0] is 7, no sentence"),
        ({"popular": "like {0}"}, "popular is 'like {0}'; it must name nothing"),
        ({"more": ""}, "must be a JSON object of the keys events, neighbours, popular"),
        ({"words": []}, "words must be a list of one sentence or more"),
        ({"words": ["{0}", "x"]}, "words[1] is 'x'; it must name {0} and {1}"),
    ],
)
def test_a_file_that_is_wrong_says_where(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    file = tmp_path / "de.json"
    file.write_text(json.dumps({**GERMAN, **changed}), "utf-8")
    with pytest.raises(InvalidInput, match=r"de\.json") as caught:
        Sentences.load(file)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_something_else(tmp_path: Path, text: str) -> None:
    file = tmp_path / "de.json"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=r"de\.json .*JSON"):
        Sentences.load(file)


def test_sentences_are_checked_when_they_are_made() -> None:
    with pytest.raises(InvalidInput, match=r"events\[0\]"):
        Sentences(events=["because"])
