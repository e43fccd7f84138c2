"""``python -m builder serve``."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from builder.errors import ServingError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY
from builder.serving.server import TritonServer


@command
def serve(
    repository: Annotated[
        Path, typer.Option(help="Directory of models, made by `python -m builder export`.")
    ] = DEFAULT_REPOSITORY,
    grpc_port: Annotated[int, typer.Option(help="0: any free port.")] = 8001,
    http_port: Annotated[int, typer.Option(help="0: any free port.")] = 8000,
    metrics_port: Annotated[int, typer.Option(help="0: any free port.")] = 8002,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    start_timeout: Annotated[
        float, typer.Option(help="Seconds for all models to load.", min=1)
    ] = 60.0,
) -> None:
    """Serve a model repository with Triton until Ctrl-C or SIGTERM; a second one kills.

    Example: python -m builder serve --repository repository --grpc-port 9001
    """
    # Where logging is not set up: Triton's output is part of what this command shows.
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(message)s")
    server = TritonServer(
        repository,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        host=host,
        start_timeout=start_timeout,
    )
    asked_to_stop = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        server.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    code = 0
    try:
        server.start()
        if not asked_to_stop:
            _announce(server)
            code = server.wait()
    except ServingError:
        if not asked_to_stop:
            raise
    finally:
        server.stop()
    if not asked_to_stop:
        raise ServingError(f"tritonserver ended by itself (exit code {code}):\n  {server.reason()}")
    # A second Ctrl-C that comes too late would otherwise kill the interpreter as it ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    typer.echo("Stopped.")


def _announce(server: TritonServer) -> None:
    models = server.models()
    width = max(len(model.name) for model in models)
    lines = [
        f"Serving {server.repository}",
        f"  gRPC     {server.grpc_address}",
        f"  HTTP     http://{server.http_address}",
        f"  metrics  http://{server.metrics_address}/metrics",
        "Models",
        *(f"  {model.name:<{width}}  version {model.version}" for model in models),
        "Press Ctrl-C to stop.",
    ]
    typer.echo("\n".join(lines))
