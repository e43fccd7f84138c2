"""Keeps a tritonserver answering: watches it, ends one that does not work, and starts it anew.

The whole server is started anew, also when a single model is dead. Triton 2.51 can load one model
again, in explicit mode: with the demo's models that took 0.2 s, a new server 1.2 s. But a server
with such a model never ended by itself again, only after its exit timeout, and kept the dead one's
shared memory. It does not help where tritonserver itself is stopped or dead. One way is enough.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from builder.errors import BuilderError, RepositoryError, ServingError
from builder.repository.golden import GoldenRequest, golden_of
from builder.repository.integrity import REPAIR, damages, listed_files
from builder.repository.manifest import MANIFEST, read_manifest
from builder.repository.publish import CONFIG
from builder.serving.server import ASKED_TO_STOP, TritonServer
from builder.serving.watch import TICK, Watch

_logger = logging.getLogger(__name__)

_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each start that follows another without success."""
_SUCCESS: Final = 10.0
"""Seconds that a server has to work for its start to count as a success."""
_STARTING: Final = "the server is starting"
_MARGIN: Final = 120.0
"""Seconds that a start, or a stop, may take beside the wait for models, without a sign of life."""


@dataclass(slots=True)
class Health:
    """How a server and its models are; any thread may read it.

    Attributes
    ----------
    started
        Whether every model has answered once.
    seen
        When the supervisor looked last, by `time.monotonic`.
    patience
        Seconds without a look that a start, or a stop, may take.
    server
        Why the server takes no requests; "" if it does.
    models
        Why a model does not answer, by its name; "" if it does.
    restarts
        How often the server was ended to be started anew.
    """

    started: bool = False
    seen: float = field(default_factory=time.monotonic)
    patience: float = math.inf
    server: str = _STARTING
    models: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0

    def of(self, model: str) -> str | None:
        """Why ``model`` does not answer, "" if it does; None if there is no such model."""
        problem = self.models.get(model)
        return problem if problem is None else self.server or problem


class Supervisor:
    """Runs a server until it is asked to stop.

    Parameters
    ----------
    start_timeout
        Seconds for every model to answer its golden request, after those of the server's own start.
    """

    def __init__(self, server: TritonServer, *, start_timeout: float = 60.0) -> None:
        self.health = Health(patience=start_timeout + _MARGIN)
        self._server = server
        self._start_timeout = start_timeout
        self._stopping = threading.Event()
        self._version: int | None = None
        self._watch: Watch | None = None

    def start(self) -> None:
        """Start the server and wait until every model has answered its golden request.

        Raises
        ------
        RepositoryError
            The manifest cannot be read.
        ServingError
            A file is not the one that was exported, the server does not start, a model answers
            wrong or not at all, or this was asked to stop. Nothing is left running.
        """
        while not self._tried():
            _logger.info("another version was published meanwhile; starting that")
            self._end()
        assert self._watch is not None
        self.health.models = self._watch.states
        self.health.seen = time.monotonic()
        self.health.server = ""
        self.health.started = True

    def _tried(self) -> bool:
        """Start the server once; False where another version was published meanwhile."""
        golden = self._prepare(self._server.repository)
        self._heed_stop()
        self._server.start()
        try:
            if self._published():
                return False
            self._watch = Watch(self._server, golden)
            self._await_first_answers(self._watch)
        except BaseException:
            self._end()
            raise
        return True

    def run(self) -> None:
        """Watch the server, and start it anew where that is needed, until `request_stop`.

        Raises
        ------
        ServingError
            Starting it anew does not help; the reason is the last one.
        """
        failures = 0
        while not self._stopping.is_set():
            began, watched = time.monotonic(), self._watch is not None
            problem = self._watched() if watched else self._started()
            if self._stopping.is_set():
                return
            if not problem:
                continue
            worked = watched and time.monotonic() - began > _SUCCESS
            failures = 1 if worked else failures + 1
            if failures > len(_PAUSES):
                raise ServingError(
                    f"the server was started anew {len(_PAUSES)} times and does not work: "
                    f"{problem}; run `python -m builder doctor`"
                )
            pause = _PAUSES[failures - 1]
            self.health.server = f"the server is started anew: {problem}"
            self.health.restarts += 1
            _logger.error("%s; starting the server anew in %g s", problem, pause)
            self._end()
            self._stopping.wait(pause)

    def request_stop(self) -> None:
        """Ask `run` to return, and `start` to give up, as a signal handler may."""
        self.health.seen = time.monotonic()
        self.health.server = "the server is stopping"
        self._stopping.set()
        self._server.request_stop()

    def stop(self) -> None:
        """Let running requests finish, then end the server with everything it started."""
        self._forget()
        self._server.stop()

    def _watched(self) -> str:
        """Watch until something is wrong, and return what; "" if this was asked to stop."""
        assert self._watch is not None
        problem, blind = "", False
        while not problem and not self._stopping.is_set():
            try:
                problem = self._watch.step()
            except OSError as error:  # such as too many open files, which say nothing of the server
                if not blind:
                    _logger.warning("the server cannot be watched for now: %s", error)
                blind = True
                self._stopping.wait(TICK)
                continue
            if blind:
                _logger.info("the server is watched again")
            blind = False
            self.health.seen = time.monotonic()
        return problem

    def _started(self) -> str:
        """Start the server anew, and return why that did not work."""
        began = time.monotonic()
        try:
            self.start()
        except (BuilderError, OSError) as error:  # such as too many open files, which pass
            return str(error)
        _logger.info("all models answer again, %.1f s later", time.monotonic() - began)
        return ""

    def _prepare(self, repository: Path) -> tuple[GoldenRequest, ...]:
        """Read the active version, and check the files of one that was not checked yet."""
        if not (repository / MANIFEST).exists():
            golden: tuple[GoldenRequest, ...] = ()
        else:
            manifest = read_manifest(repository)
            record = manifest.versions[manifest.active]
            golden = golden_of(record)
            if self._version != manifest.active:
                files = listed_files(repository, manifest.active, record)
                # A configuration may be changed, see docs/operations.md.
                files = {path: each for path, each in files.items() if path.name != CONFIG}
                read = damages(files, self._heed_stop)
                if found := [f"{path} {problem}" for path, problem in read]:
                    raise ServingError("\n  ".join([*found, REPAIR]))
                self._version = manifest.active
        if not golden and not self.health.started:
            _logger.warning(
                "%s was exported without golden requests: only the processes of its models are "
                "watched, and wrong answers go unseen; export it again to have them",
                repository,
            )
        return golden

    def _published(self) -> bool:
        """Whether the active version is not the one whose files were checked.

        What was started may then be either.
        """
        if self._version is None:
            return False
        try:
            return read_manifest(self._server.repository).active != self._version
        except RepositoryError:  # the repository was moved; what was started has been checked
            return False

    def _await_first_answers(self, watch: Watch) -> None:
        """Wait until every model has answered; ServingError says what is wrong."""
        deadline = time.monotonic() + self._start_timeout
        problem = ""
        while not problem and watch.silent:
            self.health.seen = time.monotonic()
            problem = watch.step()
            if time.monotonic() > deadline:
                problem = (
                    f"no answer after {self._start_timeout:g} s from {', '.join(watch.silent)}"
                )
        problem = problem or "; ".join(
            f"{name} answers wrong: {each}" for name, each in watch.states.items() if each
        )
        self._heed_stop()
        if problem:
            raise ServingError(f"{problem}; run `python -m builder doctor`, or export again")

    def _heed_stop(self) -> None:
        """Say that there is progress; raise ServingError if this was asked to stop."""
        self.health.seen = time.monotonic()
        if self._stopping.is_set():
            raise ServingError(ASKED_TO_STOP)

    def _end(self) -> None:
        self._forget()
        self._server.kill()

    def _forget(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
