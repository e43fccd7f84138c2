"""``python -m perf filters``: the search of a large catalogue with filters."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import numpy as np
import typer

from builder.errors import GateError
from builder.export.index_gate import write_index
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from model_repository.core.contract import RECOMMEND
from model_repository.core.item_sets import ItemSet
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from model_repository.engines.settings import read_settings
from model_repository.steps.user_models import INDEX_FILE, load_scorer, load_user_encoder
from perf.options import Json, note, scratch_directory
from perf.synthetic import random_histories, write_repository

SHARES: Final = (1.0, 0.5, 0.1, 0.01, 0.0001)
_TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Searched:
    """With a filter that lets a share of the items through.

    Attributes
    ----------
    exact, indexed
        Microseconds of processor time a search, the median over users; with an index and without.
    recall
        Share of the best ten items that the search with an index finds too.
    """

    share: float
    exact: float
    indexed: float
    recall: float


@command
def filters(
    items: Annotated[int, typer.Option(help="Items of the synthetic catalogue.", min=1000)] = 10**6,
    users: Annotated[int, typer.Option(help="Searches of each kind.", min=1)] = 100,
    repository: Annotated[
        Path, typer.Option(help="Repository of a recommender, in the fused layout.")
    ] = DEFAULT_REPOSITORY,
    *,
    as_json: Json = False,
) -> None:
    """Measure the search behind `recommend` with filters that let few or many items through.

    In this process, one user at a time: the best ten of a catalogue that is made of the exported
    one, exactly and with an index. Which items a filter lets through is random. A million items
    take 0.6 GB of temporary files. Set OMP_NUM_THREADS=1 where other work runs beside.

    Example: python -m perf filters --items 100000
    """
    with scratch_directory() as scratch:
        found = search_with_filters(repository, scratch / "repository", items, users)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=1))
    else:
        typer.echo(table(found))


def search_with_filters(source: Path, destination: Path, items: int, users: int) -> list[Searched]:
    """Measure each of `SHARES` over a catalogue of ``items`` made of that of ``source``."""
    write_repository(source, destination, items, seed=0)
    directory = destination / RECOMMEND.name / str(read_manifest(source).active)
    random = np.random.default_rng(0)
    longest = read_settings(directory)["reader"]["max_history"]
    histories = random_histories(random, items, users, longest)
    exact = load_scorer(directory, load_user_encoder(directory), exact=True)
    note("building an index")
    try:
        write_index(directory, exact.users(histories).states)
    except GateError as error:
        note(f"there is none: {error}")
        (directory / INDEX_FILE).unlink()
    indexed = load_scorer(directory, load_user_encoder(directory))
    found = []
    for share in SHARES:
        allowed = ItemSet(random.random(items) < share) if share < 1 else None
        (best, spent), (approximate, with_index) = (
            _search(scorer, histories, allowed) for scorer in (exact, indexed)
        )
        hits = [
            len(np.intersect1d(right, found_too)) / max(1, len(right))
            for right, found_too in zip(best, approximate, strict=True)
        ]
        found.append(Searched(share, spent, with_index, float(np.mean(hits))))
    return found


def _search(
    scorer: Scorer, histories: Sequence[History], allowed: ItemSet | None
) -> tuple[list[np.ndarray[tuple[int, ...], np.dtype[np.int32]]], float]:
    lists, spent = [], []
    for history in histories:
        user = scorer.users([history])
        began = time.process_time_ns()
        (found,) = scorer.best(user, [np.unique(history.slots)], [_TOP], None, [allowed])
        spent.append((time.process_time_ns() - began) / 1000)
        lists.append(found.index)
    return lists, median(spent)


def table(found: Sequence[Searched]) -> str:
    """A table in Markdown."""
    lines = [
        "| items that the filter lets through | exact, µs | with an index, µs | recall@10 |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each.share:.4g} | {each.exact:,.0f} | {each.indexed:,.0f} | {each.recall:.3f} |"
        for each in found
    ]
    return "\n".join(lines)
