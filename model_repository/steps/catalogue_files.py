"""A `Catalogue` as files of a directory, which the processes of a server map and so share."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.attributes import (
    SEPARATORS,
    Attributes,
    BooleanColumn,
    Column,
    DateColumn,
    ListColumn,
    NumberColumn,
    TextColumn,
    text_column,
)
from ..core.calibration import Calibration
from ..core.catalogue import Catalogue
from ..core.identifiers import Identifiers, Strings
from ..core.items import Neighbourhood
from ..core.trend import NO_TREND, Trend

CATALOGUE_FILE: Final = "catalogue.json"
_ATTRIBUTE: Final = "attribute-"
_POPULAR: Final = "popular"
_UNCERTAINTY: Final = "uncertainty"
_EVENTS: Final = "log_events"
_LENT: Final = "neighbour_bias"
_COLD_NEIGHBOURS: Final = "cold_neighbours"
_TEXT_PART: Final = "text_part"
_OTHER_TEXTS: Final = "other_texts"
_SEPARATORS: Final = "separators"
_TREND: Final = "trend_level"
TREND_FILES: Final = (
    CATALOGUE_FILE,
    *(f"{name}.npy" for name in (_TREND, "id_content", "id_offsets", "id_table")),
)
"""What `load_trend` reads."""


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
        _UNCERTAINTY: catalogue.uncertainty,
        _COLD_NEIGHBOURS: catalogue.cold_neighbours,
        _TEXT_PART: catalogue.text_part,
        _EVENTS: catalogue.log_events,
        _OTHER_TEXTS: catalogue.other_texts,
        "id_table": catalogue.ids.table,
    }
    if catalogue.trend:
        arrays[_TREND] = catalogue.trend.level
    arrays |= _of_strings("id", catalogue.ids.strings)
    columns = catalogue.attributes.columns
    for number, column in enumerate(columns.values()):
        arrays |= _of_column(f"{_ATTRIBUTE}{number}", column)
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", np.ascontiguousarray(array))
    settings = {
        "calibration": asdict(catalogue.calibration),
        "cold_place": catalogue.cold_rank,
        "attributes": {name: column.kind for name, column in columns.items()},
        _SEPARATORS: {
            name: column.separators
            for name, column in columns.items()
            if isinstance(column, ListColumn)
        },
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
        attributes=_attributes(directory, settings),
        **{
            name: mapped(name)
            for name in (
                _POPULAR,
                _UNCERTAINTY,
                _EVENTS,
                _COLD_NEIGHBOURS,
                _TEXT_PART,
                _OTHER_TEXTS,
            )
            if (directory / f"{name}.npy").exists()  # earlier exports have none
        },
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


def _of_strings(name: str, strings: Strings) -> dict[str, NDArray[Any]]:
    return {f"{name}_content": strings.content, f"{name}_offsets": strings.offsets}


def _of_column(name: str, column: Column) -> dict[str, NDArray[Any]]:
    """The arrays of a column; `_column` reads them."""
    match column:
        case TextColumn():
            return {f"{name}_codes": column.codes, **_of_strings(name, column.vocabulary)}
        case ListColumn():
            return {
                f"{name}_codes": column.codes,
                f"{name}_code_offsets": column.offsets,
                f"{name}_items": column.items,
                f"{name}_item_offsets": column.item_offsets,
                **_of_strings(name, column.vocabulary),
            }
        case NumberColumn():
            return {f"{name}_values": column.numbers}
        case BooleanColumn():
            return {f"{name}_values": column.truths}
        case DateColumn():
            return {f"{name}_values": column.seconds}


def _attributes(directory: Path, settings: dict[str, Any]) -> Attributes:
    kinds: dict[str, str] | list[str] = settings["attributes"]
    separators: dict[str, str] = settings.get(_SEPARATORS, {})  # earlier exports have none
    files = [f"{_ATTRIBUTE}{number}" for number in range(len(kinds))]
    if isinstance(kinds, list):  # earlier exports have the text of each item, one after the other
        columns = zip(kinds, (_earlier_column(directory, file) for file in files), strict=True)
        return Attributes(dict(columns))
    return Attributes(
        {
            name: _column(directory, file, kind, separators.get(name, SEPARATORS))
            for (name, kind), file in zip(kinds.items(), files, strict=True)
        }
    )


def _column(directory: Path, name: str, kind: str, separators: str) -> Column:
    def mapped(part: str) -> NDArray[Any]:
        return _mapped(directory, f"{name}_{part}")

    match kind:
        case "text":
            return TextColumn(mapped("codes"), _strings(directory, name))
        case "list":
            return ListColumn(
                mapped("code_offsets"),
                mapped("codes"),
                _strings(directory, name),
                mapped("item_offsets"),
                mapped("items"),
                separators,
            )
        case "number":
            return NumberColumn(mapped("values"))
        case "boolean":
            return BooleanColumn(mapped("values"))
        case "date":
            return DateColumn(mapped("values"))
    raise ValueError(f"{directory / CATALOGUE_FILE} has an attribute of kind {kind!r}")


def _earlier_column(directory: Path, name: str) -> TextColumn:
    strings = _strings(directory, name)
    return text_column([strings[place].decode() or None for place in range(len(strings))])


def _ids(directory: Path) -> Identifiers:
    return Identifiers(_strings(directory, "id"), _mapped(directory, "id_table"))


def _trend(directory: Path, settings: dict[str, Any]) -> Trend:
    found = settings.get("trend")
    if found is None:  # earlier exports have none either
        return NO_TREND
    return Trend(level=_mapped(directory, _TREND), **found)
