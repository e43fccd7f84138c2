"""What is asked for stays, within what all may cost."""

from __future__ import annotations

from model_repository.core.least_recently_used import LeastRecentlyUsed


def test_what_was_not_asked_for_the_longest_makes_room() -> None:
    cache = LeastRecentlyUsed[str, int](10)
    for key, cost in (("a", 4), ("b", 3), ("c", 3)):
        cache.put(key, ord(key), cost)
    assert cache.get("a") == ord("a")
    cache.put("d", 1, 3)
    assert [cache.get(key) for key in "abcd"] == [ord("a"), None, ord("c"), 1]


def test_a_value_that_costs_more_than_all_is_not_kept_and_drops_no_other() -> None:
    cache = LeastRecentlyUsed[str, int](10)
    cache.put("a", 1, 10)
    cache.put("b", 2, 11)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_a_value_in_place_of_another_costs_once() -> None:
    cache = LeastRecentlyUsed[str, int](10)
    for number in range(3):
        cache.put("a", number, 5)
    cache.put("b", 7, 5)
    assert (cache.get("a"), cache.get("b")) == (2, 7)
