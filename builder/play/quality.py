"""What a run measured of itself: its table of figures, and the curves of its training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from builder.play.charts import Points, interval, lines

METRICS: Final = ("ndcg@10", "hr@10", "mrr", "coverage@10")
_STAGES: Final = {"adapter": "Adapter on frozen text", "tuning": "Fine-tuning of BERT"}
_LOSS: Final = "train/loss"
_VALIDATION: Final = {
    "eval/ndcg@10": "whole model",
    "eval/ndcg@10_text": "text alone",
}
_NORMAL: Final = 1.96
"""Standard errors to each side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of the table; ``metrics`` are None where the run did not measure them."""

    name: str
    metrics: Sequence[float | None]
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Table:
    protocol: str
    split: str
    users: int
    rows: Sequence[Figures]


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawing, and the names of its lines in the order of their colours."""

    title: str
    names: Sequence[str]
    drawing: Markup


def table(run: Path) -> Table | None:
    """The table that training ended with; None where it is missing or damaged."""
    try:
        told = json.loads((run / "metrics.json").read_text("utf-8"))
        rows = told["rows"]
        bounds = [_bounds(row) for row in rows]
        most = max(high for _, _, high in bounds)
        figures = [
            Figures(
                str(row["name"]),
                [row["metrics"].get(name) for name in METRICS],
                interval(*each, most=most),
            )
            for row, each in zip(rows, bounds, strict=True)
        ]
        return Table(str(told["protocol"]), str(told["split"]), int(rows[0]["users"]), figures)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def curves(run: Path) -> list[Curve]:
    """Loss and validation figures of each stage of the training that the run has files of."""
    found = []
    for directory in sorted(path for path in (run / "tensorboard").glob("*") if path.is_dir()):
        scalars = _scalars(directory)
        stage = _STAGES.get(directory.name, directory.name)
        for title, named in (
            ("NDCG@10 on the validation users", _VALIDATION),
            ("training loss", {_LOSS: "loss"}),
        ):
            series = {name: scalars[tag] for tag, name in named.items() if tag in scalars}
            if series:
                label = f"{stage}: {title}, by training step"
                found.append(Curve(label, list(series), lines(series, label)))
    return found


def _bounds(row: Mapping[str, Any]) -> tuple[float, float, float]:
    value, error = float(row["metrics"]["ndcg@10"]), float(row["ndcg_standard_error"])
    return value - _NORMAL * error, value, value + _NORMAL * error


def _scalars(directory: Path) -> dict[str, Points]:
    """Step and value of each scalar that TensorBoard's files hold."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(float(each.step), float(each.value)) for each in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
