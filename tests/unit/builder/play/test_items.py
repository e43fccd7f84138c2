from __future__ import annotations

import pytest

from builder.play.items import FOUND, ItemTexts

ITEMS = ItemTexts(
    ["1", "2", "3", "4"], ["Return of the Jedi", "The Jedi (1990)", "Jedi the Return", ""]
)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("jedi", ["3", "1", "2"]),  # what begins with it comes first
        ("  RETURN jedi ", ["1", "3"]),
        ("jedi the", ["3", "1", "2"]),
        ("sith", []),
        (" ", []),
    ],
)
def test_an_item_is_found_by_all_words(words: str, found: list[str]) -> None:
    assert [each.id for each in ITEMS.search(words)] == found


def test_a_search_shows_a_few() -> None:
    many = ItemTexts([str(each) for each in range(100)], ["film"] * 100)
    assert len(many.search("film")) == FOUND


def test_an_item_without_a_text_is_shown_by_its_id() -> None:
    assert [ITEMS.of(item) for item in ("1", "4", "new")] == ["Return of the Jedi", "4", "new"]
