"""A `Catalogue` as files of a directory, which the processes of a server map and so share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.calibration import Calibration
from ..core.catalogue import Catalogue
from ..core.identifiers import Identifiers, Strings
from ..core.items import Neighbourhood
from ..core.trend import NO_TREND, Trend

CATALOGUE_FILE: Final = "catalogue.json"
_ATTRIBUTE: Final = "attribute-"
_POPULAR: Final = "popular"
_LENT: Final = "neighbour_bias"
_TREND: Final = "trend_level"
_NONE: Final = np.zeros(0, np.int32)


def save_catalogue(directory: Path, catalogue: Catalogue) -> None:
    """Write the files; `load_catalogue` reads them."""
    nearby = catalogue.neighbourhood
    arrays: dict[str, NDArray[Any]] = {
        "item_vectors": catalogue.vectors,
        "item_bias": catalogue.bias,
        "linear_index": catalogue.linear_index,
        "linear_value": catalogue.linear_value,
        "decay": catalogue.decay,
        "cold": catalogue.cold,
        "text_mean": nearby.text_mean,
        "text_weight": nearby.text_weight,
        "text_bias": nearby.text_bias,
        "neighbour": nearby.items,
        "neighbour_direction": nearby.directions,
        _LENT: nearby.bias,
        "neighbour_rate": nearby.rate,
        "profile": catalogue.profile,
        _POPULAR: catalogue.popular,
        "id_table": catalogue.ids.table,
    }
    if catalogue.trend:
        arrays[_TREND] = catalogue.trend.level
    strings = {"id": catalogue.ids.strings} | {
        f"{_ATTRIBUTE}{number}": column
        for number, column in enumerate(catalogue.attributes.values())
    }
    for name, column in strings.items():
        arrays |= {f"{name}_content": column.content, f"{name}_offsets": column.offsets}
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", np.ascontiguousarray(array))
    settings = {
        "calibration": asdict(catalogue.calibration),
        "cold_place": catalogue.cold_rank,
        "attributes": list(catalogue.attributes),
        "trend": _trend_settings(catalogue.trend),
    }
    (directory / CATALOGUE_FILE).write_text(json.dumps(settings, indent=2), "utf-8")


def load_catalogue(directory: Path) -> Catalogue:
    """Map the files that `save_catalogue` wrote."""
    settings = json.loads((directory / CATALOGUE_FILE).read_text("utf-8"))

    def mapped(name: str) -> NDArray[Any]:
        # Read when it is looked at.
        return np.asarray(np.load(directory / f"{name}.npy", mmap_mode="r"))

    def strings(name: str) -> Strings:
        return Strings(mapped(f"{name}_content"), mapped(f"{name}_offsets"))

    neighbours = mapped("neighbour")
    lent = (directory / f"{_LENT}.npy").exists()
    return Catalogue(
        ids=Identifiers(strings("id"), mapped("id_table")),
        vectors=mapped("item_vectors"),
        bias=mapped("item_bias"),
        linear_index=mapped("linear_index"),
        linear_value=mapped("linear_value"),
        decay=mapped("decay"),
        cold=mapped("cold"),
        cold_rank=settings["cold_place"],
        neighbourhood=Neighbourhood(
            text_mean=mapped("text_mean"),
            text_weight=mapped("text_weight"),
            text_bias=mapped("text_bias"),
            items=neighbours,
            directions=mapped("neighbour_direction"),
            # Earlier exports take all items to be as popular.
            bias=mapped(_LENT) if lent else mapped("item_bias")[neighbours],
            rate=mapped("neighbour_rate") if lent else np.ones(len(neighbours), np.float32),
        ),
        profile=mapped("profile"),
        trend=_trend(settings.get("trend"), mapped),
        calibration=Calibration(**settings["calibration"]),
        attributes={
            name: strings(f"{_ATTRIBUTE}{number}")
            for number, name in enumerate(settings["attributes"])
        },
        # Earlier exports have none.
        popular=mapped(_POPULAR) if (directory / f"{_POPULAR}.npy").exists() else _NONE,
    )


def _trend_settings(trend: Trend) -> dict[str, Any] | None:
    if not trend:
        return None
    return {
        "time_constant": trend.time_constant,
        "weight": trend.weight,
        "until": trend.until,
    }


def _trend(settings: dict[str, Any] | None, mapped: Callable[[str], NDArray[Any]]) -> Trend:
    if settings is None:  # earlier exports have none either
        return NO_TREND
    return Trend(level=mapped(_TREND), **settings)
