"""``TritonServer``: starts a tritonserver, and stops it without leaving anything behind."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from builder.errors import ServingError
from builder.repository.manifest import remedy
from builder.serving._guard import clean
from builder.serving.access import ServerTls, open_channel
from builder.serving.installation import Installation, find_tritonserver
from builder.serving.output import OutputReader
from builder.serving.ports import address_of, claim_ports, listens, resolve
from builder.serving.processes import StartingProcesses, children, orphans
from builder.serving.scratch import clean_after_the_dead, make_scratch, new_identity
from model_repository.steps.access_log import FILE, SHARE
from model_repository.steps.observe import EVENTS
from model_repository.steps.rules_directory import RULES

_logger = logging.getLogger(__name__)

_GUARD: Final = Path(__file__).with_name("_guard.py")
_CALL_TIMEOUT: Final = 5.0
_READY_TIMEOUT: Final = 2.0
_WAIT_SLICE: Final = 0.5
# Triton looks once a second whether its models are unloaded.
_UNLOAD_MARGIN: Final = 2.0
_ORPHAN_TIMEOUT: Final = 15.0
"""Seconds for the ports of an earlier server whose `serve` was killed."""
_KILL_TIMEOUT: Final = 5.0
"""Seconds for the guard to end a server that is killed. A guard that is stopped never does."""
_RACE: Final = "boost::interprocess::lock_exception"
"""In the output of a tritonserver whose Python backend ended it, while models loaded."""

ASKED_TO_STOP: Final = "the server was asked to stop while it started; start it again"

_STARTS: Final = 3
"""At most, where they end by it: seen on a machine with too much to do."""

# What clients have no business with: they read and write memory by name, show the files of the
# repository, and change what is traced and logged. Loading models is off altogether, as Triton's
# mode "none" has it.
_ADMINISTRATION: Final = "shared-memory,model-repository,trace,logging"
_KEY: Final = "admin-key"
# Of pings with which a client asks during a long call whether the server is alive. gRPC's own
# 300 s end the calls of clients that ask more often, with "too_many_pings".
_PING_EVERY: Final = 5_000  # milliseconds


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model as the server reports it; ``state`` is READY or UNAVAILABLE, with its ``reason``."""

    name: str
    version: int
    state: str
    reason: str


class TritonServer:
    """Serves a model repository; use it as a context manager, or ``start`` and ``stop`` it.

    Parameters
    ----------
    repository
        Directory of models. Triton sees those of its sub-directories that hold a ``config.pbtxt``.
    grpc_port, http_port, metrics_port
        0: any free port; None (HTTP and metrics): not served.
    host
        Address to listen on; 0.0.0.0 for every network.
    tls
        None: gRPC in the clear.
    trace_url
        Where the spans of every request go, as OTLP over HTTP (``http://…:4318/v1/traces``); they
        continue the W3C trace context that a request brings along. None: there are none.
    access_log
        File that the models append a line to for a share of their requests, and the share, 0 to 1.
        None: there is none.
    events
        Directory where the model ``observe`` keeps events. None: they end with the server.
    rules
        Directory of live attributes and named lists, which the models read while it changes. None:
        there is none.
    start_timeout
        Seconds for all models to load.
    stop_timeout
        Seconds for running requests to finish, and for models to unload.
    """

    def __init__(
        self,
        repository: Path,
        *,
        grpc_port: int = 0,
        http_port: int | None = None,
        metrics_port: int | None = None,
        host: str = "127.0.0.1",
        tls: ServerTls | None = None,
        trace_url: str | None = None,
        access_log: tuple[Path, float] | None = None,
        events: Path | None = None,
        rules: Path | None = None,
        start_timeout: float = 60.0,
        stop_timeout: float = 5.0,
        installation: Installation | None = None,
    ) -> None:
        self.repository = repository.resolve()
        self.host = host
        self.identity = ""
        self.tls = tls
        self._trace_url = trace_url
        self._access_log = access_log
        self._events = events
        self._rules = rules
        self._wanted = {
            purpose: port
            for purpose, port in (
                ("gRPC", grpc_port),
                ("HTTP", http_port),
                ("metrics", metrics_port),
            )
            if port is not None
        }
        self._ports: dict[str, int] = {}
        self._scratch = Path()
        self._group: int | None = None
        self._stopping = False  # from `request_stop` until `stop` is done
        self._asked = False  # the process that runs was told so
        self._secret = secrets.token_urlsafe(24)
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._installation = installation
        self._process: subprocess.Popen[str] | None = None
        self._output: OutputReader | None = None

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of tritonserver's parent; ServingError if the server is not running."""
        if self._process is None:
            raise ServingError("the server is not running; start it first")
        return self._process.pid

    @property
    def grpc_address(self) -> str:
        """Where clients on this machine connect, as host:port."""
        return self._address("gRPC")

    @property
    def http_address(self) -> str:
        return self._address("HTTP")

    @property
    def metrics_address(self) -> str:
        return self._address("metrics")

    def start(self) -> None:
        """Start the server and wait until every model is ready.

        Raises
        ------
        ServingError
            No tritonserver, no models, a port that is taken, a model that does not load (with
            Triton's own reason), the time limit, or `request_stop`. Nothing is left running.
        """
        if self._process is not None:
            raise ServingError("the server was started already; stop it first")
        attempts = 1
        while not self._started(last=attempts == _STARTS):
            attempts += 1

    def _started(self, *, last: bool) -> bool:
        """Start the server; False where a race ended it, and this was not the ``last`` attempt."""
        try:
            self._start()
        except ServingError as error:
            if last or _RACE not in str(error):
                raise
            _logger.warning("tritonserver ended while it started, by %s; again", _RACE)
            return False
        return True

    def _start(self) -> None:
        models = models_in(self.repository)
        installation = self._installation or find_tritonserver()
        # Started again, it is to be found where it was.
        self._ports = self._wanted = self._claimed_ports()
        clean_after_the_dead()
        self._group, self._asked = None, False
        self.identity = new_identity()
        scratch, lock = make_scratch(self.identity)
        self._scratch = scratch
        try:
            view = self._steady_view(scratch)
            command = self._command(installation, scratch, view)
            self._process = subprocess.Popen(
                command,
                cwd=scratch,  # Python models have the working directory on their module path
                env=installation.environment({**os.environ, **self._variables(scratch)}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C in a terminal is for us to handle
                pass_fds=[lock],
            )
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            os.close(lock)  # the guard holds it
        assert self._process.stdout is not None
        try:
            self._output = OutputReader(
                self._process.stdout, replace=(str(view), str(self.repository))
            )
            self._wait_until_ready()
            self._group = next(children(self._process.pid), None)
        except BaseException:
            self.kill()
            raise
        _logger.info("serving %d models from %s", len(models), self.repository)

    def _claimed_ports(self) -> dict[str, int]:
        """The ports, once a server that was orphaned just now has given them back."""
        deadline = time.monotonic() + _ORPHAN_TIMEOUT
        told = False
        while True:
            try:
                return claim_ports(self.host, self._wanted)
            except ServingError as error:
                if time.monotonic() > deadline or not any(orphans(_GUARD)):
                    raise
                if not told:
                    _logger.warning("%s: waiting for an earlier server that is ending", error)
                    told = True
            self._heed_stop()
            time.sleep(0.2)

    def stop(self) -> None:
        """Let running requests finish, then end the server with everything it started.

        It waits for one that was asked to stop already.
        """
        if not self._asked:
            self.request_stop()
        self._reap(self._stop_timeout + _UNLOAD_MARGIN + _KILL_TIMEOUT)
        self._stopping = False  # it may be started again

    def kill(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
        self._reap(_KILL_TIMEOUT)

    def request_stop(self) -> None:
        """Ask for ``stop`` without waiting, as a signal handler may; twice asks for ``kill``.

        A ``start`` that is under way gives up.
        """
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._asked = True

    def wait(self) -> int:
        """Wait until the server ends, whoever ends it; return its exit code."""
        if self._process is None:
            raise ServingError("the server is not running")
        # A signal that arrives just before a wait without an end begins does not interrupt it, and
        # its handler would then run only when the server ends by itself.
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(timeout=_WAIT_SLICE)

    def reason(self) -> str:
        """Return the errors that the server printed, else the end of its output."""
        return self._output.reason() if self._output else "it was not started"

    def models(self) -> list[ModelStatus]:
        """Ask the server for its models, sorted by name and version."""
        with open_channel(self.grpc_address, self.tls) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                index = stub.RepositoryIndex(
                    service_pb2.RepositoryIndexRequest(),
                    timeout=_CALL_TIMEOUT,
                    metadata=((f"triton-grpc-protocol-{_KEY}", self._secret),),
                )
            except grpc.RpcError as error:
                raise ServingError(
                    f"tritonserver at {self.grpc_address} does not answer: {error}"
                ) from error
        return sorted(
            (
                ModelStatus(model.name, int(model.version or 0), model.state, model.reason)
                for model in index.models
            ),
            key=lambda model: (model.name, model.version),
        )

    def _address(self, purpose: str) -> str:
        if purpose not in self._ports:
            raise ServingError(f"{purpose} is not served; start the server with a port for it")
        return address_of(self.host, self._ports[purpose])

    def _variables(self, scratch: Path) -> dict[str, str]:
        # What models write for one another goes with the server.
        variables = {"TMPDIR": str(scratch)}
        if self._events is not None:
            variables[EVENTS] = str(self._events.absolute())
        if self._rules is not None:
            variables[RULES] = str(self._rules.absolute())
        if self._access_log is not None:
            file, share = self._access_log
            variables |= {FILE: str(file.absolute()), SHARE: str(share)}
        return variables

    def _steady_view(self, scratch: Path) -> Path:
        """`_view` of one publication, which may replace the repository meanwhile."""
        while True:
            publication = self.repository.stat().st_ino
            try:
                view = self._view(scratch)
            except FileNotFoundError:
                if self.repository.stat().st_ino == publication:
                    raise
            else:
                if self.repository.stat().st_ino == publication:
                    return view
            self._heed_stop()
            shutil.rmtree(scratch / "repository", ignore_errors=True)

    def _view(self, scratch: Path) -> Path:
        """Link the models' files into directories of our own, which Triton gets to see.

        Triton takes every directory at the root for a model and does not start when one has no
        configuration, as those of a package that an earlier version exported into. To name the
        models instead takes Triton's explicit mode, in which every client may load and unload.

        And Python writes __pycache__ beside the modules that it imports, this way not into the
        repository. PYTHONDONTWRITEBYTECODE and PYTHONPYCACHEPREFIX do not keep it from that: the
        Python backend starts Python in isolated mode, which heeds no such variable.

        Configurations are copied: they name the versions, and Triton reads them one after the
        other, while a publication may change them all.
        """
        view = scratch / "repository"
        for config in self.repository.glob("*/config.pbtxt"):
            model = config.parent
            # Not copytree(): it copies the modes too, and what lies in a read-only directory
            # cannot be deleted.
            for root, directories, files in os.walk(model, followlinks=True):
                if "__pycache__" in directories:
                    directories.remove("__pycache__")
                here = view / Path(root).relative_to(self.repository)
                here.mkdir(parents=True)
                for name in files:
                    if Path(root, name) == config:
                        shutil.copyfile(config, here / name)
                    else:
                        (here / name).symlink_to(Path(root, name))
        return view

    def _command(self, installation: Installation, scratch: Path, view: Path) -> list[str]:
        grace = self._stop_timeout + _UNLOAD_MARGIN
        guard = [
            *(sys.executable, "-I", "-S", str(_GUARD)),
            *(str(os.getpid()), str(grace), str(scratch), self.identity),
        ]
        _, address = resolve(self.host)
        # Its HTTP ports want IPv6 in another form than its gRPC port.
        listen = f"ipv6:{address}" if ":" in address else address
        options = {
            "id": self.identity,
            "model-repository": view,
            "exit-on-error": "true",
            "strict-readiness": "true",
            "exit-timeout-secs": max(1, round(self._stop_timeout)),
            "backend-config": f"python,shm-region-prefix-name={self.identity}-",
            "grpc-address": f"[{address}]" if ":" in address else address,
            "grpc-port": self._ports["gRPC"],
            "grpc-http2-min-recv-ping-interval-without-data": _PING_EVERY,
            "grpc-restricted-protocol": f"{_ADMINISTRATION}:{_KEY}={self._secret}",
            "model-control-mode": "none",
            "allow-http": str("HTTP" in self._ports).lower(),
            "allow-metrics": str("metrics" in self._ports).lower(),
        }
        if "HTTP" in self._ports:
            options |= {"http-address": listen, "http-port": self._ports["HTTP"]}
            options["http-restricted-api"] = f"{_ADMINISTRATION}:{_KEY}={self._secret}"
        if "metrics" in self._ports:
            options |= {"metrics-address": listen, "metrics-port": self._ports["metrics"]}
        backends = installation.backend_directory(scratch)
        if backends is not None:
            options["backend-directory"] = backends
        if self.tls is not None:
            options |= self.tls.options()
        arguments = [f"--{name}={value}" for name, value in options.items()]
        if self._trace_url is not None:
            arguments += [
                "--trace-config=mode=opentelemetry",
                f"--trace-config=opentelemetry,url={self._trace_url}",
                "--trace-config=level=TIMESTAMPS",
                "--trace-config=rate=1",
            ]
        arguments.append("--disable-auto-complete-config")
        return [*guard, str(installation.program(scratch)), *arguments]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout
        processes = StartingProcesses(self._process.pid)
        with open_channel(self.grpc_address, self.tls) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not (_is_ready(stub, self.identity) and self._listens()):
                self._heed_stop()
                if self._process.poll() is not None:
                    assert self._output is not None
                    self._output.join(_CALL_TIMEOUT)
                    raise ServingError(f"tritonserver did not start:\n  {self.reason()}")
                if broken := processes.broken():
                    raise ServingError(f"tritonserver did not start: {broken}\n  {self.reason()}")
                if time.monotonic() > deadline:
                    raise ServingError(
                        f"tritonserver was not ready after {self._start_timeout:g} s; give it "
                        f"more time if its models are large:\n  {self.reason()}"
                    )
                time.sleep(0.1)

    def _heed_stop(self) -> None:
        """Raise ServingError if a stop was asked for."""
        if self._stopping:
            raise ServingError(ASKED_TO_STOP)

    def _listens(self) -> bool:
        """Whether the ports for HTTP and metrics are open, which come after the one for gRPC."""
        return all(listens(self.host, port, _CALL_TIMEOUT) for port in self._ports.values())

    def _reap(self, seconds: float) -> None:
        if self._process is None:
            return
        group = self._group or next(children(self._process.pid), None)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code < 0:  # the guard itself was killed, and tritonserver with it
            if group is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)  # stubs live on for seconds
            clean(self._scratch, self.identity)
        if self._output is not None:
            self._output.join(_CALL_TIMEOUT)
        self._process = None


def _is_ready(stub: Any, identity: str) -> bool:
    """Whether the server that answers is ours, and ready."""
    with contextlib.suppress(grpc.RpcError):
        if stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=_READY_TIMEOUT).ready:
            answer = stub.ServerMetadata(
                service_pb2.ServerMetadataRequest(), timeout=_READY_TIMEOUT
            )
            return bool(answer.name == identity)
    return False


def models_in(repository: Path) -> list[str]:
    """The models that would be served; ServingError if there are none."""
    if not repository.is_dir():
        raise ServingError(f"there is no model repository at {repository}; {remedy(repository)}")
    models = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if not models:
        raise ServingError(
            f"the model repository {repository} holds no models; {remedy(repository)}"
        )
    return models
