"""What of an item file is new to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from builder.data import Catalogue
from builder.export.add_items import _unknown
from tests.unit.model.tiny import recommender


def test_new_items_keep_all_that_the_file_says_of_them(backbone: Path) -> None:
    file = Catalogue(
        ["n0", "i3", "n1"],
        ["a cat", "known", "a dog"],
        pd.DataFrame({"title": ["cat", "known", "dog"]}),
        {"image": np.array([[1, 2], [3, 4], [5, 6]], np.float32)},
    )
    new = _unknown(recommender(backbone), file)
    assert new.item_ids == ["n0", "n1"]
    assert new.texts == ["a cat", "a dog"]
    assert new.columns["title"].tolist() == ["cat", "dog"]
    assert new.vectors["image"].tolist() == [[1, 2], [5, 6]]
