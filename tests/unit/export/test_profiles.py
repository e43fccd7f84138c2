from __future__ import annotations

import dataclasses

import pytest

from builder.export.layout import Layout
from builder.export.parity import Grid
from builder.export.profiles import profiles, whole_range
from builder.model.recommender import Recommender
from model_repository.core.contract import ADAPTER, ENCODER, RETRIEVER, ModelSpec

GRAPHS = [ENCODER, ADAPTER, RETRIEVER]


@pytest.mark.parametrize("spec", GRAPHS, ids=lambda spec: spec.name)
def test_every_shape_of_the_gate_fits_one_profile_and_no_other(
    model: Recommender, layout: Layout, spec: ModelSpec
) -> None:
    found = profiles(spec, layout)
    shapes = [
        {name: value.shape for name, value in inputs.items()}
        for inputs in Grid(model, layout).inputs(spec)
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


def test_a_profile_is_ordered_and_has_the_contracts_inputs(layout: Layout) -> None:
    for spec in GRAPHS:
        for profile in (*profiles(spec, layout), whole_range(spec, layout)):
            assert list(profile) == [tensor.name for tensor in spec.inputs]
            for bounds in profile.values():
                assert bounds.holds(bounds.usual)


def test_texts_have_a_profile_for_each_length(layout: Layout) -> None:
    layout = dataclasses.replace(layout, length_buckets=(8, 16, 64), max_rows=128)
    found = [profile["INPUT_IDS"] for profile in profiles(ENCODER, layout)]
    assert [(each.smallest, each.usual, each.largest) for each in found] == [
        ((1, length), (16, length), (128, length)) for length in (8, 16, 64)
    ]
    whole = whole_range(ENCODER, layout)["INPUT_IDS"]
    assert (whole.smallest, whole.largest) == ((1, 8), (128, 64))
