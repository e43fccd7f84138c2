"""``python -m builder export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder.errors import ConfigError


def export(
    checkpoint: Annotated[
        Path | None, typer.Option(help="A finished run of `python -m builder train`.")
    ] = None,
    repository: Annotated[
        Path, typer.Option(help="Model repository; made, or given its next version.")
    ] = Path("model_repository"),
    target: Annotated[
        str, typer.Option(help="How the networks run in Triton; see --list-targets.")
    ] = "embedded",
    *,
    max_top_k: Annotated[
        int, typer.Option(help="Most items that one request may ask to be recommended.")
    ] = 500,
    max_rows: Annotated[
        int, typer.Option(help="Largest batch of texts, and most unknown texts of a request.")
    ] = 128,
    max_users: Annotated[
        int, typer.Option(help="Most user requests that are tokenized as one batch.")
    ] = 64,
    list_targets: Annotated[
        bool,
        typer.Option("--list-targets", help="Say what this machine can build, and what it lacks."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compile a checkpoint and publish it as the next version of a model repository.

    The compiled engines are held against PyTorch over a grid of shapes, and must recommend as well
    as the checkpoint on the validation users. If they do not, nothing is published.
    """
    if list_targets:
        _list_targets(as_json=as_json)
        return
    if checkpoint is None:
        raise ConfigError("--checkpoint is missing: name a run of `python -m builder train`")
    from builder import console
    from builder.export.pipeline import Limits, target_named
    from builder.export.pipeline import export as run

    chosen = target_named(target)
    with console.progress(enabled=not as_json) as progress:
        done = run(
            checkpoint, repository, chosen, Limits(max_top_k, max_rows, max_users),
            progress=progress,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(done.to_dict(), indent=2))
        return
    worst = max(done.parity, key=lambda figure: figure.difference / figure.bound)
    ranking = done.ranking
    typer.echo(
        f"Published version {done.version} of {done.repository} (target {done.target})\n"
        f"  parity   {len(done.parity)} outputs agree with PyTorch; the farthest, "
        f"{worst.model}.{worst.output}, by {worst.difference:.1e} standard deviations "
        f"({worst.bound:.0e} allowed)\n"
        f"  ranking  NDCG@10 {ranking.engine:.4f}, checkpoint {ranking.checkpoint:.4f}, on "
        f"{ranking.users} validation users\n"
        f"Serve it: python -m builder serve --repository {done.repository}"
    )


def _list_targets(*, as_json: bool) -> None:
    from builder.export.targets import TARGETS

    rows = [
        {"target": target.name, "summary": target.summary, "missing": target.missing()}
        for target in TARGETS.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "ready" if row["missing"] is None else f"lacks {row['missing']}"
        typer.echo(f"{row['target']:<14}{row['summary']}\n{'':<14}{state}")
