"""``python -m perf faults``: what clients see while a server meets a fault, and for how long."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, MANIFEST, read_manifest
from builder.repository.integrity import listed_files
from builder.repository.publish import CONFIG
from client import RecommenderClient, RecommenderError, Retry
from model_repository.core.contract import USER_ENCODER
from perf import bad_clients, scarcity
from perf.errors import PerfError
from perf.options import Json, note, scratch_directory
from perf.serve import Served, served, start_serve

_RATE: Final = 50.0
"""Requests a second of each client."""
_TIMEOUT: Final = 1.0
_BEFORE: Final = 1.0
_AFTER: Final = 2.0
"""Seconds that clients go on after a fault without which the server was well all the time."""
_VECTORS: Final = "item_vectors.npy"
_MODEL: Final = "recommend"


@dataclass(slots=True)
class Seen:
    """What a client saw: how many requests it sent, and which errors came back."""

    requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    last: float = 0.0

    @property
    def lost(self) -> int:
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault.

    Attributes
    ----------
    told
        What ``serve`` said, how it ended, or what came of what was tried.
    well
        Seconds from the fault to the last error, and to the health port's word that all is well,
        where the server has to be started anew; None where nothing is served afterwards.
    clients
        By the way that they call.
    """

    fault: str
    told: str
    well: float | None = None
    clients: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a server that runs.

    Attributes
    ----------
    act
        Lets it happen, and says what came of it where the log of ``serve`` does not.
    restarts
        Whether the server has to be started anew. If not, it must go on as it is.
    serve
        Serves a repository where the fault can happen.
    """

    act: Callable[[Served], str]
    restarts: bool = False
    serve: Callable[[Path], AbstractContextManager[Served]] = served


def _signalled(process: str, number: signal.Signals) -> Fault:
    def act(running: Served) -> str:
        if process not in running.processes():
            raise scarcity.CannotTryError("the repository has no such model")
        os.kill(running.processes()[process], number)
        return ""

    return Fault(act, restarts=True)


def _clients(act: Callable[[str], str]) -> Fault:
    return Fault(lambda running: act(running.address))


LIVE: Final[Mapping[str, Fault]] = {
    f"the process of {_MODEL} is killed": _signalled(_MODEL, signal.SIGKILL),
    f"the process of {_MODEL} is stopped": _signalled(_MODEL, signal.SIGSTOP),
    "the process of user_encoder is stopped": _signalled(USER_ENCODER.name, signal.SIGSTOP),
    "tritonserver is killed": _signalled("tritonserver", signal.SIGKILL),
    "tritonserver is stopped": _signalled("tritonserver", signal.SIGSTOP),
    "the guard of tritonserver is killed": _signalled("guard", signal.SIGKILL),
    f"the process of {_MODEL} gets no memory": Fault(scarcity.use_up_memory, restarts=True),
    "the shared memory is used up": Fault(
        scarcity.use_up_shared_memory, serve=scarcity.on_small_shared_memory
    ),
    "the disk is full while a version is published": Fault(
        scarcity.publish_on_a_full_disk, serve=scarcity.on_a_small_disk
    ),
    "clients leave at every stage": _clients(bad_clients.leave_at_every_stage),
    "clients read no answers": _clients(bad_clients.read_nothing),
    "deadlines pass": _clients(bad_clients.wait_too_short),
    "idle connections": _clients(bad_clients.stay_idle),
}


def _files(repository: Path) -> list[Path]:
    """The files of the active version, largest first, but configurations, which may be changed."""
    manifest = read_manifest(repository)
    files = listed_files(repository, manifest.active, manifest.versions[manifest.active])
    if not files:
        raise PerfError(f"{repository} has no hashes in its manifest; export it again")
    kept = [file for file in files if file.name != CONFIG]
    return sorted(kept, key=lambda file: file.stat().st_size, reverse=True)


def _truncate_largest(repository: Path) -> None:
    largest = _files(repository)[0]
    os.truncate(largest, largest.stat().st_size // 2)


def _change_catalogue(repository: Path) -> None:
    """As if it were that of another export: as many items, in another order."""
    for file in _files(repository):
        if file.name == _VECTORS and file.parents[1].name == _MODEL:
            np.save(file, np.load(file)[::-1])
            return
    raise PerfError(f"{repository} holds no catalogue; name the repository of a recommender")


def _truncate_manifest(repository: Path) -> None:
    manifest = repository / MANIFEST
    os.truncate(manifest, manifest.stat().st_size // 2)


AT_START: Final[Mapping[str, Callable[[Path], None]]] = {
    "the largest file is truncated": _truncate_largest,
    "the item vectors are those of another export": _change_catalogue,
    "the manifest is truncated": _truncate_manifest,
}


@command
def faults(
    repository: Annotated[
        Path, typer.Option(help="Repository of a recommender, to be served.")
    ] = DEFAULT_REPOSITORY,
    seconds: Annotated[
        float, typer.Option(help="How long a server may take to be started anew.", min=1)
    ] = 8.0,
    *,
    as_json: Json = False,
) -> None:
    """Let a server meet faults, and see what its clients see and how long it takes.

    Serves the repository anew for each fault. Two clients send recommend 50 times a second: the
    SDK with its retries, and one that sends each request once. Faults at the start are made in a
    copy. Exit code 1 when a server does not answer again, is started anew without need, or serves
    what it should refuse. Full disks and full shared memory need the right to mount file systems.

    Example: python -m perf faults --seconds 8
    """
    found = [meet(repository, name, fault, seconds) for name, fault in LIVE.items()]
    found.append(end_under_load(repository))
    found += [refuse(repository, name, fault) for name, fault in AT_START.items()]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=1))
    else:
        typer.echo(_table(found))


def meet(repository: Path, name: str, fault: Fault, seconds: float) -> Outcome:
    """Let a running server meet a fault.

    Raises
    ------
    PerfError
        It does not answer again, or is started anew though it need not be.
    """
    note(name)
    try:
        with fault.serve(repository) as running:
            return _met(running, name, fault, seconds)
    except scarcity.CannotTryError as error:
        return Outcome(name, f"not tried: {error}")


def _met(running: Served, name: str, fault: Fault, seconds: float) -> Outcome:
    before = running.processes()
    clients = _Clients(running.address)
    try:
        time.sleep(_BEFORE)
        began = time.monotonic()
        told = fault.act(running)
        if fault.restarts:
            well = _restarted(running, began + seconds)
        else:
            time.sleep(_AFTER)
            well = began if running.get("/ready")[0] == 200 else None
    finally:
        seen = clients.end()
    said = [line for line in running.printed.splitlines() if "starting the server" in line]
    problem = ""
    if not fault.restarts and (said or running.processes() != before):
        problem = "the server was started anew"
    elif well is None:
        problem = f"the server did not answer again within {seconds:g} s"
    if problem or well is None:
        raise PerfError(f"{name}: {problem}; its output was:\n{running.printed.strip()}")
    last = max(well, *(each.last for each in seen.values()))
    told = "; ".join(filter(None, (told, *(line.partition("ERROR")[2].strip() for line in said))))
    return Outcome(name, told, last - began, seen)


def _restarted(running: Served, deadline: float) -> float | None:
    """When a server that is started anew answers again; None if it does not until ``deadline``."""
    well = None
    while time.monotonic() < deadline:
        if well is None and running.restarts and running.get("/ready")[0] == 200:
            well = time.monotonic()
        time.sleep(0.02)
    return well


def end_under_load(repository: Path) -> Outcome:
    """Ask a server to stop while clients send."""
    name = "SIGTERM under load"
    note(name)
    with served(repository) as running:
        clients = _Clients(running.address)
        time.sleep(_BEFORE)
        clients.over.set()  # what is under way by now is answered, and nothing else is sent
        code = running.end()
        return Outcome(name, f"exit code {code}", clients=clients.end())


def refuse(repository: Path, name: str, fault: Callable[[Path], None]) -> Outcome:
    """Serve a copy with a fault; PerfError if it is served."""
    note(name)
    with scratch_directory() as scratch:
        copy = Path(shutil.copytree(repository, scratch / "repository"))
        fault(copy)
        with start_serve(copy) as process:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "Press Ctrl-C" in line:
                    process.send_signal(signal.SIGTERM)
                    raise PerfError(f"{name}: it is served all the same")
        reason = said.partition("error: ")[2].strip().splitlines() or [said.strip()]
        return Outcome(name, f"refused: {reason[0].replace(str(copy), str(repository))}")


class _Clients:
    """One with the retries of the SDK, and one without, each in a thread."""

    def __init__(self, address: str) -> None:
        self.over = threading.Event()
        self._seen = {"with retries": Seen(), "without": Seen()}
        policies = (Retry(), Retry(attempts=1))
        self._threads = [
            threading.Thread(target=self._send, args=(address, retry, seen))
            for retry, seen in zip(policies, self._seen.values(), strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> dict[str, Seen]:
        self.over.set()
        for thread in self._threads:
            thread.join()
        return self._seen

    def _send(self, address: str, retry: Retry, seen: Seen) -> None:
        due = time.monotonic()
        with RecommenderClient(address, retry=retry, timeout=_TIMEOUT) as client:
            while not self.over.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / _RATE, time.monotonic())
                seen.requests += 1
                try:
                    client.recommend([])
                except RecommenderError as error:
                    code = error.code.name if error.code else type(error).__name__
                    seen.errors[code] = seen.errors.get(code, 0) + 1
                    seen.last = time.monotonic()


def _table(outcomes: list[Outcome]) -> str:
    lines = ["| fault | what serve did | seconds until all is well | lost with retries | without |",
             "|---|---|---|---|---|"]  # fmt: skip
    for each in outcomes:
        well = "" if each.well is None else f"{each.well:.1f}"
        lost = [_lost(seen) for seen in each.clients.values()] or ["", ""]
        lines.append(f"| {each.fault} | {each.told} | {well} | {' | '.join(lost)} |")
    return "\n".join(lines)


def _lost(seen: Seen) -> str:
    codes = ", ".join(f"{count} {code}" for code, count in sorted(seen.errors.items()))
    return f"{seen.lost} of {seen.requests}" + (f" ({codes})" if codes else "")
