"""A `Catalogue` as files of a directory, which the processes of a server map and so share."""

from __future__ import annotations

import json
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
_EVENTS: Final = "log_events"
_LENT: Final = "neighbour_bias"
_TREND: Final = "trend_level"
TREND_FILES: Final = (
    CATALOGUE_FILE,
    *(f"{name}.npy" for name in (_TREND, "id_content", "id_offsets", "id_table")),
)
"""What `load_trend` reads."""
_NO_INDICES: Final = np.zeros(0, np.int32)
_NO_FLOATS: Final = np.zeros(0, np.float32)


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
        _EVENTS: catalogue.log_events,
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
        "trend": catalogue.trend.settings if catalogue.trend else None,
    }
    (directory / CATALOGUE_FILE).write_text(json.dumps(settings, indent=2), "utf-8")


def load_catalogue(directory: Path) -> Catalogue:
    """Map the files that `save_catalogue` wrote."""
    settings = _settings(directory)

    def mapped(name: str) -> NDArray[Any]:
        return _mapped(directory, name)

    neighbours = mapped("neighbour")
    lent = _has(directory, _LENT)
    return Catalogue(
        ids=_ids(directory),
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
        trend=_trend(directory, settings),
        calibration=Calibration(**settings["calibration"]),
        attributes={
            name: _strings(directory, f"{_ATTRIBUTE}{number}")
            for number, name in enumerate(settings["attributes"])
        },
        # Earlier exports have none.
        popular=mapped(_POPULAR) if _has(directory, _POPULAR) else _NO_INDICES,
        log_events=mapped(_EVENTS) if _has(directory, _EVENTS) else _NO_FLOATS,
    )


def load_trend(directory: Path) -> tuple[Identifiers, Trend]:
    """The ids and the trend alone, of `TREND_FILES`."""
    return _ids(directory), _trend(directory, _settings(directory))


def _settings(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / CATALOGUE_FILE).read_text("utf-8"))
    return found


def _has(directory: Path, name: str) -> bool:
    return (directory / f"{name}.npy").exists()


def _mapped(directory: Path, name: str) -> NDArray[Any]:
    # Read when it is looked at.
    return np.asarray(np.load(directory / f"{name}.npy", mmap_mode="r"))


def _strings(directory: Path, name: str) -> Strings:
    return Strings(_mapped(directory, f"{name}_content"), _mapped(directory, f"{name}_offsets"))


def _ids(directory: Path) -> Identifiers:
    return Identifiers(_strings(directory, "id"), _mapped(directory, "id_table"))


def _trend(directory: Path, settings: dict[str, Any]) -> Trend:
    found = settings.get("trend")
    if found is None:  # earlier exports have none either
        return NO_TREND
    return Trend(level=_mapped(directory, _TREND), **found)
