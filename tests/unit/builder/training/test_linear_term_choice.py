"""What stands beside the network where the network knows nothing, on logs that have one answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.data import Sequences, Split, leave_one_out
from builder.model.linear import LinearTerm
from builder.training.linear_term_choice import (
    ClosedForm,
    choose_closed_form,
    linear_terms,
    popularity_prior,
)
from tests.unit.builder.model.tiny import sequences

ITEMS = 40
TEXT = np.eye(ITEMS, dtype=np.float32)


def closed_form(
    split: Split, text: NDArray[np.float32], network: NDArray[np.float32] | None = None
) -> ClosedForm:
    if network is None:
        network = np.zeros((len(split.validation), ITEMS), np.float32)
    terms = linear_terms(split.train, text, keep=8)
    return choose_closed_form(terms, network, split.validation, max_history=10)


def pairs(*, events: int) -> Sequences:
    """Users who walk 2i, 2i + 1, 2i + 2 …; each item goes with the next."""
    return sequences(*[[(user + step) % ITEMS for step in range(events)] for user in range(ITEMS)])


def test_the_term_decides_where_the_network_knows_nothing() -> None:
    found = closed_form(leave_one_out(pairs(events=8)), TEXT)
    assert found.linear.weight > 0
    assert found.ndcg > 0.5


def test_the_network_decides_where_it_knows_all() -> None:
    split = leave_one_out(pairs(events=8))
    network = np.zeros((len(split.validation), ITEMS), np.float32)
    network[np.arange(len(network)), split.validation.targets] = 1.0
    found = closed_form(split, TEXT, network)
    assert (found.linear.weight, found.ndcg) == (0, 1)
    assert not found.prior.any()


def test_texts_speak_where_the_log_is_too_short() -> None:
    """One training event each: nothing is seen together, but what follows reads alike."""
    split = leave_one_out(pairs(events=3))
    angle = 2 * np.pi * np.arange(ITEMS) / ITEMS
    alike = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = closed_form(split, alike)
    assert found.linear.weight > 0
    assert found.ndcg > 0.5
    assert closed_form(split, TEXT).ndcg < 0.3


def test_popularity_is_what_is_left() -> None:
    log = sequences(*[[user % 30, 39, 38] for user in range(60)], *[[39]] * 80)
    found = closed_form(leave_one_out(log), TEXT)
    assert found.prior.argmax() == 39
    assert found.ndcg > 0.9


def test_the_prior_leaves_items_without_events_in_the_middle() -> None:
    prior = popularity_prior(np.array([0, 1, 4, 2, 2]))
    assert prior[0] == 0
    np.testing.assert_allclose(prior[1:], np.log([1, 4, 2, 2]) - np.log(2), atol=1e-6)


def test_neighbours_by_text_are_cosines_between_warm_items() -> None:
    random = np.random.default_rng(0)
    text = random.normal(size=(ITEMS, 5)).astype(np.float32)
    terms = linear_terms(sequences(list(range(30)), list(range(30))), text, keep=ITEMS)
    unit = text / np.linalg.norm(text, axis=1, keepdims=True)
    expected = unit @ unit.T
    np.fill_diagonal(expected, 0)
    expected[30:] = 0
    expected[:, 30:] = 0
    np.testing.assert_allclose(terms.text.matrix.toarray(), expected, atol=1e-6)
    assert isinstance(terms.together["EASE, λ 100"], LinearTerm)


def test_the_terms_say_how_far_they_are() -> None:
    told: list[tuple[str, int, int]] = []
    vectors = np.eye(4, 3, dtype=np.float32)
    linear_terms(sequences([0, 1, 2], [1, 2]), vectors, 2, progress=lambda *each: told.append(each))
    assert [done for _, done, _ in told] == list(range(10))  # six EASE, two of neighbours, by text
    assert {(task, total) for task, _, total in told} == {("linear terms", 9)}


def test_a_large_catalogue_has_a_linear_term_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.model.ease.DENSE_LIMIT", ITEMS - 1)
    told: list[tuple[str, int, int]] = []
    terms = linear_terms(pairs(events=8), TEXT, 8, progress=lambda *each: told.append(each))
    assert terms.together["EASE, λ 100"].value.any()
    assert ("EASE", ITEMS, ITEMS) in told
