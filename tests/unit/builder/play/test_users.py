from __future__ import annotations

import pytest

from builder.play.history import Entry
from builder.play.items import ItemTexts
from builder.play.users import Users
from tests.unit.builder.play.pages import ACTIONS, IDS, TEXTS, holdout


@pytest.fixture
def users() -> Users:
    return Users(holdout(), ItemTexts(IDS, TEXTS), ACTIONS)


def test_a_user_is_what_the_log_says(users: Users) -> None:
    one, two = users.find("one"), users.find("two")
    assert one is not None
    assert two is not None
    assert one.history == (Entry("a", None, "liked", 100), Entry("b", None, None, 200))
    assert (one.target, two.target) == ("c", "a")
    assert two.history == (Entry("d", None, "seen", 50),)


def test_a_user_that_is_not_there(users: Users) -> None:
    assert users.find("three") is None


def test_users_are_suggested_and_drawn(users: Users) -> None:
    assert users.suggestions == ["one", "two"]
    assert {users.any_id() for _ in range(64)} == {"one", "two"}
