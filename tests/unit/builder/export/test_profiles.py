from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from builder.export.layout import Layout, Limits
from builder.export.parity_inputs import Inputs, encoder_inputs, user_encoder_inputs
from builder.export.profiles import full_range, profiles
from builder.model.recommender import Recommender
from model_repository.core import contract
from model_repository.core.contract import ENCODER, USER_ENCODER, ModelSpec

GRIDS: dict[ModelSpec, Callable[[Recommender, Layout], Iterator[Inputs]]] = {
    ENCODER: encoder_inputs,
    USER_ENCODER: user_encoder_inputs,
}


@pytest.fixture
def lengths(layout: Layout) -> Layout:
    """With several lengths of texts and of histories."""
    return dataclasses.replace(layout, token_lengths=(3, 5, 8), event_lengths=(2, 6))


@pytest.mark.parametrize("spec", GRIDS, ids=lambda spec: spec.name)
def test_every_shape_of_the_gate_fits_one_profile_and_no_other(
    model: Recommender, lengths: Layout, spec: ModelSpec
) -> None:
    found = profiles(spec, lengths)
    assert len(found) == len(lengths.lengths(spec))
    shapes = [
        {name: value.shape for name, value in inputs.items()}
        for inputs in GRIDS[spec](model, lengths)
    ]
    for each in shapes:
        fitting = [
            number
            for number, profile in enumerate(found)
            if all(profile[name].holds(shape) for name, shape in each.items())
        ]
        assert len(fitting) == 1, each
    # and the gate goes to the corners of each
    for profile in found:
        for name, bounds in profile.items():
            tried = [each[name] for each in shapes]
            assert bounds.smallest in tried
            assert bounds.largest in tried


def test_a_profile_is_ordered_and_has_the_contracts_inputs(lengths: Layout) -> None:
    for spec in GRIDS:
        for profile in (*profiles(spec, lengths), full_range(spec, lengths)):
            assert list(profile) == [tensor.name for tensor in spec.inputs]
            for bounds in profile.values():
                assert bounds.holds(bounds.usual)


def test_texts_have_a_profile_for_each_length(layout: Layout) -> None:
    layout = dataclasses.replace(
        layout, token_lengths=(8, 16, 64), limits=Limits(max_rows=128, max_users=8)
    )
    found = [profile["INPUT_IDS"] for profile in profiles(ENCODER, layout)]
    assert [(each.smallest, each.usual, each.largest) for each in found] == [
        ((1, length), (16, length), (128, length)) for length in (8, 16, 64)
    ]
    full = full_range(ENCODER, layout)["INPUT_IDS"]
    assert (full.smallest, full.largest) == ((1, 8), (128, 64))


def test_histories_have_a_profile_for_each_length(layout: Layout) -> None:
    layout = dataclasses.replace(
        layout, event_lengths=(8, 32), limits=Limits(max_rows=128, max_users=64)
    )
    found = profiles(USER_ENCODER, layout)
    events = [profile[contract.EVENT.name] for profile in found]
    assert [(each.smallest, each.usual, each.largest) for each in events] == [
        ((1, length, 8), (16, length, 8), (64, length, 8)) for length in (8, 32)
    ]
    counts = [profile[contract.EVENT_COUNT.name] for profile in found]
    assert {(each.smallest, each.usual, each.largest) for each in counts} == {
        ((1, 1), (16, 1), (64, 1))
    }
    full = full_range(USER_ENCODER, layout)[contract.EVENT_AGE.name]
    assert (full.smallest, full.largest) == ((1, 8), (64, 32))
