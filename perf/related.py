"""``python -m perf related``: what related items and searches find, by what is alike and how much.

The last item of a user's history stands for the one that a page shows, and what the user did next
is to be among the first ten. A search is made of words of that item's own text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from builder.export.search import WORDS, queries, with_texts
from builder.model.scoring import TorchUserEncoder, catalogue_of, histories_of
from builder.options import command
from builder.reports.trained_run import TrainedRun, load_run
from model_repository.core.arrays import Floats, Indices
from model_repository.core.reasons import only
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.similarity import MOST_SIMILAR, Held, Likeness, Similarity
from perf.errors import PerfError
from perf.options import Json, note

WEIGHTS: Final = (0.0, 8.0, 16.0, 24.0, 32.0, 64.0)
ALONE: Final = "alone"
K: Final = 10


@command
def related(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run of `builder train`.")],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="How many of them, evenly spread.")] = 1_000,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures here as JSON too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how often the next item is among the ten most related, and where searches find it.

    Example: python -m perf related runs/demo --output perf/results/related.json
    """
    figures = related_figures(load_run(run, data), users)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(figures, indent=1) if as_json else table(figures))


def related_figures(loaded: TrainedRun, users: int) -> dict[str, Any]:
    """HR@10 and MRR of the item that a user met next, by what is alike and by weight.

    ``alone`` is without any interest, the other columns are with that of the user; of a new user
    in those of related items without a history.

    Raises
    ------
    PerfError
        No user has a history.
    """
    model = loaded.model
    catalogue = with_texts(catalogue_of(model), model)
    scorer = Scorer(catalogue, TorchUserEncoder(model.adapter))
    test = loaded.split.test.spread(users)
    histories = histories_of(test.histories, model.adapter.config.max_history)
    asked = [place for place, each in enumerate(histories) if len(each.slots)]
    if not asked:
        raise PerfError("no user of the test has a history; give a run with longer ones")
    shown = np.array([histories[place].slots[-1] for place in asked], np.int32)
    targets = test.targets[asked]
    before = [
        only(histories[place], list(range(len(histories[place].slots) - 1))) for place in asked
    ]
    known, nobody = scorer.users(before), scorer.users([only(before[0], [])])
    alike, texts = Similarity(catalogue), model.text_vectors.numpy()

    def of_rows(item: int) -> _Given:
        row = np.zeros(len(catalogue), np.float32)
        np.add.at(row, catalogue.linear_index[item], catalogue.linear_value[item])
        return _Given(row)

    def of_items(to: Callable[[int], Likeness], history: Callable[[int], Users]) -> _Asked:
        return [
            (to(item), history(place), int(target), np.array([item], np.int32))
            for place, (item, target) in enumerate(zip(shown.tolist(), targets, strict=True))
        ]

    of_nobody = lambda _: nobody  # noqa: E731
    ways = {
        "item vectors": of_items(alike.to_item, of_nobody),
        "texts": of_items(lambda item: alike.to_query(texts[item]), of_nobody),
        "item vectors, with the history": of_items(alike.to_item, lambda place: known[[place]]),
        "item that the catalogue lacks": of_items(
            lambda item: alike.to_text(texts[item]), of_nobody
        ),
    }
    if catalogue.linear_value.any():
        ways["co-occurrence"] = of_items(of_rows, of_nobody)
    found = {}
    for name, of_users in ways.items():
        note(f"related: {name}")
        found[name] = {key: row["hr"] for key, row in _figures(scorer, of_users).items()}
    searches: dict[str, Any] = {}
    for name, words in WORDS.items():
        note(f"search: {name}")
        asked_for = queries(model, targets.tolist(), words)
        of_users = [
            (alike.to_query(query), known[[place]], int(target), _NO_ITEMS)
            for place, (query, target) in enumerate(zip(asked_for, targets, strict=True))
        ]
        searches[name] = _figures(scorer, of_users)
    return {"users": len(asked), "related": found, "search": searches}


_NO_ITEMS: Final = np.zeros(0, np.int32)
_Asked = Sequence[tuple[Likeness, Users, int, Indices]]
"""Of each user what is alike, the user, the item that is due, and those that are not."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Similarities FP32 [n] (a `Likeness`)."""

    similarity: Floats

    def all(self) -> Floats:
        return self.similarity.copy()

    def of(self, items: Indices) -> Floats:
        return self.similarity[items]

    def nearest(self, number: int, member: NDArray[np.bool_] | None) -> None:
        """None: all are read."""


def _figures(scorer: Scorer, of_users: _Asked) -> dict[str, dict[str, float]]:
    """By `ALONE` and weight, the share that is among the first ten and the mean reciprocal rank."""
    alone = [
        _rank(Held(scorer, alike, masked, None), None, due) for alike, _, due, masked in of_users
    ]
    rows = {ALONE: np.array(alone)}
    for weight in WEIGHTS:
        ranks = [
            _rank(Held(scorer, alike, masked, None, weight), user, due)
            for alike, user, due, masked in of_users
        ]
        rows[f"{weight:g}"] = np.array(ranks)
    return {
        name: {"hr": float(np.mean(ranks <= K)), "mrr": float(np.mean(1 / ranks))}
        for name, ranks in rows.items()
    }


def _rank(held: Held, user: Users | None, due: int) -> float:
    """Rank of an item in a list, from 1; infinity where it is not there."""
    place = np.flatnonzero(held.best(user, MOST_SIMILAR).index == due)
    return float(place[0]) + 1 if len(place) else np.inf


def table(figures: dict[str, Any]) -> str:
    """Two tables in Markdown."""
    columns = [ALONE, *(f"{weight:g}" for weight in WEIGHTS)]
    head = f"{' | '.join(columns)} |\n|---|{'---|' * len(columns)}"

    def rows(found: Mapping[str, Mapping[str, float]]) -> list[str]:
        return [
            f"| {name} | {' | '.join(f'{row[column]:.4f}' for column in columns)} |"
            for name, row in found.items()
        ]

    searches = {
        f"{name}: {measure.upper()}": {key: each[measure] for key, each in row.items()}
        for name, row in figures["search"].items()
        for measure in ("mrr", "hr")
    }
    return "\n".join(
        [
            f"| alike by: HR@{K} | {head}",
            *rows(figures["related"]),
            "",
            f"| query | {head}",
            *rows(searches),
        ]
    )
