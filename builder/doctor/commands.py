"""``python -m builder doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from builder.doctor.diagnosis import Report, diagnose
from builder.doctor.images import image_named
from builder.doctor.server import image_server, local_server
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY

_COLOURS: Final = {"ok": "green", "warning": "yellow", "error": "red"}


@command
def doctor(
    repository: Annotated[
        Path, typer.Option(help="Directory made by `python -m builder export`.")
    ] = DEFAULT_REPOSITORY,
    triton_image: Annotated[
        str | None,
        typer.Option(help="Compare with this Triton image (26.08) instead of this machine."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Check that a model repository will load, before Triton tries.

    Exits with 1 if anything will not load.

    Example: python -m builder doctor --repository repository --triton-image 26.08
    """
    server = image_server(image_named(triton_image)) if triton_image else local_server()
    report = diagnose(repository, server)
    typer.echo(_as_json(report)) if as_json else _show(report)
    if not report.loads:
        raise typer.Exit(1)


def _as_json(report: Report) -> str:
    return json.dumps(
        {
            "repository": str(report.repository),
            "server": report.server,
            "loads": report.loads,
            "findings": [asdict(finding) for finding in report.findings],
        },
        indent=2,
    )


def _show(report: Report) -> None:
    for finding in report.findings:
        mark = typer.style(f"{finding.severity:<9}", fg=_COLOURS[finding.severity], bold=True)
        typer.echo(f"{mark}{finding.where}: {finding.what}")
        if finding.remedy:
            typer.echo(f"{'':<9}→ {finding.remedy}")
    errors = sum(finding.severity == "error" for finding in report.findings)
    typer.echo(
        f"It should load in {report.server}."
        if report.loads
        else f"It will not load in {report.server}: {errors} error{'s' * (errors > 1)}."
    )
