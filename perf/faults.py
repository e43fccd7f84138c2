"""``python -m perf faults``: what clients see while a server meets a fault, and for how long."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, MANIFEST, read_manifest
from builder.repository.integrity import listed_files
from client import RecommenderClient, RecommenderError, Retry
from perf.errors import PerfError
from perf.options import Json, note, scratch_directory
from perf.serve import Served, served, start_serve

_RATE: Final = 50.0
"""Requests a second of each client."""
_TIMEOUT: Final = 1.0
_BEFORE: Final = 1.0
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
        What ``serve`` said, or how it ended.
    well
        Seconds from the fault to the last error, and to the health port's word that all is well;
        None where nothing is served afterwards.
    clients
        By the way that they call.
    """

    fault: str
    told: str
    well: float | None = None
    clients: Mapping[str, Seen] = field(default_factory=dict)


def _signalled(process: str, number: signal.Signals) -> Callable[[Served], None]:
    return lambda running: os.kill(running.processes()[process], number)


LIVE: Final[Mapping[str, Callable[[Served], None]]] = {
    f"the process of {_MODEL} is killed": _signalled(_MODEL, signal.SIGKILL),
    f"the process of {_MODEL} is stopped": _signalled(_MODEL, signal.SIGSTOP),
    "tritonserver is killed": _signalled("tritonserver", signal.SIGKILL),
    "tritonserver is stopped": _signalled("tritonserver", signal.SIGSTOP),
    "the guard of tritonserver is killed": _signalled("guard", signal.SIGKILL),
}


def _truncate_largest(repository: Path) -> None:
    manifest = read_manifest(repository)
    files = listed_files(repository, manifest.active, manifest.versions[manifest.active])
    if not files:
        raise PerfError(f"{repository} has no hashes in its manifest; export it again")
    largest = max(files, key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def _truncate_manifest(repository: Path) -> None:
    manifest = repository / MANIFEST
    os.truncate(manifest, manifest.stat().st_size // 2)


AT_START: Final[Mapping[str, Callable[[Path], None]]] = {
    "the largest file is truncated": _truncate_largest,
    "the manifest is truncated": _truncate_manifest,
}


@command
def faults(
    repository: Annotated[
        Path, typer.Option(help="Repository of a recommender, to be served.")
    ] = DEFAULT_REPOSITORY,
    seconds: Annotated[
        float, typer.Option(help="How long clients go on after each fault.", min=1)
    ] = 8.0,
    *,
    as_json: Json = False,
) -> None:
    """Let a server meet faults, and see what its clients see and how long it takes.

    Serves the repository anew for each fault. Two clients send recommend 50 times a second: the
    SDK with its retries, and one that sends each request once. Faults at the start are made in a
    copy. Exit code 1 when a server does not answer again, or serves what it should refuse.

    Example: python -m perf faults --seconds 8
    """
    found = [meet(repository, name, fault, seconds) for name, fault in LIVE.items()]
    found.append(end_under_load(repository))
    found += [refuse(repository, name, fault) for name, fault in AT_START.items()]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=1))
    else:
        typer.echo(_table(found))


def meet(repository: Path, name: str, fault: Callable[[Served], None], seconds: float) -> Outcome:
    """Let a running server meet a fault; PerfError if it does not answer again."""
    note(name)
    with served(repository) as running:
        clients = _Clients(running.address)
        time.sleep(_BEFORE)
        began = time.monotonic()
        fault(running)
        well = None
        while time.monotonic() < began + seconds:
            if well is None and running.restarts and running.get("/ready")[0] == 200:
                well = time.monotonic()
            time.sleep(0.02)
        seen = clients.end()
        said = [line for line in running.printed.splitlines() if "starting the server" in line]
    if well is None:
        raise PerfError(f"{name}: the server did not answer again within {seconds:g} s; its "
                        f"output was:\n{running.printed.strip()}")  # fmt: skip
    last = max(well, *(each.last for each in seen.values()))
    return Outcome(name, said[0].partition("ERROR")[2].strip(), last - began, seen)


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
