"""Filters, boosts, limits, pins, pages and traces, as a request of ``recommend`` asks for them."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import list_maker
from model_repository.core.attributes import (
    Attributes,
    NumberColumn,
    list_column,
    text_column,
)
from model_repository.core.batch import Tensors, answer
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import FILTER, TIME
from model_repository.core.errors import InvalidRequest, Unavailable
from model_repository.core.handler import Recommend
from model_repository.core.identifiers import Identifiers
from model_repository.core.policy.boost import read_boosts
from model_repository.core.policy.expressions import parse
from model_repository.core.policy.facts import Facts, NamedList, attributes_of
from model_repository.core.policy.limits import groups_of, pins_of, read_limits
from model_repository.core.policy.statements import condition_of, statements
from model_repository.core.scoring import Scorer
from model_repository.core.trend import Trend
from tests.unit.model_repository.catalogues import CountedTexts, EventSums, catalogue, reader
from tests.unit.model_repository.conftest import user

ITEMS = 60
YEARS = [1970.0 + number % 30 for number in range(ITEMS)]
GENRES = [["Comedy"] if number % 3 else ["Drama", "Comedy"] for number in range(ITEMS)]
ARTISTS = [f"artist {number % 7}" for number in range(ITEMS)]
NAMES = [f"i{number}" for number in range(ITEMS)]


def attributes() -> Attributes:
    years = np.array(YEARS)
    years[5] = np.nan
    return Attributes(
        {
            "year": NumberColumn(years),
            "genres": list_column(GENRES),
            "artist": text_column(ARTISTS),
        }
    )


CATALOGUE = replace(
    catalogue(ITEMS, cold=[11, 17], cold_rank=4),
    attributes=attributes(),
    popular=np.arange(ITEMS, dtype=np.int32)[::-1],
    uncertainty=np.linspace(0.2, 1, ITEMS, dtype=np.float32),
)


class Known:
    """Facts with a named list."""

    def __init__(self, known: Catalogue) -> None:
        self._facts = Facts(
            known.ids, attributes_of(known), {"recalled": NamedList(["i3", "i4", "nobody's"])}
        )

    def current(self) -> Facts:
        return self._facts

    def close(self) -> None:
        """Nothing is held."""


def recommender(known: Catalogue = CATALOGUE) -> Recommend:
    scorer = Scorer(known, EventSums())
    return Recommend(reader(known, 60), scorer, CountedTexts(), facts=Known(known))


RECOMMEND = recommender()


def ask(recommend: Recommend = RECOMMEND, **parameters: Any) -> Tensors:
    (outcome,) = answer(recommend, [user(["i1", "i2"], parameters=parameters)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def items(found: Tensors) -> list[int]:
    return [int(item.decode()[1:]) for item in found["ITEM"][0]]


def trace(found: Tensors) -> dict[str, Any]:
    (((text,),)) = found["TRACE"]
    read: dict[str, Any] = json.loads(text)
    return read


EVERYTHING = items(ask(top_k=ITEMS))


class TestFilter:
    def test_as_many_come_back_as_exist(self) -> None:
        found = items(ask(filter='"Drama" in genres and year >= 1980', top_k=9))
        allowed = [item for item in EVERYTHING if item % 3 == 0 and YEARS[item] >= 1980]
        assert found == allowed[:9]
        assert len(found) == 9

    def test_named_lists_and_ids(self) -> None:
        assert set(EVERYTHING) - set(items(ask(filter="not id in @recalled", top_k=ITEMS))) == {
            3,
            4,
        }
        assert set(items(ask(filter='id in ["i9", "i1", "i8"]'))) == {8, 9}

    def test_all_of_its_statements_hold(self) -> None:
        found = items(ask(filter="year >= 1990; not id in @recalled;", top_k=ITEMS))
        assert set(found) == {
            item for item in EVERYTHING if YEARS[item] >= 1990 and item not in (3, 4)
        }

    def test_one_that_nothing_passes_gets_an_empty_list(self) -> None:
        assert items(ask(filter="year > 3000")) == []

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("yaer > 1990", "no attribute 'yaer'.*Did you mean year"),
            ("year", "a filter is true or false"),
            ("year > 'x'", "a number is compared with a text"),
            ("year >", "column"),
            ("__import__('os')", "column"),
            ("year > 1 and " * 9000 + "year > 1", "named list"),
            ("id in @nobody", "nobody"),
        ],
    )
    def test_a_wrong_one_is_refused(self, text: str, problem: str) -> None:
        with pytest.raises(InvalidRequest, match=problem):
            ask(filter=text)

    def test_a_wrong_one_harms_no_other(self) -> None:
        asked = [
            user(["i1"], parameters={"filter": "year >"}),
            user(["i1", "i2"], parameters={"top_k": 5}),
        ]
        wrong, right = answer(RECOMMEND, asked)
        assert isinstance(wrong, InvalidRequest)
        assert not isinstance(right, Exception)
        assert items(right) == EVERYTHING[:5]


def test_new_items_may_have_their_share() -> None:
    found = items(ask(limits="at least 2 where is_new", top_k=5, new_items=50))
    assert {11, 17} <= set(found)
    assert set(items(ask(filter="is_new", top_k=5))) == {11, 17}


class TestBoost:
    def test_it_multiplies_and_adds(self) -> None:
        plain = ask(top_k=ITEMS)
        interest = dict(zip(items(plain), plain["INTEREST"][0].tolist(), strict=True))
        found = ask(boost='*1.5 if "Drama" in genres; -0.1 if year < 1980', top_k=10)
        score = {
            item: max(
                0.0,
                value * (1.5 if item % 3 == 0 else 1)
                - (0.1 if YEARS[item] < 1980 and item != 5 else 0),
            )
            for item, value in interest.items()
        }
        assert items(found) == sorted(EVERYTHING, key=lambda item: -score[item])[:10]
        # What is said of each stays the interest.
        expected = [interest[item] for item in items(found)]
        np.testing.assert_allclose(found["INTEREST"][0], expected)

    def test_a_number_may_be_computed(self) -> None:
        found = items(ask(boost="* (1 + (year - 1970) / 3)", top_k=5))
        assert found != EVERYTHING[:5]
        assert items(ask(boost="* (1 / 0)", top_k=5)) == EVERYTHING[:5]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("1.5 if year > 1", r"must begin with \*"),
            ("*", r"must begin with \*"),
            ("*artist", "artist is a text, no number"),
            ("*2 if year", "year is a number, neither true nor false"),
            ("*nan", "nan"),
            ('*2 if artist == "x', "quote"),
        ],
    )
    def test_a_wrong_one_is_refused(self, text: str, problem: str) -> None:
        with pytest.raises(InvalidRequest, match=problem):
            ask(boost=text)


class TestLimits:
    def test_they_hold(self) -> None:
        found = items(ask(limits="at most 1 per artist; at least 2 where year >= 1995", top_k=6))
        assert len(found) == 6
        assert len({item % 7 for item in found}) == 6
        assert sum(YEARS[item] >= 1995 for item in found) >= 2

    def test_more_candidates_are_read_where_few_do_not_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artist = [ARTISTS[item] for item in EVERYTHING]
        last = max(artist.index(each) for each in set(artist))
        assert last > 7
        found = items(ask(limits="at most 1 per artist", top_k=7, pool=7))
        assert len({item % 7 for item in found}) == 7
        monkeypatch.setattr(list_maker, "_MOST_CANDIDATES", 7)
        assert len(items(ask(limits="at most 1 per artist", top_k=7, pool=7))) < 7

    def test_a_group_is_what_can_be_too_much(self) -> None:
        years = "at most 3 where year >= 1995; at most 3 where year >= 1996"
        limits = read_limits(f"at most 1 per artist; {years}")
        asked = np.array([25, 26, 32, 27, 29, 36], np.int32)
        found = groups_of(limits, asked, Known(CATALOGUE).current())
        assert found.most.tolist() == [1, 1, 3]
        assert [found.at_most.places_of(each).tolist() for each in range(3)] == [
            [4, 5],
            [0, 2],
            [0, 1, 3, 4],
        ]
        assert found.most_rules == [*["at most 1 per artist"] * 2, years.partition(";")[0]]

    @pytest.mark.parametrize("alike", [1, 2, 3])
    def test_an_unmet_quota_beside_many_values_takes_little_memory(self, alike: int) -> None:
        """A table of values and candidates would be 268 MB where each item has its own."""
        number = 2**14
        titles = text_column([f"title {item // alike}" for item in range(number)])
        recommend = recommender(
            replace(catalogue(number), attributes=Attributes({"title": titles}))
        )
        limits = 'at most 1 per title; at least 1 where title == "none"'
        ask(recommend, limits="at most 1 per title")
        tracemalloc.start()
        found = items(ask(recommend, limits=limits))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len({item // alike for item in found}) == len(found) == 10
        assert most < 2**25

    @pytest.mark.parametrize(
        ("parameters", "problem"),
        [
            ({"limits": "some of them"}, "is no limit; write 'at most 2 per artist'"),
            ({"limits": "at least 2 per artist"}, "is no limit"),
            ({"limits": "at most 2 per autor"}, "no attribute 'autor'"),
            ({"limits": "at most 2 where year"}, "is a number; it must be true or false"),
            (
                {"limits": "at most 1 where year > 1990; at least 2 where year > 1990"},
                "'at most 1 where.*' and 'at least 2 where.*' contradict each other",
            ),
            ({"limits": "at least 11 where year > 1990"}, "and 'top_k 10' contradict each other"),
            ({"pins": "i5"}, """is no pin; write '"i42" at 1'"""),
            ({"pins": "i5 at 0"}, "is no pin"),
            ({"pins": "`i5 at 1"}, "nothing closes the quote"),
            ({"pins": "i500 at 1"}, "the catalogue has no item 'i500'"),
            ({"pins": "i5 at 11"}, "'i5 at 11' and 'top_k 10' contradict each other"),
            ({"pins": "i5 at 1; i6 at 1"}, "'i5 at 1' and 'i6 at 1' contradict each other"),
            ({"pins": "i5 at 1; i5 at 2"}, "'i5 at 1' and 'i5 at 2' contradict each other"),
            (
                {"pins": "i5 at 1; i12 at 2", "limits": "at most 1 per artist"},
                "'at most 1 per artist' and '2 pins' contradict each other",
            ),
            (
                # The year of i29 is 1999.
                {"pins": "i0 at 1; i29 at 2", "limits": "at least 3 where year > 1990", "top_k": 3},
                "'at least 3 where year > 1990' and '2 pins' contradict each other",
            ),
        ],
    )
    def test_what_contradicts_itself_is_refused(
        self, parameters: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=problem):
            ask(**parameters)

    @pytest.mark.parametrize(
        "parameters",
        [
            {"pins": "a" + " " * 16_000 + "b"},
            {"pins": "a at" + " " * 16_000 + "b"},
            {"pins": " at 1" * 3_000 + " b"},
            {"limits": "at most 1 per" + " " * 16_000 + "`"},
            {"limits": "at" + " " * 8_000 + "most" + " " * 8_000 + "b"},
            {"boost": "*2" + " " * 16_000 + "b"},
            {"boost": "*2 " + "i " * 8_000},
            {"filter": "'" + "\\" * 16_000},
            {"filter": "`'\"" * 5_000},
        ],
    )
    def test_to_refuse_one_takes_no_time(self, parameters: dict[str, Any]) -> None:
        started = process_time()
        with pytest.raises(InvalidRequest):
            ask(**parameters)
        assert process_time() - started < 0.15

    def test_of_two_of_a_kind_the_stricter_one_holds(self) -> None:
        both = "at most 3 per artist; at most 1 per artist; at most 2 per artist"
        assert items(ask(limits=both)) == items(ask(limits="at most 1 per artist"))
        both = "at most 3 per `artist`; at most 1 per artist"
        assert len(read_limits(both)) == 1
        least = [f"at least {number} where year < 1980" for number in (4, 6, 5)]
        assert items(ask(limits="; ".join(least))) == items(ask(limits=least[1]))


class TestPins:
    def test_they_have_their_ranks_and_their_own_scores(self) -> None:
        worst = EVERYTHING[-1]
        plain = ask(top_k=ITEMS)
        found = ask(pins=f'"i{worst}" at 2', top_k=4, pool=5)
        assert items(found) == [EVERYTHING[0], worst, *EVERYTHING[1:3]]
        for name in ("LOGIT", "INTEREST"):
            np.testing.assert_allclose(found[name][0, 1], plain[name][0, -1], rtol=1e-5)

    def test_one_that_may_not_be_shown_is_left_out(self) -> None:
        assert (
            items(ask(pins="i1 at 1; i3 at 2", filter="not id in @recalled", top_k=4))
            == [item for item in EVERYTHING if item not in (3, 4)][:4]
        )


ODD = replace(
    CATALOGUE,
    attributes=Attributes(
        {
            "a; b if c": NumberColumn(np.array(YEARS)),
            "children's": list_column(GENRES),
            'the "artist"': text_column(ARTISTS),
        }
    ),
)


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ({"filter": "`a; b if c` > 1990"}, {"filter": "year > 1990 or id == 'i55'"}),
        ({"filter": "'Drama' in `children's`; true"}, {"filter": "'Drama' in genres"}),
        ({"boost": "*2 if `a; b if c` > 1990"}, {"boost": "*2 if year > 1990"}),
        (
            {"boost": "*`a; b if c` if 'Drama' in `children's`"},
            {"boost": "*1985 if 'Drama' in genres"},
        ),
        ({"limits": 'at most 1 per `the "artist"`'}, {"limits": "at most 1 per artist"}),
        (
            {"limits": "at most 1 where `a; b if c` > 1990"},
            {"limits": "at most 1 where year > 1990"},
        ),
    ],
)
def test_a_name_in_backquotes_may_hold_anything(odd: dict[str, Any], plain: dict[str, Any]) -> None:
    assert items(ask(recommender(ODD), top_k=5, **odd)) == items(ask(top_k=5, **plain))


def test_a_backquote_within_quotes_is_one_of_the_text() -> None:
    assert statements(FILTER, "a == '`'; b == \"`\"") == ["a == '`'", 'b == "`"']
    assert condition_of("*2 if a == '` if `'") == ("*2", "a == '` if `'")


class TestPages:
    def test_pages_together_are_one_list(self) -> None:
        cursor = "start"
        found: list[int] = []
        while cursor:
            page = ask(cursor=cursor, top_k=7, limits="at most 2 per artist")
            assert len({*items(page)} & {*found}) == 0
            found += items(page)
            cursor = page["CURSOR"][0, 0].decode()
        assert sorted(found) == sorted(EVERYTHING)
        plain, cursor = [], "start"
        for _ in range(3):
            page = ask(cursor=cursor, top_k=4)
            plain += items(page)
            cursor = page["CURSOR"][0, 0].decode()
        # The pages of a list on which new items have a rank begin anew with it.
        assert len(set(plain)) == 12
        unmoved = [item for item in EVERYTHING if item not in (11, 17)]
        assert [item for item in plain if item not in (11, 17)] == unmoved[: len(plain) - 2]

    def test_they_are_as_of_the_same_time_as_a_list_without_pages(self) -> None:
        until, later = 1_600_000_000, 1_600_050_000
        level = np.random.default_rng(0).uniform(0, 3, ITEMS) + until / 86_400
        recommend = recommender(replace(CATALOGUE, trend=Trend(86_400.0, 1.0, level, until)))
        for time in ({}, {TIME.name: later}):
            plain = ask(recommend, top_k=8, **time)
            first = ask(recommend, top_k=4, cursor="start", **time)
            second = ask(recommend, top_k=4, cursor=first["CURSOR"][0, 0].decode())
            for page in (first, second):
                assert page["TREND_TIME"][0, 0] == (later if time else until)
            assert items(first) == items(plain)[:4]
            np.testing.assert_allclose(first["LOGIT"][0], plain["LOGIT"][0, :4], rtol=1e-6)

    def test_a_pin_is_on_its_page(self) -> None:
        worst = EVERYTHING[-1]
        first = ask(cursor="start", top_k=4, pins=f"i{worst} at 6")
        assert worst not in items(first)
        second = ask(cursor=first["CURSOR"][0, 0].decode(), top_k=4, pins=f"i{worst} at 6")
        assert items(second)[1] == worst

    @pytest.mark.parametrize("top_k", range(1, 14))
    @pytest.mark.parametrize("failing", [False, True])
    def test_a_pin_behind_the_end_of_a_short_list_moves_up(self, top_k: int, failing: bool) -> None:
        twelve = [f"i{item}" for item in range(20, 32)]
        rules = {"filter": f"id in {json.dumps(twelve)}", "pins": "i22 at 14; i23 at 2000"}
        cursor, found = "start", list[int]()
        while cursor:
            page = ask(FAILING if failing else RECOMMEND, cursor=cursor, top_k=top_k, **rules)
            found += items(page)
            cursor = page["CURSOR"][0, 0].decode()
        assert sorted(found) == list(range(20, 32))
        assert found[-2:] == [22, 23]

    def test_a_pin_of_a_later_page_keeps_to_the_limits_and_waits_for_its_page(self) -> None:
        best, *_, worst = EVERYTHING
        given: dict[str, Any] = {"cursor": "start", "top_k": 4}
        allowed = f'id in ["i{best}", "i{worst}"]'
        found = ask(
            filter=allowed, pins=f"i{best} at 9", limits=f"at most 1 where {allowed}", **given
        )
        assert items(found) == [worst]
        # More candidates are read before it moves up.
        found = ask(pins=f"i{best} at 9", pool=1, limits="at most 1 per artist", **given)
        assert len(items(found)) == 4
        assert best not in items(found)

    @pytest.mark.parametrize("cursor", ["next", "AAAA", "é", "A" * 4000])
    def test_what_is_no_cursor_is_refused(self, cursor: str) -> None:
        with pytest.raises(InvalidRequest, match="send 'start' for the first page"):
            ask(cursor=cursor)

    def test_one_of_another_catalogue_is_refused_and_one_of_another_training_is_not(self) -> None:
        cursor = ask(cursor="start")["CURSOR"][0, 0].decode()
        with pytest.raises(InvalidRequest, match="of another catalogue; send 'start'"):
            ask(recommender(catalogue(ITEMS + 1)), cursor=cursor)
        assert items(ask(recommender(catalogue(ITEMS, seed=1)), cursor=cursor))


class TestTrace:
    def test_it_names_the_rule_of_each_item(self) -> None:
        best = EVERYTHING[0]
        found = ask(
            trace=True,
            filter=f'id != "i{best}"',
            boost="*0 if year > 1995",
            limits="at most 1 per artist; at least 3 where year > 1995; "
            "at least 2 where year > 3000",
            pins=f"i{EVERYTHING[-1]} at 3",
            top_k=6,
        )
        told = trace(found)
        assert told["removed"][f"i{best}"] == "filter"
        assert "at most 1 per artist" in told["removed"].values()
        assert told["items"][f"i{EVERYTHING[-1]}"][-1] == "pin: rank 3"
        notes = [note for each in told["items"].values() for note in each]
        assert any(note.startswith("boost *0 if year > 1995: score") for note in notes)
        assert "at least 3 where year > 1995" in notes
        assert told["unmet"] == ["at least 2 where year > 3000: 0 found"]
        assert not set(told["items"]) - {f"i{item}" for item in items(found)}

    @pytest.mark.parametrize(
        ("rules", "names"),
        [
            ({"boost": "*2 if year >= 1990"}, {"boost"}),
            ({"pins": f"i{EVERYTHING[-1]} at 2"}, {"pins"}),
            ({"pins": f"i{EVERYTHING[0]} at 9", "cursor": "start"}, {"pins"}),
            ({"limits": "at least 4 where year < 1973"}, {"at least 4 where year < 1973"}),
            ({"limits": "at most 1 per artist", "pool": ITEMS}, {"at most 1 per artist"}),
            ({"match": "artist"}, {"match"}),
            ({"explore": "greedy", "explore_rate": 1}, {"explore"}),
        ],
    )
    @pytest.mark.parametrize("failing", [False, True])
    def test_it_names_what_took_the_items_of_the_plain_list_out(
        self, rules: dict[str, Any], names: set[str], failing: bool
    ) -> None:
        asking = FAILING if failing else RECOMMEND
        plain = items(ask(asking, include_seen=True, top_k=6))
        found = ask(asking, include_seen=True, top_k=6, trace=True, **rules)
        removed = trace(found)["removed"]
        assert removed.keys() == {f"i{item}" for item in {*plain} - {*items(found)}}
        # Of the popular items some rules take none out.
        assert {*removed.values()} == names or (failing and not removed)

    def test_without_rules_it_is_empty(self) -> None:
        told = trace(ask(trace=True, include_seen=True))
        assert told == {"items": {}, "removed": {}, "unmet": []}
        assert "TRACE" not in ask()


@given(
    top_k=st.integers(1, 12),
    pool=st.sampled_from([1, 5, 200]),
    rules=st.fixed_dictionaries(
        {},
        optional={
            "filter": st.sampled_from(
                ["year >= 1990", '"Drama" in genres', "not id in @recalled", "year > 3000"]
            ),
            "boost": st.sampled_from(
                [
                    "*3 if year > 1990",
                    "-1",
                    "*0 if year > 1975",
                    "+ year / 1000",
                    "*1e39 if year > 1990",
                ]
            ),
            "limits": st.sampled_from(
                [
                    "at most 1 per artist",
                    "at most 2 per genres; at least 1 where year < 1975",
                    "at most 0 where year > 1980; at most 1 per year",
                ]
            ),
            "pins": st.sampled_from(["i7 at 1", "i3 at 1", "i3 at 14"]),
            "cursor": st.just("start"),
            "trace": st.booleans(),
            "include_seen": st.booleans(),
            "new_items": st.sampled_from([0, 2, 5]),
            "match": st.just("genres"),
            "explore": st.sampled_from(["greedy", "softmax", "thompson", "ucb"]),
            "explore_rate": st.sampled_from([1, 0.001]),
        },
    ),
    failing=st.booleans(),
)
def test_no_rule_is_ever_broken(
    top_k: int, pool: int, rules: dict[str, Any], failing: bool
) -> None:
    """Whatever is asked for together, and though the user encoder fails."""
    excluded = ["i8", "i9"]
    request = user(
        ["i1", "i2"], parameters={"top_k": top_k, "pool": pool, **rules}, exclude=excluded
    )
    (found,) = answer(FAILING if failing else RECOMMEND, [request])
    if isinstance(found, InvalidRequest):
        assert "contradict" in str(found)
        return
    assert not isinstance(found, Exception)
    assert ("FALLBACK" in found) == failing
    shown = items(found)
    assert len(shown) == len(set(shown)) <= top_k
    assert not set(shown) & {8, 9}
    if not rules.get("include_seen"):
        assert not set(shown) & {1, 2}
    of_filter: dict[str, Callable[[int], bool]] = {
        "year >= 1990": lambda item: YEARS[item] >= 1990 and item != 5,
        '"Drama" in genres': lambda item: item % 3 == 0,
        "not id in @recalled": lambda item: item not in (3, 4),
        "year > 3000": lambda _: False,
    }
    if "filter" in rules:
        assert all(of_filter[rules["filter"]](item) for item in shown)
    limits = rules.get("limits", "")
    if "per artist" in limits:
        assert len({item % 7 for item in shown}) == len(shown)
    if "per genres" in limits:
        assert sum("Comedy" in GENRES[item] for item in shown) <= 2
    if "per year" in limits:
        assert all(YEARS[item] <= 1980 or item == 5 for item in shown)
        dated = [YEARS[item] for item in shown if item != 5]
        assert len(dated) == len(set(dated))
    pinned = {"i7 at 1": 7, "i3 at 1": 3}.get(rules.get("pins", ""))
    if pinned in shown:
        assert shown[0] == pinned
    if rules.get("trace"):
        without = user(
            ["i1", "i2"],
            parameters={
                "top_k": top_k,
                "include_seen": True,
                "new_items": rules.get("new_items", 0),
            },
        )
        (plain,) = answer(FAILING if failing else RECOMMEND, [without])
        assert not isinstance(plain, Exception)
        missing = {f"i{item}" for item in {*items(plain)} - {*shown}}
        removed = trace(found)["removed"].keys()
        assert missing <= removed
        assert removed.isdisjoint(f"i{item}" for item in shown)
        assert len(removed) <= top_k * (1 + len(rules))
    if "explore" in rules:
        assert ((found["PROPENSITY"] > 0) & (found["PROPENSITY"] <= 1)).all()


class _NoStates(EventSums):
    def __call__(self, batches: Any) -> Any:  # noqa: ARG002
        raise Unavailable("gone")


FAILING = Recommend(
    reader(CATALOGUE, 60), Scorer(CATALOGUE, _NoStates()), CountedTexts(), facts=Known(CATALOGUE)
)


def test_the_rules_of_the_cookbook_can_be_read() -> None:
    """Each ``filter=``, ``boost=``, ``limits=`` and ``pins=`` of the client's pages."""
    pages = Path(__file__).parents[5] / "docs"
    found = {
        (name, text)
        for page in ("client.md", "policy.md")
        for name, quote, text in re.findall(
            r"\b(filter|boost|limits|pins)=(['\"])(.+?)\2[,)\n]", (pages / page).read_text("utf-8")
        )
    }
    assert {name for name, _ in found} == {"filter", "boost", "limits", "pins"}
    for name, text in found:
        if name == "limits":
            assert read_limits(text)
        elif name == "pins":
            with pytest.raises(InvalidRequest, match=r"the catalogue has no item|contradict"):
                pins_of({"pins": text, "top_k": 1}, Identifiers.of(["x"]), paged=False)
        elif name == "filter":
            assert all(parse(each) for each in statements(FILTER, text))
        else:
            assert read_boosts(text)


def test_reasons_name_the_rules_of_an_item() -> None:
    worst = EVERYTHING[-1]
    found = ask(explain=True, pins=f"i{worst} at 2", top_k=3)
    told = [json.loads(each) for each in found["REASON"][0]]
    assert told[1]["rules"] == ["pin: rank 2"]
    assert "rules" not in told[0]
    assert "TRACE" not in found
