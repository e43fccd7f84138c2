"""What the text of an item is made of where nobody says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.data import DataConfig, read

Write = Callable[..., Path]

LOG = "user_id,item_id\nu,1\nu,2\n"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (("Ann", "NULL", "NULL"), "Ann one"),
        (("None", "NULL", r"\N"), "None one"),  # each may be a name
        (("True", "False", "True"), "one"),
        (("2021-09-25", "NULL", "NULL"), "one"),
        (('"September 25, 2021"', '""', '""'), "one"),
        (("\"['a b', 'c']\"", "[]", '""'), "a b c one"),
        (('"[""a"", ""b\'s""]"', "[]", "[x]"), "a b's one"),
        (("\"[{'id': 1, 'name': 'x'}]\"", "[]", '""'), "one"),
        (('"[1.5, 2]"', "[3]", '""'), "one"),
        (("A &amp; B &lt;3 &#39;", "x", "x"), "A & B <3 ' one"),
    ],
)
def test_columns_of_an_item_file(write: Write, column: tuple[str, ...], text: str) -> None:
    rows = zip((1, 2, 3), column, ("one", "two", "three"), strict=True)
    items = "".join(f"{item},{value},{title}\n" for item, value, title in rows)
    directory = write(interactions__csv=LOG, items__csv=f"item_id,more,title\n{items}")
    assert read(DataConfig(directory))[1].texts[0] == text


def test_a_log_tells_about_items_what_is_the_same_in_their_events(write: Write) -> None:
    directory = write(
        log__csv="user_id,item_id,name,review,who,shop\n"
        "u,1,Ape,good,Ann,X\n"
        "v,1,Ape,bad,Bob,X\nu,2,Bee,so so,Ann,X\nv,2,Bee,fine,Bob,Y\nw,2,Bee,dull,Cy,X\n"
    )
    assert read(DataConfig(directory))[1].texts == ["Ape", "Bee"]
    named = DataConfig(directory, text="{name} {review}")
    assert read(named)[1].texts == ["Ape good", "Bee so so"]
