from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.data import Holdout
from builder.model.calibration import (
    NEGATIVES,
    LabelledLogits,
    draw_pairs,
    expected_calibration_error,
    fit_calibration,
    joined,
    reliability,
)
from model_repository.core.calibration import Calibration
from tests.unit.builder.model.tiny import sequences


def simulated(
    scale: float, shift: float, count: int = 20_000, ceiling: float = 1.0
) -> LabelledLogits:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, count)
    is_next = random.random(count) < Calibration(scale, shift, ceiling).interest(logits)
    return LabelledLogits(logits, is_next, np.ones(count))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 1.5), (3.0, -2.0)])
@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_platt_recovers_what_made_the_data(scale: float, shift: float, unit: float) -> None:
    pairs = simulated(scale, shift)
    scaled = LabelledLogits(unit * pairs.logits, pairs.is_next, pairs.weights)
    found = fit_calibration(scaled)
    assert found.scale * unit == pytest.approx(scale, rel=0.1)
    assert found.shift == pytest.approx(shift, abs=0.1)
    assert expected_calibration_error(found, scaled) < 0.01
    assert expected_calibration_error(Calibration(scale / unit / 5, shift + 2), scaled) > 0.1


def test_where_the_largest_logits_are_not_certain_the_ceiling_says_so() -> None:
    pairs = simulated(1.0, 0.5, ceiling=0.9)
    found = fit_calibration(pairs)
    assert found.ceiling == pytest.approx(0.9, abs=0.01)
    assert found.scale == pytest.approx(1, rel=0.1)
    assert found.shift == pytest.approx(0.5, abs=0.1)
    assert expected_calibration_error(found, pairs) < 0.01
    assert fit_calibration(simulated(1.0, 0.5)).ceiling > 0.99


def test_logits_that_tell_the_wrong_way_round_keep_their_order() -> None:
    logits = np.linspace(-2, 2, 40)
    found = fit_calibration(LabelledLogits(logits, logits < 0, np.ones(40)))
    assert found.scale > 0
    assert (np.diff(found.interest(logits.astype(np.float32))) > 0).all()


def test_weights_count_as_copies() -> None:
    pairs = simulated(0.7, 0.2, 500)
    copies = np.where(pairs.is_next, 3, 1)
    repeated = LabelledLogits(
        np.repeat(pairs.logits, copies), np.repeat(pairs.is_next, copies), np.ones(copies.sum())
    )
    weighted = LabelledLogits(pairs.logits, pairs.is_next, copies.astype(float))
    one, other = fit_calibration(weighted), fit_calibration(repeated)
    assert one.scale == pytest.approx(other.scale, rel=1e-3)
    assert one.shift == pytest.approx(other.shift, rel=1e-2, abs=1e-3)
    assert expected_calibration_error(one, weighted) == pytest.approx(
        expected_calibration_error(one, repeated)
    )


def test_perfect_calibration_has_no_error_and_the_opposite_all() -> None:
    far = LabelledLogits(np.array([-50.0, 50.0]), np.array([False, True]), np.ones(2))
    assert expected_calibration_error(Calibration(), far) == pytest.approx(0, abs=1e-9)
    wrong = LabelledLogits(far.logits, ~far.is_next, far.weights)
    assert expected_calibration_error(Calibration(), wrong) == pytest.approx(1)
    even = LabelledLogits(np.zeros(4), np.array([True, False] * 2), np.ones(4))
    assert expected_calibration_error(Calibration(), even) == 0


def test_calibration_error_by_hand() -> None:
    logits = np.log(np.array([0.25, 0.25, 0.75]) / (1 - np.array([0.25, 0.25, 0.75])))
    pairs = LabelledLogits(logits, np.array([True, False, True]), np.array([1.0, 1.0, 2.0]))
    # |1/2 - 1/4| with weight 2 and |1 - 3/4| with weight 2, of 4
    assert expected_calibration_error(Calibration(), pairs) == pytest.approx(0.25)


def of_users(users: int, apart: float, random: np.random.Generator) -> LabelledLogits:
    """Next items and random ones from two normal distributions, whose log ratio is the logit."""
    next_items = random.normal(apart, np.sqrt(2 * apart), users)
    others = random.normal(-apart, np.sqrt(2 * apart), NEGATIVES * users)
    weights = np.concatenate([np.ones(users), np.full(len(others), 1 / NEGATIVES)])
    is_next = np.arange(len(weights)) < users
    return LabelledLogits(np.concatenate([next_items, others]), is_next, weights)


@pytest.mark.parametrize("users", [20, 100, 1000])
@pytest.mark.parametrize("apart", [0.2, 1.0])
def test_the_calibration_error_that_chance_makes(users: int, apart: float) -> None:
    random = np.random.default_rng(0)
    drawn = [reliability(Calibration(), of_users(users, apart, random)) for _ in range(200)]
    error = np.mean([each.error for each in drawn])
    assert np.mean([each.error_by_chance for each in drawn]) == pytest.approx(error, rel=0.15)
    wrong = reliability(Calibration(shift=1.0), of_users(users, apart, random))
    assert wrong.error > 1.5 * wrong.error_by_chance
    nobody = LabelledLogits(np.zeros(2), np.zeros(2, np.bool_), np.ones(2))
    assert reliability(Calibration(), nobody).error_by_chance == 0


@given(st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=1, max_size=30))
def test_interest_never_turns_the_order_of_logits_round(pairs: list[tuple[float, bool]]) -> None:
    logits = np.array([logit for logit, _ in pairs])
    is_next = np.array([label for _, label in pairs])
    found = fit_calibration(LabelledLogits(logits, is_next, np.ones(len(pairs))))
    assert found.scale >= 0
    assert np.isfinite([found.scale, found.shift]).all()
    assert 0.8 <= found.ceiling <= 1
    assert (np.diff(found.interest(np.sort(logits))) >= 0).all()


def test_logits_that_are_all_alike_leave_the_share_of_those_of_next_items() -> None:
    pairs = LabelledLogits(np.full(4, -7.0), np.array([True, False, False, False]), np.ones(4))
    found = fit_calibration(pairs)
    np.testing.assert_allclose(found.interest(pairs.logits), 0.25, rtol=1e-3)
    assert found.scale > 0


def test_negatives_are_neither_seen_nor_the_target_and_weigh_as_much() -> None:
    holdout = Holdout(sequences([0, 1], [], [2, 3, 1]), np.array([2, 4, 0], np.int32))
    logits = np.arange(15, dtype=np.float32).reshape(3, 5)  # each tells its user and item
    pairs = draw_pairs(logits, holdout, np.random.default_rng(0))
    assert pairs.logits[pairs.is_next].tolist() == [2, 9, 10]
    assert set(pairs.logits[~pairs.is_next]) == {3, 4, 5, 6, 7, 8, 14}
    assert (~pairs.is_next).sum() == 3 * NEGATIVES
    assert pairs.weights[pairs.is_next].sum() == pytest.approx(pairs.weights[~pairs.is_next].sum())
    twice = joined([pairs, pairs])
    assert len(twice.logits) == 2 * len(pairs.logits)
    assert twice.weights.sum() == pytest.approx(2 * pairs.weights.sum())


def test_users_who_have_met_everything_leave_nothing_to_calibrate() -> None:
    holdout = Holdout(sequences([0, 1]), np.array([2], np.int32))
    pairs = draw_pairs(np.ones((1, 3), np.float32), holdout, np.random.default_rng(0))
    assert pairs.is_next.tolist() == [True]
    assert fit_calibration(pairs) == Calibration()
