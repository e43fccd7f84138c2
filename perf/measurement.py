"""Figures of one block of load, and of several blocks together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np

from perf.errors import PerfError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One block: ``rate`` in answered requests per second, latencies in milliseconds.

    None: not measured.

    Attributes
    ----------
    cpu
        Milliseconds of processor time that the server's processes took for each request.
    users_per_execution
        Users that one execution of the model ``user_encoder`` took.
    encoder_executions
        Executions of the model ``encoder`` for each request.
    text_rate
        Requests with texts per second that were answered beside the measured ones.
    """

    requests: int
    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float | None = None
    users_per_execution: float | None = None
    encoder_executions: float | None = None
    text_rate: float | None = None


FIGURES: Final = tuple(each.name for each in fields(Measurement) if each.name != "requests")


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

    def has(self, figure: str) -> bool:
        return all(getattr(block, figure) is not None for block in self.blocks)

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(block, figure) for block in self.blocks))

    def spread(self, figure: str) -> float:
        """(largest - smallest) / median, which must not be 0."""
        values = [float(getattr(block, figure)) for block in self.blocks]
        return (max(values) - min(values)) / self.median(figure)

    def to_dict(self) -> dict[str, Any]:
        figures = [name for name in FIGURES if self.has(name)]
        return {
            "median": {name: self.median(name) for name in figures},
            "spread": {name: self.spread(name) for name in figures if self.median(name)},
            "blocks": [
                {name: value for name, value in asdict(block).items() if value is not None}
                for block in self.blocks
            ],
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

    Raises
    ------
    PerfError
        Two have the same name.
    """
    names = [each.name for each in contenders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PerfError(f"two systems are called {twice.pop()!r}; give one another name")
    blocks: dict[str, list[Measurement]] = {each.name: [] for each in contenders}
    for repetition in range(repetitions):
        order = contenders if repetition % 2 == 0 else contenders[::-1]
        for contender in order:
            report(contender.name, repetition)
            blocks[contender.name].append(contender.measure(seconds))
    return {name: Summary(tuple(measured)) for name, measured in blocks.items()}
