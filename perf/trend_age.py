"""``python -m perf trend-age``: what old counts cost, in a temporal replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from builder.data.splits import Holdout
from builder.evaluation.ranking import Scorer, rank_holdout
from builder.options import command
from builder.reports.trained_run import TrainedRun, load_run
from perf.errors import PerfError
from perf.options import Json, note
from perf.plots import draw

AGES: Final = {"fresh": 0, "an hour": 3_600, "a day": 86_400, "a week": 7 * 86_400}
"""How old the counts are when they are used, in seconds."""


@command
def trend_age(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Trained with --split temporal, with a trend.")
    ],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a plot beside this JSON file too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay the test window with counts of different age, and see what the lists are worth.

    A server whose events come in late, or not at all, knows what was popular then.

    Example: python -m perf trend-age runs/temporal --output perf/results/trend-age.json
    """
    loaded = load_run(run, data, replay=True)
    if not loaded.model.trend:
        raise PerfError(f"{run} has no trend, so old counts cost nothing; give a run that has one")
    figures = replayed_figures(loaded)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        draw(figures, output.parent, output.stem)
    typer.echo(json.dumps(figures, indent=1) if as_json else table(figures))


def replayed_figures(loaded: TrainedRun) -> dict[str, Any]:
    """NDCG@10 and HR@10 of the full model by the age of its counts, and without any."""
    model, split = loaded.model, loaded.split
    found = {}
    for name, seconds in AGES.items():
        note(f"counts: {name}")
        asked = _asked_before(split.test, seconds)
        found[name] = _figures(model.scorer(log=split.counted), asked, len(model.catalogue))
    found["no trend"] = _figures(model.scorer("timeless"), split.test, len(model.catalogue))
    return {
        "events": len(split.test),
        "time_constant": model.trend.time_constant,
        "trend_age": found,
    }


def _asked_before(test: Holdout, seconds: int) -> Holdout:
    """The same histories, asked with the counts that were known so many seconds before."""
    times = test.histories.request_times
    if times is None:
        raise PerfError("the log has no times, so nothing can be replayed")
    return replace(test, histories=replace(test.histories, request_times=times - seconds))


def _figures(scorer: Scorer, asked: Holdout, items: int) -> dict[str, float]:
    ranking = rank_holdout(scorer, asked, items)
    return {"ndcg@10": ranking.ndcg(10), "hr@10": ranking.hit_rate(10)}


def table(figures: dict[str, Any]) -> str:
    """A table in Markdown."""
    lines = ["| counts | NDCG@10 | HR@10 |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['ndcg@10']:.4f} | {row['hr@10']:.4f} |"
        for name, row in figures["trend_age"].items()
    ]
    return "\n".join(lines)
