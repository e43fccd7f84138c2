"""Calibrated lists."""

from __future__ import annotations

import numpy as np
import pytest

from model_repository.core.errors import InvalidRequest
from model_repository.core.policy import match
from model_repository.core.policy.match import Match
from tests.unit.model_repository.catalogues import MAX_HISTORY
from tests.unit.model_repository.core.policy.lists import asked, best_first, listed, with_column

STAGE = Match()
# The best are comedies, and the history has as many war films.
GENRES = ["Comedy"] * 10 + ["War", "", "Comedy|War"] + ["Comedy"] * 7 + ["War", "Comedy", "Opera"]
KNOWN = with_column(GENRES)


@pytest.mark.parametrize("wars", [1, 20, 40])
def test_a_list_is_chosen_as_steck_has_it(wars: int) -> None:
    """The largest sum of relevance and fit in each step, with the divergence as he writes it."""
    mix = {"War": wars / 40, "Comedy": 1 - wars / 40}
    relevance = np.linspace(1, 0, 20)

    def divergence(chosen: list[int]) -> float:
        found = 0.0
        for genre, wanted in mix.items():
            if not wanted:
                continue
            shares = [
                (genre in GENRES[item].split("|")) / len(GENRES[item].split("|")) for item in chosen
            ]
            found += wanted * np.log(wanted / (0.99 * np.mean(shares) + 0.01 * wanted))
        return found

    chosen: list[int] = []
    for _ in range(5):
        left = [item for item in range(20) if item not in chosen]
        chosen.append(
            max(left, key=lambda item: 0.5 * relevance[item] - 0.5 * divergence([*chosen, item]))
        )
    history = ["i20"] * wars + ["i21"] * (40 - wars)
    found = listed(STAGE, best_first(KNOWN), asked(KNOWN, history, match="genres"))
    assert found == sorted(chosen)
    assert (found != [0, 1, 2, 3, 4]) is (wars > 1)


def test_the_mix_is_that_of_the_whole_history() -> None:
    """Also of the part that the network is too short to read."""
    comedies = ["i21"] * MAX_HISTORY
    context = asked(KNOWN, [*["i20"] * 30, *comedies], match="genres")
    assert {10, 12} <= set(listed(STAGE, best_first(KNOWN), context))
    assert listed(STAGE, best_first(KNOWN), asked(KNOWN, comedies, match="genres")) == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("history", [[], ["i11"], ["unknown"], ["i22"]])
def test_without_a_mix_that_can_be_had_the_list_stays(history: list[str]) -> None:
    found = listed(STAGE, best_first(KNOWN), asked(KNOWN, history, match="genres"))
    assert found == [0, 1, 2, 3, 4]


def test_only_the_pool_is_chosen_from_and_asked_for() -> None:
    context = asked(KNOWN, ["i20"], match="genres", pool=10)
    assert STAGE.wanted(context) == 10
    assert listed(STAGE, best_first(KNOWN), context) == [0, 1, 2, 3, 4]
    assert 10 in listed(STAGE, best_first(KNOWN), asked(KNOWN, ["i20"], match="genres"))


def test_of_very_many_values_the_most_frequent_count(monkeypatch: pytest.MonkeyPatch) -> None:
    context = asked(KNOWN, ["i20", "i21", "i21"], match="genres")
    assert listed(STAGE, best_first(KNOWN), context) != [0, 1, 2, 3, 4]
    monkeypatch.setattr(match, "_MOST_VALUES", 1)
    assert listed(STAGE, best_first(KNOWN), context) == [0, 1, 2, 3, 4]


def test_a_column_that_was_not_exported_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no attribute 'brand'"):
        STAGE.check(asked(KNOWN, match="brand"))


def test_it_is_off_unless_a_column_is_named() -> None:
    assert not STAGE.applies(asked(KNOWN).options)
