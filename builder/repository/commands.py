"""``python -m builder versions`` and ``python -m builder activate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from builder.options import command
from builder.repository.manifest import DEFAULT_REPOSITORY, read_manifest
from builder.repository.publish import activate as activate_version

_Repository = Annotated[Path, typer.Option(help="Directory made by `python -m builder export`.")]


@command
def versions(
    repository: _Repository = DEFAULT_REPOSITORY,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the versions that a model repository holds, and which one is active.

    Example: python -m builder versions --repository repository
    """
    manifest = read_manifest(repository)
    rows = [
        {
            "version": number,
            "active": number == manifest.active,
            "created": record.created,
            "target": record.target,
            "checkpoint": record.checkpoint,
        }
        for number, record in sorted(manifest.versions.items())
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(f"{'':<2}{'version':<9}{'created':<27}{'target':<14}checkpoint")
    for row in rows:
        mark = "*" if row["active"] else ""
        typer.echo(
            f"{mark:<2}{row['version']:<9}{row['created']:<27}{row['target']:<14}"
            f"{row['checkpoint']}"
        )
    typer.echo("* active")


@command
def activate(
    version: Annotated[int, typer.Argument(help="Number shown by `python -m builder versions`.")],
    repository: _Repository = DEFAULT_REPOSITORY,
) -> None:
    """Make an earlier version the served one. Restart a running server to load it.

    Example: python -m builder activate 2
    """
    activate_version(repository, version)
    typer.echo(f"Version {version} of {repository} is active; restart a running server to load it.")
