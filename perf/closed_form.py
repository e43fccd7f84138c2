"""``python -m perf closed-form``: what EASE loses where items are explained by a few others."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from numpy.typing import NDArray
from scipy import sparse

from builder.data import DataConfig, Sequences, Split, leave_one_out, read
from builder.evaluation.baselines import ItemWeights
from builder.evaluation.ranking import rank_holdout
from builder.model.ease import dense_ease, sparse_ease
from builder.options import command
from perf.errors import PerfError
from perf.measured_command import peak_memory
from perf.options import Json, note, scratch_directory
from perf.reading import make_random_log

REGULARISATION: Final = (30.0, 100.0, 300.0)
DECAY: Final = (1.0, 0.9, 0.8, 0.7)
Way = Callable[..., NDArray[Any] | sparse.csr_array]
WAYS: Final[dict[str, Way]] = {"dense": dense_ease, "sparse": sparse_ease}


@dataclass(frozen=True)
class Fit:
    """One way to work B out, in a process of its own.

    Attributes
    ----------
    items, events
        Size of the catalogue, and training events.
    cpu, memory
        Seconds of CPU of one B, and the most memory in MiB that the process had by then.
    validation, test
        NDCG@10 without and with recency, λ and ρ chosen on validation; None without a test.
    """

    way: str
    items: int
    events: int
    cpu: float
    memory: float
    validation: tuple[float, float] | None = None
    test: tuple[float, float] | None = None


@command
def closed_form(
    data: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A log, to rank its users with both.")
    ] = None,
    *,
    min_rating: Annotated[float | None, typer.Option(help="As of `builder train`.")] = None,
    min_events: Annotated[int, typer.Option(help="As of `builder train`.", min=3)] = 3,
    made_events: Annotated[
        int | None,
        typer.Option(help="Make a log of 50,000 items instead, and work the sparse one out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank with EASE of all items and of the nearest ones, or measure it on a made log.

    The last event of each user is the test, the one before it validation. Context counts as
    targets.

    Example: python -m perf closed-form .data/ml-100k --min-rating 4 --min-events 8
    """
    if (data is None) == (made_events is None):
        raise PerfError("give one of DIR and --made-events")
    if data is not None:
        config = DataConfig(data, min_rating=min_rating, min_events=min_events)
        fits = [_apart(partial(ranked, way, config)) for way in WAYS]
    else:
        assert made_events is not None
        with scratch_directory() as scratch:
            note(f"making a log of {made_events:,} events")
            make_random_log(scratch / "data", made_events)
            fits = [_apart(partial(fitted, "sparse", DataConfig(scratch / "data")))]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in fits], indent=1))
        return
    typer.echo(table(fits))


def ranked(way: str, config: DataConfig) -> Fit:
    """NDCG@10 of one of `WAYS` on validation and test."""
    split, items = _split(config)
    found: list[tuple[float, float, float]] = []  # validation NDCG@10, λ, ρ
    fits = []
    for ridge in REGULARISATION:
        note(f"{way}, λ {ridge:g}")
        matrix, fit = _fit(way, split.train, items, ridge)
        fits.append(fit)
        for decay in DECAY:
            scorer = ItemWeights(matrix, decay)
            found.append((rank_holdout(scorer, split.validation, items).ndcg(10), ridge, decay))
        del matrix  # before the next one
    plain = max(each for each in found if each[2] == 1.0)
    recent = max(found)
    test = []
    for _, ridge, decay in (plain, recent):
        matrix, _ = _fit(way, split.train, items, ridge)
        test.append(rank_holdout(ItemWeights(matrix, decay), split.test, items).ndcg(10))
        del matrix
    return Fit(
        **{**asdict(fits[0]), "validation": (plain[0], recent[0]), "test": (test[0], test[1])}
    )


def fitted(way: str, config: DataConfig) -> Fit:
    """What one of `WAYS` takes on the training events."""
    split, items = _split(config)
    return _fit(way, split.train, items, REGULARISATION[1])[1]


def _split(config: DataConfig) -> tuple[Split, int]:
    interactions, catalogue = read(config)
    log = Sequences.from_interactions(interactions, config.min_events).without_distinction()
    return leave_one_out(log), len(catalogue)


def _fit(
    way: str, train: Sequences, items: int, ridge: float
) -> tuple[NDArray[Any] | sparse.csr_array, Fit]:
    began = time.process_time()
    matrix = WAYS[way](train, items, regularisation=ridge)
    cpu = time.process_time() - began
    return matrix, Fit(way, items, len(train.items), cpu, peak_memory(os.getpid()) / 1024)


def _apart(work: Callable[[], Fit]) -> Fit:
    """Do the work in a new process, whose memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work)


def table(fits: list[Fit]) -> str:
    """A table in Markdown; NDCG@10 without recency, then with it."""
    head = ("EASE", "items", "training events", "validation", "test", "s of CPU", "peak, MiB")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for each in fits:
        validation, test = (
            "" if pair is None else f"{pair[0]:.4f}, {pair[1]:.4f}"
            for pair in (each.validation, each.test)
        )
        lines.append(
            f"| {each.way} | {each.items:,} | {each.events:,} | {validation} | {test} | "
            f"{each.cpu:.0f} | {each.memory:,.0f} |"
        )
    return "\n".join(lines)
