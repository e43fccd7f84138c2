from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.model import neighbourhood
from builder.model.neighbourhood import neighbourhood_among, served_neighbourhood
from builder.model.popularity import Popularity
from tests.unit.builder.model.tiny import ITEMS, recommender


def test_of_a_large_catalogue_some_items_are_served_with_all_that_is_theirs(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = np.random.default_rng(0).uniform(0, 3, (2, ITEMS)).astype(np.float32)
    model = replace(recommender(backbone), popularity=Popularity(*counts))
    everyone, _ = neighbourhood_among(model)
    monkeypatch.setattr(neighbourhood, "SERVED", 5)
    some = served_neighbourhood(model)
    assert len(some.items) == 5
    places = [everyone.items.tolist().index(item) for item in some.items]
    for name in ("directions", "bias", "rate"):
        np.testing.assert_array_equal(getattr(some, name), getattr(everyone, name)[places])
