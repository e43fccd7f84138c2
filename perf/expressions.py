"""CPU time of a filter: to parse it, to evaluate it for a catalogue, and for some candidates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated, Final

import numpy as np
import typer

from builder.options import command
from model_repository.core.arrays import Indices
from model_repository.core.attributes import (
    Attributes,
    BooleanColumn,
    Column,
    NumberColumn,
    list_column,
)
from model_repository.core.identifiers import Identifiers, Strings
from model_repository.core.policy.expressions import Expression
from model_repository.core.policy.facts import Facts
from model_repository.core.policy.filters import Filters
from model_repository.core.policy.grammar import parts_of
from perf.machine import describe_machine
from perf.options import Json

FILTER: Final = '"Comedy" in genres and year >= 1990'
SIZES: Final = (1_682, 100_000, 1_000_000)
_GENRES: Final = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller", "War", "Western")
_CANDIDATES: Final = 200


@dataclass(frozen=True)
class Costs:
    """Microseconds of CPU for a catalogue of so many items; medians.

    Attributes
    ----------
    evaluate
        For all items.
    remembered
        The same filter again.
    candidates
        For 200 items.
    """

    items: int
    evaluate: float
    remembered: float
    candidates: float


@command
def expressions(
    *,
    text: Annotated[str, typer.Option("--filter", help="Over genres, year and adult.")] = FILTER,
    repetitions: Annotated[int, typer.Option(help="Runs of each.", min=1)] = 21,
    as_json: Json = False,
) -> None:
    """Measure what a filter costs: CPU time of one thread.

    Example: python -m perf expressions --filter '"Drama" in genres and not adult'
    """
    parse = _cost(lambda: parts_of(text), repetitions)
    rows = [costs(text, items, repetitions) for items in SIZES]
    if as_json:
        report = {"machine": describe_machine(), "filter": text, "parse": parse}
        typer.echo(json.dumps(report | {"catalogues": [asdict(row) for row in rows]}))
        return
    typer.echo(f"{text}\nparse {parse:,.0f} µs")
    typer.echo(f"{'items':>10}{'all, µs':>12}{'again, µs':>12}{f'{_CANDIDATES} of them, µs':>20}")
    for row in rows:
        typer.echo(
            f"{row.items:>10,}{row.evaluate:>12,.0f}{row.remembered:>12.1f}{row.candidates:>20.1f}"
        )


def costs(text: str, items: int, repetitions: int) -> Costs:
    """What a filter costs with a catalogue of made items."""
    facts = made_facts(items)
    expression, filters = Expression(text, parts_of(text)), Filters()
    some = np.random.default_rng(1).integers(0, items, _CANDIDATES).astype(np.int32)
    filters.allowed(text, facts)
    return Costs(
        items,
        _cost(lambda: expression.evaluate(facts.attributes, {}, facts.ids), repetitions),
        _cost(lambda: filters.allowed(text, facts), repetitions, 100),
        _cost(lambda: expression.at(some, facts.attributes, {}, facts.ids), repetitions, 100),
    )


def made_facts(items: int) -> Facts:
    """Items of two genres each, and the years 1930 to 2025; one in five is not known to be adult.

    Of the ids only the number counts.
    """
    random = np.random.default_rng(0)
    genres = random.integers(0, len(_GENRES), (items, 2))
    columns: dict[str, Column] = {
        "genres": list_column([[_GENRES[each] for each in pair] for pair in genres.tolist()]),
        "year": NumberColumn(random.integers(1930, 2026, items).astype(np.float64)),
        "adult": BooleanColumn(random.choice(np.array([-1, 0, 0, 0, 1], np.int8), items)),
    }
    return Facts(_numbered(items), Attributes(columns))


def _numbered(items: int) -> Identifiers:
    """The ids 0, 1, …, without a table to find them, which takes longer than all the rest."""
    none: Indices = np.full(2, -1, np.int32)
    return Identifiers(Strings.of([str(item) for item in range(items)]), none)


def _cost(work: Callable[[], object], repetitions: int, calls: int = 1) -> float:
    """Microseconds of CPU of one call, the median of some."""
    found = []
    for _ in range(repetitions):
        began = time.process_time_ns()
        for _ in range(calls):
            work()
        found.append((time.process_time_ns() - began) / calls / 1000)
    return median(found)
