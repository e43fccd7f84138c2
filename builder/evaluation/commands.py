"""``python -m builder evaluate`` and ``compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder import console

AsJson = Annotated[bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a page with plots too, one file for everything."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the data is now. Default: where training read it. It is read the same way.",
    ),
]


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Checkpoint made by `python -m builder train`.")
    ],
    *,
    data: Data = None,
    with_baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Popularity, ItemKNN and EASE too.")
    ] = True,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Rank the whole catalogue for every test user and print the figures.

    With 95 % bootstrap intervals over users, by length of history and popularity of the item, and
    with what was recommended: how much of the catalogue, how novel, how diverse, how popular. A
    run trained with --hold-out-items has figures for the items that it never saw.
    """
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.evaluation.figures import run_figures
    from builder.evaluation.page import run_page, write_page
    from builder.evaluation.tables import run_tables
    from builder.evaluation.trained import load_run

    console.quiet_transformers()
    with console.progress_bars(shown=not as_json) as progress:
        figures = run_figures(load_run(run, data), with_baselines=with_baselines, progress=progress)
    if html is not None:
        write_page(html, run_page(figures))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    console.show(*run_tables(figures))


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A checkpoint.")],
    second: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="Another, tested on the same users.")
    ],
    *,
    data: Data = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether RUN_B is better than RUN_A, or only luckier.

    Both rank for the same test users. The difference has a 95 % paired bootstrap interval and the
    p-value of a paired randomisation test. Decide on NDCG@10: of many metrics, one will look
    significant by chance.
    """
    from builder.evaluation.figures import compared_figures
    from builder.evaluation.page import comparison_page, write_page
    from builder.evaluation.tables import comparison_tables
    from builder.evaluation.trained import load_run

    console.quiet_transformers()
    figures = compared_figures(load_run(first, data), load_run(second, data))
    if html is not None:
        write_page(html, comparison_page(figures))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    console.show(*comparison_tables(figures))
