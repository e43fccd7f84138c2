"""``python -m builder train-classifier``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from builder import console
from builder.classifier.config import ClassifierConfig
from builder.classifier.report import HEADINGS, PROTOCOL, Row
from builder.options import Given, command
from builder.unfinished_run import is_interrupted


@command
def train_classifier(
    data: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="text[,text_pair],label[,split] as .csv, .tsv, .jsonl or .parquet; split is "
            "train, validation or test.",
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="The pretrained BERT to fine-tune: a Hugging Face directory or hub name.",
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="RUN", help="The checkpoint to write; must not exist.")
    ],
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run; repeat its options.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")
    ] = False,
    options: Given[ClassifierConfig],
) -> None:
    """Fine-tune a BERT to label texts, or pairs of texts.

    The result is a plain Hugging Face checkpoint, to be exported with `export --classifier`.

    Example: python -m builder train-classifier --data texts.csv --backbone BERT --output runs/x
    """
    config = options.make(data=data, backbone=backbone)
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.classifier.training import train_classifier as run

    try:
        with console.progress_bars(shown=not as_json) as progress:
            rows = run(config, output, resume=resume, progress=progress)
    except KeyboardInterrupt:
        if is_interrupted(output):
            console.show_note("Interrupted. To continue, repeat the command with --resume.")
        raise typer.Exit(130) from None
    if as_json:
        figures = [row.to_dict() for row in rows]
        typer.echo(json.dumps({"output": str(output), "protocol": PROTOCOL, "rows": figures}))
        return
    console.show(_table(rows, PROTOCOL))
    console.show_note(f"Next: python -m builder export --classifier {output}")


def _table(rows: Sequence[Row], caption: str) -> Table:
    table = Table(
        title=f"{rows[0].examples:,} test examples",
        caption=caption,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, *(f"{row.metrics[name]:.4f}" for name in HEADINGS))
    return table
