"""The words of a text, and what is left without them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_repository.core.words import MOST_WORDS, without, words_of


def names(text: str) -> list[str]:
    return [word.name for word in words_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Toy Story (1995) Children's, Sci-Fi", ["Toy", "Story", "1995", "Children's", "Sci-Fi"]),
        ("The toy and the TOY", ["The", "toy", "and"]),
        ("“Köln”, ¿qué? हिन्दी की", ["Köln", "qué", "हिन्दी", "की"]),
        ("机器人 robot", ["机", "器", "人", "robot"]),
        ("- & ... 🤖", []),
        ("", []),
    ],
)
def test_a_text_has_words(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_no_more_words_are_looked_at_than_that_and_no_megabyte_of_text() -> None:
    text = " ".join(f"w{number}" for number in range(MOST_WORDS + 9)) + " w0"
    found = words_of(text)
    assert [word.name for word in found] == [f"w{number}" for number in range(MOST_WORDS)]
    assert len(found[0].places) == 2
    assert len(words_of("a " * 2**20)[0].places) < 2**13


def test_a_word_is_left_out_wherever_it_stands() -> None:
    text = "Toy, story: the toy (story)"
    toy, story, the = words_of(text)
    assert without(text, [toy]).split() == ["story:", "the", "(story)"]
    assert without(text, [story, toy]).split() == ["the"]
    assert without(text, [toy, story, the]).split() == []
    assert without(text, []) == text


@example("0㐀0")
@given(st.text(max_size=60))
def test_without_a_word_the_others_are_left(text: str) -> None:
    found = words_of(text)
    for word in found:
        left = names(without(text, [word]))
        assert [each.casefold() for each in left] == [
            each.name.casefold() for each in found if each is not word
        ]
