from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.length_batches import _RUN_COST, length_batches


def cost(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(_RUN_COST + len(b) * max(lengths[place] for place in b) for b in batches)


@given(st.lists(st.integers(0, 60), max_size=8))
def test_no_division_of_the_sorted_rows_costs_less(lengths: list[int]) -> None:
    batches = length_batches(lengths)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for cuts in itertools.product([False, True], repeat=max(0, len(lengths) - 1)):
        other: list[list[int]] = [order[:1]] if order else []
        for place, cut in zip(order[1:], cuts, strict=True):
            if cut:
                other.append([])
            other[-1].append(place)
        assert cost(lengths, batches) <= cost(lengths, other)
