"""``python -m builder serve``."""

from __future__ import annotations

import logging
import os
import resource
import signal
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from builder.errors import ConfigError, ServingError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY
from builder.serving.access import ServerTls, served_name
from builder.serving.health import HealthPort
from builder.serving.ports import address_of, claim_ports, resolve
from builder.serving.server import TritonServer, models_in
from builder.serving.supervisor import Supervisor
from builder.serving.unblocked_output import UnblockedOutput

_logger = logging.getLogger(__name__)

_FILES: Final = 1_024
"""Files that a process should be allowed to open: each connection of a client is one."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Each ends the server in order; SIGHUP is what `systemctl reload` sends, and a closed terminal."""


@command
def serve(
    repository: Annotated[
        Path, typer.Option(help="Directory of models, made by `python -m builder export`.")
    ] = DEFAULT_REPOSITORY,
    grpc_port: Annotated[int, typer.Option(help="0: any free port.")] = 8001,
    http_port: Annotated[int, typer.Option(help="0: any free port.")] = 8000,
    metrics_port: Annotated[int, typer.Option(help="0: any free port.")] = 8002,
    health_port: Annotated[
        int, typer.Option(help="HTTP port that says who works, see docs/operations.md. 0: any.")
    ] = 8003,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    start_timeout: Annotated[
        float, typer.Option(help="Seconds for all models to load.", min=1)
    ] = 60.0,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file: TLS on the gRPC port, with this certificate.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: the certificate's key.")] = None,
    tls_authority: Annotated[
        Path | None, typer.Option(help="PEM file: who signed the certificate.")
    ] = None,
    access_log: Annotated[
        Path | None,
        typer.Option(help="File for a line of JSON about a share of the requests."),
    ] = None,
    access_log_share: Annotated[
        float, typer.Option(help="Share of the requests that --access-log is about.", min=0, max=1)
    ] = 0.01,
    events: Annotated[
        Path | None,
        typer.Option(
            help="Directory where events are kept that `observe` is told of. Default: beside the "
            "repository, as REPOSITORY.events."
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Directory of attributes and lists that change while it serves, see "
            "docs/policy-expressions.md.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    *,
    tls_mutual: Annotated[
        bool, typer.Option(help="Let in only clients whose certificate the same authority signed.")
    ] = False,
) -> None:
    """Serve a model repository with Triton until Ctrl-C, SIGTERM or SIGHUP; a second one kills.

    Watches the models, and starts the server anew when one does not answer any more.

    Example: python -m builder serve --repository repository --grpc-port 9001
    """
    # Where logging is not set up: Triton's output is part of what this command shows.
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(message)s")
    models_in(repository)  # before any port is asked for
    tls = _tls(tls_certificate, tls_key, tls_authority, mutual=tls_mutual)
    if health_port in {grpc_port, http_port, metrics_port} - {0}:
        raise ConfigError(f"--health-port {health_port} is another port's too; name another, or 0")
    health_port = claim_ports(host, {"health": health_port})["health"]
    server = TritonServer(
        repository,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        host=host,
        tls=tls,
        access_log=None if access_log is None else (_writable(access_log), access_log_share),
        events=_events_of(repository) if events is None else _directory(events),
        rules=rules,
        start_timeout=start_timeout,
    )
    _warn(host, tls)
    _warn_of_files()
    supervisor = Supervisor(server, start_timeout=start_timeout)
    asked_to_stop = 0

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop += 1
        supervisor.request_stop()
        if asked_to_stop > 1:  # a third one ends this process, whatever it waits for
            signal.signal(number, signal.SIG_DFL)

    with UnblockedOutput() as output:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it for SIGHUP
                signal.signal(number, on_signal)
        health = HealthPort(supervisor.health, host, health_port)
        try:
            supervisor.start()
            if not asked_to_stop:
                _announce(server, f"http://{address_of(host, health_port)}", output)
                supervisor.run()
        except ServingError:
            if not asked_to_stop:
                raise
        finally:
            supervisor.stop()
            health.close()
        # A second Ctrl-C that comes too late would otherwise kill the interpreter as it ends.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        output.say("Stopped.")


def _tls(
    certificate: Path | None, key: Path | None, authority: Path | None, *, mutual: bool
) -> ServerTls | None:
    if certificate is None and key is None and authority is None and not mutual:
        return None
    if certificate is None or key is None or authority is None:
        raise ConfigError(
            "TLS takes a certificate, its key and who signed it: give --tls-certificate, "
            "--tls-key and --tls-authority"
        )
    tls = ServerTls(certificate, key, authority, mutual)
    served_name(tls)  # says what does not fit
    return tls


def _writable(file: Path) -> Path:
    """The file; ConfigError if models could not append to it."""
    try:
        # As they open it: a pipe that nobody reads is refused, rather than waited for.
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o640))
    except OSError as error:
        raise ConfigError(
            f"--access-log {file} cannot be written: {error.strerror}; name another file"
        ) from error
    return file


def _events_of(repository: Path) -> Path:
    """Beside it, since a publication replaces the repository."""
    place = repository.resolve()
    return place.with_name(f"{place.name}.events")


def _directory(events: Path) -> Path:
    """The directory; ConfigError if it could not be made."""
    try:
        events.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--events {events} cannot be made: {error.strerror}; name another directory"
        ) from error
    return events


def _warn_of_files() -> None:
    """Say that connections will be refused, by errors that name anything but the reason."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < _FILES:  # below 0 there is no limit
        _logger.warning(
            "a process may open %d files here, and each connection is one: the server may not "
            "start, or refuse callers; raise the hard limit (ulimit -Hn, LimitNOFILE of systemd)",
            most,
        )


def _warn(host: str, tls: ServerTls | None) -> None:
    """Say what others can read and do on a network."""
    if ip_address(resolve(host)[1]).is_loopback:
        return
    if tls is None:
        _logger.warning(
            "%s is open to the network without TLS: whoever reaches the ports can read all "
            "requests and ask anything; give --tls-certificate, or keep them in a private network",
            host,
        )
    else:
        _logger.warning(
            "%s is open to the network, and Triton has no TLS for HTTP and metrics: keep these "
            "ports in a private network",
            host,
        )


def _announce(server: TritonServer, health: str, output: UnblockedOutput) -> None:
    models = server.models()
    width = max(len(model.name) for model in models)
    lines = [
        f"Serving {server.repository}",
        f"  gRPC     {server.grpc_address}",
        f"  HTTP     http://{server.http_address}",
        f"  metrics  http://{server.metrics_address}/metrics",
        f"  health   {health}/ready",
        "Models",
        *(f"  {model.name:<{width}}  version {model.version}" for model in models),
        "Press Ctrl-C to stop.",
    ]
    output.say("\n".join(lines))
