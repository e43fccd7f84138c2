"""``python -m builder play``."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated, Final

import typer

from builder.errors import ConfigError, RepositoryError, ServingError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from model_repository.core.contract import RECOMMEND

if TYPE_CHECKING:
    from builder.play.contents import Served  # reads a checkpoint, which imports torch

_HOST: Final = "127.0.0.1"
_PORT: Final = 8080
USUAL_PAGE: Final = f"http://{_HOST}:{_PORT}"
"""Where the page is, unless another port is named."""
_TIMEOUT: Final = 10.0  # seconds of a call


@command
def play(
    repository: Annotated[
        Path, typer.Option(help="Directory made by `python -m builder export`.")
    ] = DEFAULT_REPOSITORY,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Training run that knows the items' texts and the users. Default: the one that "
            "the repository was exported from."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="gRPC port of a server that runs already. Default: one is started.",
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Metrics port of the server of --address."),
    ] = "127.0.0.1:8002",
    compare: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="gRPC port of a second server to compare with."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page. 0: any that is free.")] = _PORT,
) -> None:
    """Open a local page over the server: put a history together, and see the list change.

    The page is for this machine alone. Events that are told to a server that this command started
    end with it.

    Example: python -m builder play --repository repository --port 8090
    """
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the page needs {error.name}, which is not installed; pip install "
            "'tritonrec[builder,play]'"
        ) from error
    from builder.play.app import make_app
    from builder.play.contents import Contents, load_run, look_at
    from builder.play.looks import Looks
    from builder.serving.ports import claim_ports
    from client import RecommenderClient, RecommenderError

    run = load_run(_run_of(repository) if checkpoint is None else checkpoint)
    port = claim_ports(_HOST, {"page": port})["page"]
    with contextlib.ExitStack() as stack:
        if address is None:
            address, metrics = stack.enter_context(_started(repository))

        def served(where: str, flag: str) -> Served:
            client = stack.enter_context(RecommenderClient(where, timeout=_TIMEOUT))
            try:
                return look_at(client, where)
            except RecommenderError as error:
                raise ServingError(f"{flag} {where}: {error}") from error

        contents = Contents(
            served(address, "--address"),
            None if compare is None else served(compare, "--compare"),
            run,
            Looks(metrics),
        )
        config = uvicorn.Config(
            make_app(contents), host=_HOST, port=port, log_level="warning", lifespan="off"
        )

        class Server(uvicorn.Server):
            """Says where it is once it listens, and so can be stopped."""

            async def startup(self, sockets: list[socket] | None = None) -> None:
                await super().startup(sockets)
                typer.echo(f"Open http://{_HOST}:{port}\nPress Ctrl-C to stop.")

        # It raises the signal again that it was stopped with.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            Server(config).run()
    typer.echo("Stopped.")


def _run_of(repository: Path) -> Path:
    """The training run that the active version was exported from."""
    manifest = read_manifest(repository)
    record = manifest.versions[manifest.active]
    if RECOMMEND.name not in record.models:
        raise RepositoryError(
            f"{repository} holds a classifier, and the page is for recommenders; name another "
            "directory with --repository"
        )
    run = Path(record.checkpoint)
    if not run.is_dir():
        raise ConfigError(
            f"{repository} was exported from {run}, which is not there any more; say with "
            "--checkpoint where the run lies, since it knows the texts of the items"
        )
    return run


@contextlib.contextmanager
def _started(repository: Path) -> Iterator[tuple[str, str]]:
    """Serve the repository; gives the addresses of gRPC and metrics."""
    from builder.serving import TritonServer

    # What Triton says of its starting and stopping is not what this shows.
    logging.getLogger("builder.serving").setLevel(logging.WARNING)
    with TritonServer(repository, metrics_port=0) as server:
        yield server.grpc_address, server.metrics_address
