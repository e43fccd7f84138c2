"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.repository import DEFAULT_REPOSITORY
from builder.serving import TritonServer
from perf.environments import DEFAULT


def add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("runs/demo"),
        help="the trained model: its users and texts are the load (default: %(default)s)",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=DEFAULT_REPOSITORY,
        help="what was exported from it, to be served (default: %(default)s)",
    )
    parser.add_argument(
        "--address",
        help="host:port (gRPC) of a running server instead, such as one in Triton's container",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=DEFAULT,
        help="where perf_analyzer and the peers are installed once (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the load (default: 0)")


def numbers(text: str) -> list[float]:
    """``1,2,4`` as positive numbers; for argparse."""
    values = [float(part) for part in text.split(",")]
    if min(values) <= 0:
        raise ValueError(text)
    return values


@contextmanager
def served(options: argparse.Namespace) -> Iterator[str]:
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
