"""What one block of load measured, and what several blocks of it say together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perf.errors import PerfError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One block: ``rate`` in answered requests per second, latencies in milliseconds."""

    requests: int
    rate: float
    p50: float
    p95: float
    p99: float


def from_latencies(seconds: Sequence[float], wall: float) -> Measurement:
    """Sum up a block that lasted ``wall`` seconds.

    Raises
    ------
    PerfError
        Not one request was answered.
    """
    if not seconds:
        raise PerfError(f"no request was answered within {wall:.1f} s; give it more --seconds")
    p50, p95, p99 = (float(value) * 1e3 for value in np.percentile(seconds, (50, 95, 99)))
    return Measurement(len(seconds), len(seconds) / wall, p50, p95, p99)


@dataclass(frozen=True, slots=True)
class Summary:
    """Repetitions of one block, in the order in which they were taken."""

    blocks: tuple[Measurement, ...]

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(block, figure) for block in self.blocks))

    def spread(self, figure: str) -> float:
        """(largest - smallest) / median."""
        values = [float(getattr(block, figure)) for block in self.blocks]
        return (max(values) - min(values)) / self.median(figure)

    def to_dict(self) -> dict[str, Any]:
        figures = ("rate", "p50", "p95", "p99")
        return {
            "median": {name: self.median(name) for name in figures},
            "spread": {name: self.spread(name) for name in figures},
            "blocks": [asdict(block) for block in self.blocks],
        }


@dataclass(frozen=True, slots=True)
class Contender:
    """A system under one load; ``measure`` runs a block of so many seconds."""

    name: str
    measure: Callable[[float], Measurement]


def take_turns(
    contenders: Sequence[Contender],
    repetitions: int,
    seconds: float,
    report: Callable[[str, int], None] = lambda _name, _repetition: None,
) -> dict[str, Summary]:
    """Measure every contender once a round, so that whatever else the machine does hits all alike.

    Every second round goes backwards, so that none always follows the same other.
    """
    blocks: dict[str, list[Measurement]] = {each.name: [] for each in contenders}
    for repetition in range(repetitions):
        order = contenders if repetition % 2 == 0 else contenders[::-1]
        for contender in order:
            report(contender.name, repetition)
            blocks[contender.name].append(contender.measure(seconds))
    return {name: Summary(tuple(measured)) for name, measured in blocks.items()}
