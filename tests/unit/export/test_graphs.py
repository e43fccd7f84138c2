from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from builder.export.graphs import AdapterGraph, RetrieverGraph
from builder.model.linear import LinearTerm
from builder.model.recommender import Recommender, encode_texts
from model_repository.slots import NO_ITEM
from tests.new_text import logit_of_text
from tests.unit.model.tiny import ITEMS, sequences

slots = st.lists(st.integers(-2, ITEMS - 1), max_size=6)  # -1 and -2: texts of the request
excluded = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS, unique=True)


def row(values: list[int]) -> Tensor:
    return torch.tensor([values], dtype=torch.int32).reshape(1, -1)


def vector(model: Recommender) -> Tensor:
    return model.text_vectors[:2]


def context(history: list[int]) -> tuple[Tensor, Tensor]:
    """Some actions and gaps for a history."""
    return row([slot % 3 for slot in history]), row([slot % 5 for slot in history])


@settings(deadline=None, max_examples=40)
@given(history=slots, exclude=excluded)
def test_both_forms_of_the_linear_term_are_the_same(
    model: Recommender, history: list[int], exclude: list[int]
) -> None:
    inputs = (vector(model), row(history), *context(history), row(exclude))
    with torch.no_grad():
        one = RetrieverGraph(model, ITEMS, "scatter_add")(*inputs)
        other = RetrieverGraph(model, ITEMS, "rows")(*inputs)
        by_item = [
            torch.empty_like(best).scatter(1, index.long(), best) for index, _, best in (one, other)
        ]
    torch.testing.assert_close(*by_item)


def test_an_event_that_repeats_counts_each_time(model: Recommender) -> None:
    graph = RetrieverGraph(model, ITEMS, "rows")
    expected = torch.zeros(1, ITEMS)
    matrix = torch.from_numpy(model.linear.matrix.toarray())
    for age, item in enumerate(reversed([3, 1, 3])):
        expected += model.linear.weight * model.linear.decay**age * matrix[item]
    torch.testing.assert_close(graph.linear(torch.tensor([[3, 1, 3]])), expected)


def test_unused_places_of_a_row_do_not_overwrite_the_first_item(model: Recommender) -> None:
    # A row of neighbours may be short: its unused places have index 0 and value 0.
    index = np.zeros((ITEMS, 3), np.int32)
    value = np.zeros((ITEMS, 3), np.float32)
    value[:, 0] = 0.5
    short = dataclasses.replace(model, linear=LinearTerm(index, value, decay=1.0, weight=1.0))
    for form in ("scatter_add", "rows"):
        found = AdapterGraph(short, form).linear(torch.tensor([[4, 7]]))  # type: ignore[arg-type]
        torch.testing.assert_close(found, torch.eye(1, ITEMS))


@pytest.mark.parametrize("form", ["scatter_add", "rows"])
@settings(deadline=None, max_examples=25)
@given(history=slots, exclude=excluded, padding=st.integers(0, 2))
def test_slots_of_no_item_count_for_nothing(
    model: Recommender, form: str, history: list[int], exclude: list[int], padding: int
) -> None:
    history = history[: 6 - padding]
    actions, gaps = context(history)
    blank = row([0] * padding)
    none = row([NO_ITEM] * padding)
    retriever = RetrieverGraph(model, 5, form)  # type: ignore[arg-type]
    adapter = AdapterGraph(model, form)  # type: ignore[arg-type]
    plain = (vector(model), row(history), actions, gaps)
    padded = (
        vector(model),
        torch.cat([row(history), none], 1),
        torch.cat([actions, blank], 1),
        torch.cat([gaps, blank], 1),
    )
    candidates = row([0, 5, -1, NO_ITEM])
    with torch.no_grad():
        torch.testing.assert_close(
            retriever(*plain, row(exclude)), retriever(*padded, torch.cat([row(exclude), none], 1))
        )
        torch.testing.assert_close(
            adapter(*plain, candidates), adapter(*padded, candidates), equal_nan=True
        )


def test_a_candidate_of_no_item_has_no_score(model: Recommender) -> None:
    with torch.no_grad():
        interest, logit = AdapterGraph(model, "rows")(
            vector(model), row([1]), row([0]), row([0]), row([NO_ITEM, 2, -1])
        )
    np.testing.assert_array_equal(logit.isnan().numpy(), [[True, False, False]])
    np.testing.assert_array_equal(interest.isnan().numpy(), [[True, False, False]])


def test_a_text_of_the_request_stands_where_its_neighbours_do(
    model: Recommender,
) -> None:
    met = np.arange(ITEMS) % 3 > 0
    model = dataclasses.replace(model, met=met)
    text = "the cats"
    with torch.no_grad():
        vectors = encode_texts(model.encoder, model.tokenizer, [text])
        _, logit = AdapterGraph(model)(vectors, row([3, 1]), row([0, 0]), row([0, 0]), row([-1, 2]))
    logits = model.scorer().scores(sequences([3, 1]))[0]
    assert float(logit[0, 0]) == pytest.approx(logit_of_text(model, text, logits), abs=1e-4)
    assert float(logit[0, 1]) == pytest.approx(logits[2], abs=1e-4)


def test_a_text_among_no_neighbours_stands_for_itself(model: Recommender) -> None:
    model = dataclasses.replace(model, met=np.zeros(ITEMS, bool))
    with torch.no_grad():
        graph = AdapterGraph(model)
        new = graph.from_text(vector(model))
        nothing = row([])
        _, logit = graph(vector(model), nothing, nothing, nothing, row([-1, -2]))
        start = model.adapter.states(torch.zeros(1, 0, graph.item_vectors.shape[1]), *[nothing] * 2)
    torch.testing.assert_close(new.vectors, model.adapter.from_text(vector(model)))
    torch.testing.assert_close(logit[0], new.vectors @ start[0, -1])
