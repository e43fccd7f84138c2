"""``python -m perf first-events``: what a model knows of users as they begin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from builder.data import Holdout, Sequences
from builder.evaluation.baselines import Popularity
from builder.evaluation.decayed_popularity import DECAYED, decayed_popularity
from builder.evaluation.ranking import Scorer, rank_holdout
from builder.options import command
from builder.reports.trained_run import TrainedRun, load_run
from perf.errors import PerfError
from perf.options import Json, note

EVENTS: Final = (0, 1, 2, 3, 5, 10)
"""How many events of a user are known."""


@command
def first_events(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run of `builder train --split temporal`.")
    ],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures here as JSON too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank the next event of users who begin in the test window, after none, one, two and more.

    Example: python -m perf first-events runs/temporal
    """
    figures = first_figures(load_run(run, data, replay=True))
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(figures, indent=1) if as_json else table(figures))


def first_figures(loaded: TrainedRun) -> dict[str, Any]:
    """NDCG@10 and HR@10 of new users, by how much of them is known and by what ranks.

    A user of a model with a profile has it. Nobody's events were learnt from.

    Raises
    ------
    PerfError
        No user begins in the test window.
    """
    model, split = loaded.model, loaded.split
    items = len(model.catalogue)
    scorers: dict[str, Scorer] = {
        "model": model.scorer(log=split.counted),
        "popularity": Popularity(split.learnt, items),
        DECAYED: decayed_popularity(split, items, None)[DECAYED],
    }
    assert split.windows_from is not None  # of a temporal split
    log, found = split.everything, {}
    for known in EVENTS:
        asked = beginning(log, split.windows_from[1], known)
        if len(asked):
            note(f"{known} events: {len(asked)} users")
            found[str(known)] = {
                "users": len(asked),
                **{name: _figures(scorer, asked, items) for name, scorer in scorers.items()},
            }
    if not found:
        raise PerfError("no user begins in the test window; give a run of a longer log")
    return {"first_events": found}


def beginning(log: Sequences, since: int, known: int) -> Holdout:
    """The target after `known` events of each user whose first event is at ``since`` or later.

    Where that is no target, the user is left out.
    """
    assert log.times is not None  # it is split by time
    first = log.offsets[:-1]
    long = log.lengths > known
    places = first[long][log.times[first[long]] >= since] + known
    if log.target is not None:
        places = places[log.target[places]]
    return Holdout.of(log, places)


def _figures(scorer: Scorer, asked: Holdout, items: int) -> dict[str, float]:
    ranking = rank_holdout(scorer, asked, items)
    return {"ndcg@10": ranking.ndcg(10), "hr@10": ranking.hit_rate(10)}


def table(figures: dict[str, Any]) -> str:
    """A table in Markdown: NDCG@10, and HR@10 in brackets."""
    rows = figures["first_events"]
    names = [name for name in next(iter(rows.values())) if name != "users"]
    lines = [f"| events | users | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for known, row in rows.items():
        cells = [f"{row[name]['ndcg@10']:.4f} ({row[name]['hr@10']:.4f})" for name in names]
        lines.append(f"| {known} | {row['users']} | {' | '.join(cells)} |")
    return "\n".join(lines)
