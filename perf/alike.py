"""``python -m perf alike``: the search of a large catalogue for what is like an item or a query."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import numpy as np
import typer

from builder.export.alike_indexes import write_alike_indexes
from builder.export.search import with_texts, words_of_texts
from builder.model.recommender import Recommender
from builder.model.scoring import TorchUserEncoder, catalogue_of
from builder.options import command
from builder.reports.trained_run import load_run
from model_repository.core.arrays import NO_ITEMS, Indices
from model_repository.core.item_sets import ItemSet
from model_repository.core.scoring import Scorer
from model_repository.core.similarity import Cosine, Held, Similarity
from model_repository.core.users import History
from model_repository.steps.catalogue_files import load_catalogue, save_catalogue
from model_repository.steps.user_models import load_similarity
from perf.options import Json, note, scratch_directory
from perf.synthetic import Descent, descended, random_histories, with_descended_texts

SHARES: Final = (1.0, 0.1, 0.01)
_TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Searched:
    """Searches for what is alike, with a filter that lets a share of the items through.

    Attributes
    ----------
    alike
        What the list is held to.
    exact, indexed
        Microseconds of processor time a list, the median; with an index and without.
    recall
        Share of the exact list that the one with an index has too.
    """

    alike: str
    share: float
    exact: float
    indexed: float
    recall: float


@command
def alike(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run of `builder train`.")],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    items: Annotated[int, typer.Option(help="Items of the synthetic catalogue.", min=1000)] = 10**6,
    users: Annotated[int, typer.Option(help="Lists of each kind.", min=1)] = 100,
    as_json: Json = False,
) -> None:
    """Measure `like` and `query` over a large catalogue, with indexes and without.

    In this process, one user at a time, in turns: lists of ten. The catalogue is made of that of
    the run, with texts; queries are words of real texts. The time that BERT takes for them does not
    count. Which items a filter lets through is random. A million items take 4 GB of temporary
    files. Set OMP_NUM_THREADS=1 where other work runs beside.

    Example: python -m perf alike runs/demo --items 100000
    """
    with scratch_directory() as scratch:
        figures = search_for_what_is_alike(load_run(run, data).model, scratch, items, users)
    typer.echo(json.dumps(figures, indent=1) if as_json else table(figures))


def search_for_what_is_alike(
    model: Recommender, directory: Path, items: int, users: int
) -> dict[str, Any]:
    """Measure each of `SHARES` over a catalogue of ``items`` made of that of ``model``."""
    random = np.random.default_rng(0)
    real = with_texts(catalogue_of(model), model)
    descent = Descent(len(real), items, random)
    note(f"making a catalogue of {items:,} items")
    made = descended(real, descent, random)
    save_catalogue(directory, with_descended_texts(made, real, descent, random))
    catalogue = load_catalogue(directory)
    note("building the indexes")
    # The texts of other items than those whose words are searched for below.
    words = words_of_texts(model, 2 * max(250, users))
    indexes = write_alike_indexes(directory, catalogue, words[::2])
    scorer = Scorer(catalogue, TorchUserEncoder(model.adapter))
    exact, indexed = (load_similarity(directory, catalogue, exact=way) for way in (True, False))
    queries = words[1::2]
    queries = queries[np.linspace(0, len(queries) - 1, users).astype(np.int64)]
    shown = random.integers(0, items, users).tolist()
    histories = random_histories(random, items, users, model.adapter.config.max_history)

    def likenesses(similarity: Similarity) -> dict[str, Sequence[Cosine]]:
        return {
            "an item": [similarity.to_item(item) for item in shown],
            "a query": [similarity.to_query(query) for query in queries],
        }

    ways = likenesses(exact), likenesses(indexed)
    found = []
    for name in ways[0]:
        for share in SHARES:
            note(f"{name}, of {share:.2g} of the items")
            allowed = ItemSet(random.random(items) < share) if share < 1 else None
            lists, spent = _search(scorer, histories, [way[name] for way in ways], allowed)
            hits = [np.isin(best, other).mean() for best, other in zip(*lists, strict=True)]
            without, with_index = (median(each) for each in spent)
            found.append(Searched(name, share, without, with_index, float(np.mean(hits))))
    return {
        "items": items,
        "indexes": [each.to_dict() for each in indexes],
        "searches": [asdict(each) for each in found],
    }


def _search(
    scorer: Scorer,
    histories: Sequence[History],
    ways: Sequence[Sequence[Cosine]],
    allowed: ItemSet | None,
) -> tuple[list[list[Indices]], list[list[float]]]:
    """The lists of each way, and the microseconds that each took."""
    lists: list[list[Indices]] = [[] for _ in ways]
    spent: list[list[float]] = [[] for _ in ways]
    for way in ways:  # what is made once, and read from files
        Held(scorer, way[0], NO_ITEMS, allowed).best(None, _TOP)
    for place, history in enumerate(histories):
        user, masked = scorer.users([history]), np.unique(history.slots)
        for number, way in enumerate(ways):
            began = time.process_time_ns()
            best = Held(scorer, way[place], masked, allowed).best(user, _TOP)
            spent[number].append((time.process_time_ns() - began) / 1000)
            lists[number].append(best.index)
    return lists, spent


def table(figures: dict[str, Any]) -> str:
    """Two tables in Markdown."""
    lines = [
        "| like | items that the filter lets through | exact, µs | with an index, µs | recall@10 |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each['alike']} | {each['share']:.4g} | {each['exact']:,.0f} | {each['indexed']:,.0f} "
        f"| {each['recall']:.3f} |"
        for each in figures["searches"]
    ]
    lines += [
        "",
        "| index over | lists read | recall | made in, s of processor time |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each['of']} | {each['probes']} of {each['lists']} | {each['recall']:.4f} "
        f"| {each['seconds']:.0f} |"
        for each in figures["indexes"]
    ]
    return "\n".join(lines)
