"""The health port of ``serve``: who works, as HTTP for probes and as Prometheus' metrics.

========================= =================================================
``GET /live``             200 while ``serve`` watches its server
``GET /startup``          200 once every model has answered for the first time
``GET /ready``            200 while every model answers
``GET /models/NAME``      200 while this model answers; 404 if there is none
``GET /metrics``          restarts, and each model's state, for Prometheus
========================= =================================================

Anything else than 200 comes with the reason, as text.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from builder.serving.ports import resolve
from builder.serving.supervisor import Health

_UNSEEN: Final = 30.0
"""Seconds without a look at the server after which ``serve`` itself hangs, while it answers."""
_PATIENCE: Final = 5.0
"""Seconds that a caller may take to send its request."""


class HealthPort:
    """Serves `Health` in a thread of its own, until it is closed.

    ``port`` must be free; see `builder.serving.ports.claim_ports`.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        family, address = resolve(host)

        class Server(ThreadingHTTPServer):
            address_family = family
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that hangs up is no news."""

        class Handler(_Handler):
            answers = _Answers(health)

        self._server = Server((address, port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Answers:
    def __init__(self, health: Health) -> None:
        self._health = health

    def __call__(self, path: str) -> tuple[HTTPStatus, str]:
        match path.strip("/").split("/"):
            case ["live"]:
                return _unless(self._hangs())
            case ["startup"]:
                return _unless("" if self._health.started else self._health.server)
            case ["ready"]:
                return _unless(self._not_ready())
            case ["models", name]:
                problem = self._health.of(name)
                if problem is None and self._health.started:
                    return HTTPStatus.NOT_FOUND, f"there is no model {name}"
                return _unless(self._health.server if problem is None else problem)
            case ["metrics"]:
                return HTTPStatus.OK, self._metrics()
        return HTTPStatus.NOT_FOUND, "ask /live, /ready, /startup, /models/NAME or /metrics"

    def _hangs(self) -> str:
        unseen = time.monotonic() - self._health.seen
        limit = self._health.patience if self._health.server else _UNSEEN
        return f"nobody has looked at the server for {unseen:.0f} s" if unseen > limit else ""

    def _not_ready(self) -> str:
        problems = [f"{name}: {each}" for name, each in self._health.models.items() if each]
        return self._health.server or "\n".join(problems)

    def _metrics(self) -> str:
        lines = [
            "# HELP tritonrec_restarts Times that the server was ended to be started anew.",
            "# TYPE tritonrec_restarts counter",
            f"tritonrec_restarts {self._health.restarts}",
            "# HELP tritonrec_model_ready Whether the model answers.",
            "# TYPE tritonrec_model_ready gauge",
            *(
                f'tritonrec_model_ready{{model="{name}"}} {int(self._health.of(name) == "")}'
                for name in self._health.models
            ),
        ]
        return "\n".join(lines)


def _unless(problem: str) -> tuple[HTTPStatus, str]:
    return (HTTPStatus.SERVICE_UNAVAILABLE, problem) if problem else (HTTPStatus.OK, "ok")


class _Handler(BaseHTTPRequestHandler):
    answers: _Answers
    timeout = _PATIENCE
    server_version, sys_version = "tritonrec", ""

    def do_GET(self) -> None:
        status, text = self.answers(urlsplit(self.path).path)
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:  # as balancers ask, too
        self.do_GET()

    def do_OPTIONS(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """A probe each second is no news."""
