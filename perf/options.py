"""Options that several commands share."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from builder.options import option
from builder.repository import DEFAULT_REPOSITORY
from builder.serving import TritonServer
from perf.environments import DEFAULT

Json = Annotated[bool, typer.Option("--json", help="Write the figures as JSON.")]


@dataclass(frozen=True)
class ServerOptions:
    """The server that is measured, and what is sent to it."""

    checkpoint: Path = option(
        Path("runs/demo"), "The trained model, whose users and texts are the load."
    )
    repository: Path = option(DEFAULT_REPOSITORY, "Repository exported from it, to be served.")
    address: str | None = option(
        None,
        "gRPC address of a running server to measure instead, such as one in Triton's container.",
        metavar="HOST:PORT",
    )
    environments: Path = option(
        DEFAULT, "Directory where perf_analyzer and the peers are installed."
    )
    seed: int = option(0, "Seed of the load.")


def numbers(flag: str, text: str) -> list[float]:
    """``1,2,4`` as positive numbers."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < math.inf for value in values):
        raise typer.BadParameter(f"{text!r} is no list of positive numbers", param_hint=flag)
    return values


@contextmanager
def served(options: ServerOptions) -> Iterator[str]:
    """Yield the gRPC address of the server that is to be measured, started if need be."""
    if options.address:
        yield options.address
        return
    with TritonServer(options.repository) as server:
        yield server.grpc_address


def note(message: str) -> None:
    """Tell what is being done, on stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


@contextmanager
def scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tritonrec-perf-") as name:
        yield Path(name)
