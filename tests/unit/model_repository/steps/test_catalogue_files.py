"""What is written comes back, and the memory of it can be shared."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_repository.core.attributes import (
    NO_DATE,
    Attributes,
    BooleanColumn,
    DateColumn,
    ListColumn,
    NumberColumn,
    list_column,
    text_column,
)
from model_repository.core.calibration import Calibration
from model_repository.core.catalogue import Catalogue
from model_repository.core.identifiers import Identifiers, Strings
from model_repository.core.trend import Trend
from model_repository.steps.catalogue_files import load_catalogue, save_catalogue
from tests.unit.model_repository.catalogues import catalogue

BLANK = Catalogue(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
CATALOGUES = {
    "full": replace(
        catalogue(12, cold=(3, 7), cold_rank=5),
        popular=np.array([5, 2], np.int32),
        uncertainty=np.linspace(0.2, 1, 12, dtype=np.float32),
        cold_neighbours=np.array([[1, 2], [0, 11]], np.int32),
        text_part=np.ones((12, 4), np.float32),
        log_events=np.linspace(0, 3, 12, dtype=np.float32),
        trend=Trend(3_600.0, 0.5, np.linspace(1.0, 2.0, 12), 1_700_000_000),
        ids=Identifiers.of(["", "ï", "a\nb", *(f"n{number}" for number in range(9))]),
        attributes=Attributes(
            {
                "genre": text_column([f"é{number % 3}" for number in range(12)]),
                "../odd name": text_column([None] * 12),
                "tags": list_column([["b", "a"], [], *([["é"]] * 10)], "|;,"),
                "price": NumberColumn(np.linspace(0.5, 9, 12)),
                "adult": BooleanColumn(np.array([-1, 0, 1] * 4, np.int8)),
                "released": DateColumn(np.array([NO_DATE, *range(11)])),
            }
        ),
    ),
    "empty": BLANK,
    "calibrated as by default": replace(catalogue(5), calibration=Calibration()),
}


def assert_equal(found: object, expected: object) -> None:
    """Of arrays, and of what is made of them."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert_equal(found[name], value)
    elif isinstance(expected, Identifiers):
        assert isinstance(found, Identifiers)
        assert_equal(found.strings, expected.strings)
        assert_equal(found.table, expected.table)
        ids = [expected.strings[place] for place in range(len(expected))]
        assert found.indices([*ids, b"unknown"]) == [*range(len(ids)), None]
    elif isinstance(expected, (int, float, str, Calibration)):
        assert found == expected
    else:
        for field in fields(expected):  # type: ignore[arg-type]
            assert_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_catalogue_comes_back(tmp_path: Path, name: str) -> None:
    save_catalogue(tmp_path, CATALOGUES[name])
    found = load_catalogue(tmp_path)
    assert_equal(found, CATALOGUES[name])
    assert len(found) == len(CATALOGUES[name])


def test_an_earlier_export_does_not_know_what_is_popular_or_sure(tmp_path: Path) -> None:
    save_catalogue(tmp_path, CATALOGUES["full"])
    for name in ("popular", "uncertainty", "log_events"):
        (tmp_path / f"{name}.npy").unlink()
    assert_equal(load_catalogue(tmp_path).popular, np.zeros(0, np.int32))
    for name in ("uncertainty", "log_events"):
        assert_equal(getattr(load_catalogue(tmp_path), name), np.zeros(0, np.float32))


def test_the_columns_of_an_earlier_export_are_texts(tmp_path: Path) -> None:
    """They lie one after the other, and an item without a value has an empty one."""
    save_catalogue(tmp_path, replace(CATALOGUES["full"], attributes=Attributes()))
    strings = Strings.of(["b", "", *(["a"] * 10)])
    np.save(tmp_path / "attribute-0_content.npy", strings.content)
    np.save(tmp_path / "attribute-0_offsets.npy", strings.offsets)
    settings = json.loads((tmp_path / "catalogue.json").read_text())
    (tmp_path / "catalogue.json").write_text(json.dumps(settings | {"attributes": ["brand"]}))
    found = load_catalogue(tmp_path).attributes
    assert found.kind("brand") == "text"
    assert found.values("brand", np.arange(3, dtype=np.int32)) == ["b", None, "a"]


def test_an_earlier_export_does_not_know_what_separates_values(tmp_path: Path) -> None:
    save_catalogue(tmp_path, CATALOGUES["full"])
    settings = json.loads((tmp_path / "catalogue.json").read_text())
    del settings["separators"]
    (tmp_path / "catalogue.json").write_text(json.dumps(settings))
    tags = load_catalogue(tmp_path).attributes.column("tags")
    assert isinstance(tags, ListColumn)
    assert tags.separators == "|;"


def test_an_earlier_export_does_not_know_what_only_reasons_and_searches_need(
    tmp_path: Path,
) -> None:
    save_catalogue(tmp_path, CATALOGUES["full"])
    for name in ("cold_neighbours", "text_part", "other_texts"):
        (tmp_path / f"{name}.npy").unlink()
    found = load_catalogue(tmp_path)
    assert_equal(found.cold_neighbours, np.zeros(0, np.int32))
    assert_equal(found.text_part, np.zeros(0, np.float32))
    assert_equal(found.other_texts, np.zeros(0, np.float32))


def test_new_items_of_an_earlier_export_have_the_mean_bias_of_their_neighbours(
    tmp_path: Path,
) -> None:
    full = CATALOGUES["full"]
    save_catalogue(tmp_path, full)
    for name in ("neighbour_bias", "neighbour_rate"):
        (tmp_path / f"{name}.npy").unlink()
    found = load_catalogue(tmp_path)
    text = np.ones((2, full.neighbourhood.text_mean.shape[0]), np.float32)
    placed = found.neighbourhood.place(text, found.vectors)
    mean = (full.bias[placed.items] * placed.weights).sum(1)
    np.testing.assert_allclose(placed.bias, mean, rtol=1e-5, atol=1e-6)


def test_no_name_of_a_column_becomes_one_of_a_file(tmp_path: Path) -> None:
    directory = tmp_path / "version"
    directory.mkdir()
    save_catalogue(directory, CATALOGUES["full"])
    assert [each.name for each in tmp_path.iterdir()] == ["version"]
    assert not [each.name for each in directory.iterdir() if "odd" in each.name]


def test_arrays_are_mapped_and_not_read(tmp_path: Path) -> None:
    """What processes map from a file they share, and nobody may write to it."""
    save_catalogue(tmp_path, CATALOGUES["full"])
    found = load_catalogue(tmp_path)
    arrays: list[NDArray[Any]] = [
        found.vectors, found.bias, found.linear_index, found.linear_value, found.ids.table,
        found.ids.strings.content, found.ids.strings.offsets, found.neighbourhood.directions,
    ]  # fmt: skip
    for column in found.attributes.columns.values():
        for part in fields(column):
            array = getattr(column, part.name)
            if isinstance(array, str):
                continue
            arrays += [array.content, array.offsets] if isinstance(array, Strings) else [array]
    assert len(arrays) == 8 + 2 * 3 + 6 + 3
    for array in arrays:
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable
    # An array over memory of its own is not one that others share.
    for view in (found.ids._content, found.ids._offsets, found.ids._table):
        assert view.readonly


def test_arrays_that_lie_crosswise_are_written_straight(tmp_path: Path) -> None:
    crosswise = replace(catalogue(9), vectors=np.asfortranarray(catalogue(9).vectors))
    save_catalogue(tmp_path, crosswise)
    found = load_catalogue(tmp_path)
    np.testing.assert_array_equal(found.vectors, crosswise.vectors)
    assert found.vectors.flags.c_contiguous


def test_settings_are_readable(tmp_path: Path) -> None:
    save_catalogue(tmp_path, CATALOGUES["full"])
    assert json.loads((tmp_path / "catalogue.json").read_text()) == {
        "calibration": {"scale": 0.7, "shift": -0.3, "ceiling": 0.95},
        "cold_place": 5,
        "attributes": {
            "genre": "text",
            "../odd name": "text",
            "tags": "list",
            "price": "number",
            "adult": "boolean",
            "released": "date",
        },
        "separators": {"tags": "|;,"},
        "trend": {"time_constant": 3600.0, "weight": 0.5, "until": 1_700_000_000},
    }
