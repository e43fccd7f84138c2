from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.length_batches import length_batches, padded_lengths


def cost(lengths: list[int], batches: list[list[int]], run_cost: int) -> int:
    return sum(run_cost + len(b) * max(lengths[place] for place in b) for b in batches)


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from([0, 5, 32, 190]))
def test_no_division_of_the_sorted_rows_costs_less(lengths: list[int], run_cost: int) -> None:
    batches = length_batches(lengths, run_cost)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for cuts in itertools.product([False, True], repeat=max(0, len(lengths) - 1)):
        other: list[list[int]] = [order[:1]] if order else []
        for place, cut in zip(order[1:], cuts, strict=True):
            if cut:
                other.append([])
            other[-1].append(place)
        assert cost(lengths, batches, run_cost) <= cost(lengths, other, run_cost)


@given(st.lists(st.integers(0, 60), max_size=20), st.integers(1, 5))
def test_no_run_is_larger_than_it_may_be(lengths: list[int], most: int) -> None:
    batches = length_batches(lengths, most=most)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(0 < len(batch) <= most for batch in batches)
    assert [*itertools.chain(*batches)] == [*itertools.chain(*length_batches(lengths))]


def test_lengths_are_rounded_up_to_those_that_an_engine_takes() -> None:
    assert padded_lengths([0, 4, 5, 16], [4, 8, 16]) == [4, 4, 8, 16]
    assert padded_lengths([0, 7], ()) == [0, 7]
