"""Items get a chance, and the answer says how large it was."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_repository.core.arrays import Floats
from model_repository.core.batch import Request, Tensors, answer
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.errors import InvalidRequest, Unavailable
from model_repository.core.handler import Recommend
from model_repository.core.options import OptionsReader
from model_repository.core.policy import exploration
from model_repository.core.policy.arrange import Building
from model_repository.core.policy.base import Context
from model_repository.core.policy.chooser import Chooser
from model_repository.core.policy.exploration import DRAWS, chooser
from model_repository.core.policy.facts import Facts
from model_repository.core.policy.groups import Members
from model_repository.core.policy.limits import Groups
from model_repository.core.requests import UserRequest
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from tests.unit.model_repository.catalogues import CountedTexts, EventSums, catalogue, reader
from tests.unit.model_repository.conftest import user

ITEMS = 30
GENRES = 5
PLACES = 3
DOCS = Path(__file__).parents[5] / "docs" / "policy-exploration.md"
UNCERTAINTY = np.linspace(0.2, 1.0, ITEMS).astype(np.float32)
CATALOGUE = replace(catalogue(ITEMS), uncertainty=UNCERTAINTY)
LOGITS = np.linspace(2.5, -1.5, ITEMS).astype(np.float32)
INTERESTS = CATALOGUE.calibration.interest(LOGITS)
NO_HISTORY = History(*(np.zeros(0, np.int32),) * 2, np.zeros(0, np.int64))
OPTIONS = OptionsReader(ITEMS, ITEMS).read("")
ALL = np.ones(ITEMS, bool)
STOCHASTIC = ("greedy", "softmax", "thompson")
CAPS = Groups(
    Members.of(np.arange(ITEMS), np.arange(ITEMS) % GENRES, ITEMS, GENRES),
    np.ones(GENRES, int), [""] * GENRES, np.zeros((0, ITEMS), bool), np.zeros(0, int), [],
)  # fmt: skip
KINDS = {"greedy": "exact", "softmax": "exact", "thompson": "estimated", "ucb": "deterministic"}
RATES = {"greedy": 0.4, "softmax": 0.5, "thompson": 1.0}
"""With which each item is shown often enough to be counted."""
LISTS = {"greedy": 20_000, "softmax": 20_000, "thompson": 5_000}
"""Those of Thompson take 20 times as long."""
OTHER = 0.3
"""The temperature of another policy, which shows nothing that Thompson never shows."""


def candidates(score: Floats = INTERESTS, known: Catalogue = CATALOGUE) -> Candidates:
    return Candidates(known, np.arange(ITEMS, dtype=np.int32), LOGITS, INTERESTS, score)


def context(method: str, rate: float = 0.0, name: str = "r") -> Context:
    none = np.zeros(0, np.int32)
    options = {**OPTIONS, "explore": method, "explore_rate": rate}
    request = UserRequest(
        options, (), NO_HISTORY, none, 0, 0, none, none, none, none, name
    )  # fmt: skip
    return Context(request, CATALOGUE, Facts(CATALOGUE.ids))


def made(method: str, rate: float = 0.0, name: str = "r", **given: Any) -> Chooser:
    return chooser(candidates(**given), context(method, rate, name))


def feasible_after(chosen: Sequence[int]) -> NDArray[np.bool_]:
    """BOOL [m], what may come after some items: at most one of a genre."""
    return ~np.isin(np.arange(ITEMS) % GENRES, np.array(chosen, int) % GENRES)


def listed(
    chooses: Chooser, pins: Mapping[int, int] | None = None
) -> tuple[list[int], list[float]]:
    """The places of a list, and their propensities."""
    building = Building(candidates(), CAPS, pins or {}, PLACES)
    return building.places(chooses).tolist(), building.propensity


def lists(method: str, number: int, rate: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    found = [listed(made(method, rate, str(name))) for name in range(number)]
    return np.array([each for each, _ in found]), np.array([each for _, each in found])


@pytest.fixture(scope="module", params=STOCHASTIC)
def logged(request: pytest.FixtureRequest) -> tuple[str, NDArray[np.int64], NDArray[np.float64]]:
    method = request.param
    return (method, *lists(method, LISTS[method], RATES[method]))


def probabilities(method: str, rate: float, feasible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each item should be shown with, computed otherwise than by the chooser; [m]."""
    number = int(feasible.sum())
    if method == "greedy":
        found = feasible * rate / number
        found[int(feasible.argmax())] += 1 - rate
        return np.asarray(found)
    if method == "softmax":
        # The ceiling of interests is beyond the odds.
        odds = INTERESTS.astype(float) / (CATALOGUE.calibration.ceiling - INTERESTS)
        weights = np.where(feasible, odds ** (1 / rate), 0)
        return np.asarray(weights / weights.sum())
    # No boost changes an interest here, so the largest logit has the largest interest.
    random = np.random.default_rng(5)
    drawn = LOGITS + rate * UNCERTAINTY * random.normal(size=(200_000, ITEMS))
    best = np.where(feasible, drawn, -np.inf).argmax(1)
    return np.bincount(best, minlength=ITEMS) / len(drawn)


def test_items_come_as_often_as_propensities_say(
    logged: tuple[str, NDArray[np.int64], NDArray[np.float64]],
) -> None:
    method, shown, propensities = logged
    expected = probabilities(method, RATES[method], np.ones(ITEMS, bool))
    first, said = shown[:, 0], propensities[:, 0]
    counts = np.bincount(first, minlength=ITEMS)
    often = expected * len(shown) > 5
    deviation = (counts - expected * len(shown))[often] ** 2 / (expected * len(shown))[often]
    freedom = often.sum() - 1
    assert deviation.sum() < freedom + 4 * np.sqrt(2 * freedom)  # chi-square
    for item in np.flatnonzero(often):
        spread = 4 * np.sqrt(expected[item] / DRAWS / max(1, counts[item])) + 2 / DRAWS
        if method == "thompson":
            assert abs(said[first == item].mean() - expected[item]) < spread + expected[item] / 50
        else:
            np.testing.assert_allclose(said[first == item], expected[item], rtol=1e-4)


def test_at_every_rank_a_weight_of_one_over_propensity_counts_every_feasible_item_once(
    logged: tuple[str, NDArray[np.int64], NDArray[np.float64]],
) -> None:
    method, shown, propensities = logged
    for rank in range(PLACES):
        feasible = np.array([feasible_after(each[:rank]) for each in shown.tolist()])
        for item in range(ITEMS):
            weights = (shown[:, rank] == item) / propensities[:, rank]
            difference = weights - feasible[:, item]
            bound = 4.5 * difference.std() / np.sqrt(len(shown)) + 0.002
            if (shown[:, rank] == item).sum() >= 30:
                assert abs(difference.mean()) < bound, (method, rank, item)


def clicks_per_list() -> Callable[..., tuple[float, float]]:
    """The function of the documentation."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(next(each for each in blocks if "def clicks_per_list" in each), names)
    return names["clicks_per_list"]  # type: ignore[no-any-return]


def test_a_log_tells_the_clicks_of_another_policy(
    logged: tuple[str, NDArray[np.int64], NDArray[np.float64]],
) -> None:
    _, shown, propensities = logged
    random = np.random.default_rng(3)
    rates = random.uniform(0.05, 0.6, ITEMS)[shown] / (1 + np.arange(PLACES))
    clicked = random.random(rates.shape) < rates
    log = [
        [
            {"item": item, "propensity": propensity, "clicked": click}
            for item, propensity, click in zip(*each, strict=True)
        ][:2]
        for each in zip(shown.tolist(), propensities.tolist(), clicked.tolist(), strict=True)
    ]

    def other(rows: Sequence[dict[str, Any]], rank: int) -> float:
        feasible = feasible_after([row["item"] for row in rows[:rank]])
        return float(probabilities("softmax", OTHER, feasible)[rows[rank]["item"]])

    found, error = clicks_per_list()(log, other)
    truth = 0.0
    appeal = np.random.default_rng(3).uniform(0.05, 0.6, ITEMS)
    at_first = probabilities("softmax", OTHER, feasible_after([]))
    for item in range(ITEMS):
        then = probabilities("softmax", OTHER, feasible_after([item]))
        truth += at_first[item] * (appeal[item] + (then * appeal).sum() / 2)
    assert abs(found - truth) < 4 * error
    assert error < truth / 10  # else it says nothing
    naive = clicked[:, :2].sum(1)
    assert abs(naive.mean() - truth) > 4 * naive.std() / np.sqrt(len(naive))


def test_the_best_bound_comes_first_and_nothing_is_left_to_chance() -> None:
    places, propensities = listed(made("ucb", 8.0))
    bounds = LOGITS + 8 * UNCERTAINTY
    expected: list[int] = []
    for _ in range(PLACES):
        expected.append(int(np.where(feasible_after(expected), bounds, -np.inf).argmax()))
    assert places == expected
    assert propensities == [1.0] * PLACES
    assert places[0] == ITEMS - 1


@pytest.mark.parametrize("method", ["softmax", "thompson", "ucb"])
def test_what_the_policy_makes_of_an_interest_it_makes_of_any(method: str) -> None:
    boosted = INTERESTS.copy()
    boosted[7] *= 1_000
    assert listed(made(method, 0.1, score=boosted))[0][0] == 7


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(
    "score",
    [np.zeros(ITEMS, np.float32), np.where(np.arange(ITEMS) < 2, INTERESTS, 0)],
    ids=["none", "two"],
)
def test_items_without_a_score_come_once_each_and_within_limits(method: str, score: Floats) -> None:
    places, propensities = listed(made(method, score=score))
    assert len({place % GENRES for place in places}) == PLACES
    assert all(0 < propensity <= 1 for propensity in propensities)


@pytest.mark.parametrize("method", ["softmax", "thompson"])
@pytest.mark.parametrize("boosted", [ITEMS, 3])
def test_propensities_are_those_of_the_boosted_items_however_large_the_boost(
    method: str, boosted: int
) -> None:
    """The largest score is that of FP32, and an interest below 1 divides it."""
    score = np.where(np.arange(ITEMS) < boosted, np.finfo(np.float32).max, INTERESTS)
    first = [
        made(method, RATES[method], str(name), score=score).choose(ALL, score, 0)
        for name in range(300)
    ]
    places = np.array([place for place, _ in first])
    said = dict(first)
    assert set(places) <= set(range(boosted))
    # Boosted alike, they come as often as without a boost, given that these come.
    expected = probabilities(method, RATES[method], np.arange(ITEMS) < boosted)
    for place in range(3):
        assert said[place] == pytest.approx(expected[place], abs=0.05)
        assert (places == place).mean() == pytest.approx(expected[place], abs=0.1)


def test_scores_too_small_for_a_number_are_told_apart_from_none() -> None:
    """A logit far below 0 has an interest of 0, and one item is certain where it is the only."""
    low = np.full(ITEMS, -1_000, np.float32)
    tiny = np.full(ITEMS, 1e-30, np.float32)
    boosted = Candidates(
        CATALOGUE, np.arange(ITEMS, dtype=np.int32), low, tiny,
        np.where(np.arange(ITEMS) < 2, tiny * 2, tiny),
    )  # fmt: skip
    feasible = np.arange(ITEMS) == 11
    assert chooser(boosted, context("thompson")).choose(feasible, tiny, 0) == (11, 1.0)


@pytest.mark.parametrize("method", KINDS)
def test_what_is_pinned_is_certain(method: str) -> None:
    places, propensities = listed(made(method), {1: 23})
    assert places[1] == 23
    assert propensities[1] == 1
    assert len({place % GENRES for place in places}) == PLACES


def test_a_tiny_rate_shows_the_best() -> None:
    for method in KINDS:
        places, propensities = listed(made(method, 0.001, name="s"))
        expected: list[int] = []
        for _ in range(PLACES):
            expected.append(int(feasible_after(expected).argmax()))
        assert places == expected
        assert min(propensities) > 0.99


@pytest.mark.parametrize("method", ["thompson", "ucb"])
@pytest.mark.parametrize("boost", [1.0, 2.0])
def test_logits_of_which_all_interests_are_one_are_told_apart(method: str, boost: float) -> None:
    certain = np.linspace(40, 38, ITEMS).astype(np.float32)
    same = np.full(ITEMS, CATALOGUE.calibration.ceiling, np.float32)
    score = same * np.float32(boost)
    best = Candidates(CATALOGUE, np.arange(ITEMS, dtype=np.int32), certain, same, score)
    found = set()
    for name in range(20):
        found.add(chooser(best, context(method, 5.0, str(name))).choose(ALL, score, 0)[0])
    assert len(found) > 1 if method == "thompson" else found == {ITEMS - 1}


def test_of_equal_scores_the_first_is_certain() -> None:
    """Interests that a boost has made alike, with logits that are too large to be told apart."""
    certain = np.full(ITEMS, 60, np.float32)
    score = np.where(np.arange(ITEMS) < 3, 2, 1).astype(np.float32)
    ones = np.ones(ITEMS, np.float32)
    equal = Candidates(CATALOGUE, np.arange(ITEMS, dtype=np.int32), certain, ones, score)
    assert chooser(equal, context("thompson", 0.5)).choose(ALL, score, 0) == (0, 1.0)
    feasible = np.arange(ITEMS) != 0
    assert chooser(equal, context("thompson", 0.5)).choose(feasible, score, 0) == (1, 1.0)


def test_an_item_that_equals_an_earlier_one_in_most_draws_is_best_in_few() -> None:
    logits = np.full(ITEMS, 0, np.float32)
    logits[:2] = 40, 60  # of which the first is drawn as low as to be told apart now and then
    score = np.where(np.arange(ITEMS) < 2, 2, 1).astype(np.float32)
    ones = np.ones(ITEMS, np.float32)
    pair = Candidates(CATALOGUE, np.arange(ITEMS, dtype=np.int32), logits, ones, score)
    found = dict(
        chooser(pair, context("thompson", 100.0, str(name))).choose(np.arange(ITEMS) < 2, score, 0)
        for name in range(30)
    )
    assert 0.6 < found[0] < 0.95
    assert 0.05 < found[1] < 0.4


def test_thompson_draws_anew_for_each_rank() -> None:
    def twice(name: str) -> bool:
        chooses = made("thompson", name=name)
        return chooses.choose(ALL, INTERESTS, 0)[0] == chooses.choose(ALL, INTERESTS, 1)[0]

    assert len({twice(str(name)) for name in range(20)}) == 2


@pytest.mark.parametrize("method", KINDS)
def test_the_only_feasible_item_is_certain(method: str) -> None:
    feasible = np.arange(ITEMS) == 11
    place, propensity = made(method).choose(feasible, INTERESTS, 0)
    assert place == 11
    assert propensity == pytest.approx(1.0)


@pytest.mark.parametrize(("drawn", "place"), [(0.0, 4), (1 - 2**-53, 2)])
def test_an_item_without_a_score_is_not_drawn(
    monkeypatch: pytest.MonkeyPatch, drawn: float, place: int
) -> None:
    class Fixed:
        def random(self) -> float:
            return drawn

    monkeypatch.setattr(exploration, "_generator", lambda _: Fixed())
    score = np.where(np.isin(np.arange(ITEMS), [2, 4]), INTERESTS, 0)
    found, propensity = made("softmax", 1.0, score=score).choose(ALL, score, 0)
    assert found == place
    odds = np.exp(CATALOGUE.calibration.scale * LOGITS[[2, 4]].astype(float))
    assert propensity == pytest.approx(odds[[2, 4].index(place)] / odds.sum())


def test_where_no_item_has_a_score_one_is_drawn_all_the_same() -> None:
    for method in KINDS:
        _, propensity = made(method, score=np.zeros(ITEMS, np.float32)).choose(ALL, INTERESTS, 0)
        assert 0 < propensity <= 1


def recommender(known: Catalogue = CATALOGUE, encoder: Any = None) -> Recommend:
    return Recommend(reader(known, 20), Scorer(known, encoder or EventSums()), CountedTexts())


def asked(
    method: str, name: str = "", *, recommend: Recommend | None = None, **options: object
) -> Tensors:
    request = user(["i3", "i4"], parameters={"explore": method, "top_k": 5, **options})
    (found,) = answer(recommend or recommender(), [replace(request, id=name)])
    if isinstance(found, Exception):
        raise found
    return found


@pytest.mark.parametrize("method", KINDS)
def test_an_answer_says_the_propensities_and_their_kind(method: str) -> None:
    found = asked(method, "r")
    assert found["PROPENSITY"].shape == (1, 5)
    assert found["PROPENSITY"].dtype == np.float32
    assert (found["PROPENSITY"] > 0).all()
    assert found["PROPENSITY_KIND"].tolist() == [[KINDS[method].encode()]]
    assert len(set(found["ITEM"][0])) == 5
    assert not set(found["ITEM"][0]) & {b"i3", b"i4"}


def test_nothing_is_said_unless_asked() -> None:
    (found,) = answer(recommender(), [Request(user(["i3"]).tensors, id="r")])
    assert not isinstance(found, Exception)
    assert not {"PROPENSITY", "PROPENSITY_KIND"} & found.keys()


@pytest.mark.parametrize("method", STOCHASTIC)
def test_a_request_of_the_same_id_gets_the_same_list(method: str) -> None:
    rate = RATES[method]
    first = asked(method, "é-1", explore_rate=rate)
    again = asked(method, "é-1", explore_rate=rate)
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)

    def different(names: Sequence[str]) -> int:
        return len({tuple(asked(method, each, explore_rate=rate)["ITEM"][0]) for each in names})

    assert different([f"r{number}" for number in range(10)]) > 1
    assert different([""] * 10) > 1  # no id


def test_chance_on_a_page_is_not_that_of_the_page_before() -> None:
    """All pages may have one id; yet the first random number of a page tells nothing of another."""
    seconds, best = [], asked("", top_k=1)["ITEM"]
    for name in range(400):
        given: dict[str, Any] = {"explore_rate": 1.0, "top_k": 1}
        first = asked("softmax", str(name), cursor="start", **given)
        if first["ITEM"] == best:
            cursor = first["CURSOR"][0, 0].decode()
            second = asked("softmax", str(name), cursor=cursor, **given)
            again = asked("softmax", str(name), cursor=cursor, **given)
            assert second["ITEM"] == again["ITEM"]
            seconds.append((second["ITEM"][0, 0], float(second["PROPENSITY"][0, 0])))
    assert len(seconds) > 100
    often = Counter(item for item, _ in seconds)
    for item, propensity in set(seconds):
        deviation = (propensity * (1 - propensity) / len(seconds)) ** 0.5
        assert abs(often[item] / len(seconds) - propensity) < 4 * deviation + 0.01


@pytest.mark.parametrize("rules", [{}, {"limits": "at most 2 per genre", "pins": '"i7" at 2'}])
@pytest.mark.parametrize("method", ["softmax", "ucb"])
def test_the_trace_says_what_chance_moved(method: str, rules: dict[str, str]) -> None:
    given: dict[str, Any] = {"top_k": 6, "trace": True, **rules}
    plain, found = asked("", **given), asked(method, "r", explore_rate=3.0, **given)
    before, after = ([each.decode() for each in some["ITEM"][0]] for some in (plain, found))
    told = json.loads(found["TRACE"][0, 0])
    assert before != after
    for rank, item in enumerate(after, 1):
        notes = [each for each in told["items"].get(item, []) if each.startswith("explore")]
        if item not in before:
            assert notes == [f"explore {method}: to rank {rank}"]
        elif before[rank - 1] != item:
            assert notes == [f"explore {method}: rank {before.index(item) + 1} to {rank}"]
        else:
            assert notes == []
    out = {item for item, rule in told["removed"].items() if rule == "explore"}
    assert out == set(before) - set(after)
    assert b"explore" not in plain["TRACE"][0, 0]


def test_items_beyond_the_list_get_a_chance() -> None:
    plain = set(asked("", "r")["ITEM"][0])
    random = set(asked("greedy", "r", explore_rate=1)["ITEM"][0])
    assert random - plain


def test_an_item_keeps_its_own_interest() -> None:
    every = asked("", "r", top_k=20)
    interests = dict(zip(every["ITEM"][0], every["INTEREST"][0], strict=True))
    found = asked("greedy", "r", explore_rate=1)
    known = [each for each in found["ITEM"][0] if each in interests]
    assert known
    for item, interest in zip(found["ITEM"][0], found["INTEREST"][0], strict=True):
        if item in known:
            assert interest == interests[item]


def test_popular_items_for_all_are_not_explored() -> None:
    class NoStates(EventSums):
        def __call__(self, _: Any) -> Any:
            raise Unavailable("gone")

    known = replace(CATALOGUE, popular=np.arange(20, dtype=np.int32))
    found = asked("greedy", "r", explore_rate=1, recommend=recommender(known, NoStates()))
    assert found["FALLBACK"].tolist() == [[1]]
    assert found["ITEM"][0].tolist() == [b"i0", b"i1", b"i2", b"i5", b"i6"]
    assert found["PROPENSITY"].tolist() == [[1.0] * 5]
    assert found["PROPENSITY_KIND"].tolist() == [[b"deterministic"]]


def test_a_probability_is_at_most_one() -> None:
    with pytest.raises(
        InvalidRequest, match=r"explore_rate is 1\.5; with explore 'greedy' .* at most"
    ):
        asked("greedy", explore_rate=1.5)
    asked("softmax", explore_rate=1.5)


@pytest.mark.parametrize("method", ["thompson", "ucb"])
def test_a_model_without_uncertainties_is_to_be_exported_again(method: str) -> None:
    known = replace(CATALOGUE, uncertainty=np.zeros(0, np.float32))
    with pytest.raises(InvalidRequest, match=f"explore is '{method}'.* export it again"):
        asked(method, recommend=recommender(known))
    assert asked("softmax", recommend=recommender(known))["PROPENSITY"].all()
