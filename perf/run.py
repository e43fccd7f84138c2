"""``python -m perf run``: all systems side by side; ``table`` and ``plot`` show a run again."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from builder.options import Given, check, command, option
from builder.serving import TritonServer
from client import RecommenderClient
from perf import environments, goals, systems
from perf.analyzer import find_analyzer
from perf.benchmark import (
    CASES,
    Run,
    Systems,
    check_agreement,
    stage_costs,
    start_times,
)
from perf.cross_check import cross_check
from perf.errors import PerfError
from perf.floor import write_floor
from perf.machine import (
    describe_machine,
    describe_versions,
    memory_bandwidth,
    multiplication_rate,
)
from perf.options import Json, ServerOptions, note, scratch_directory, served
from perf.plots import draw
from perf.report import Report, markdown, put_into, read_json, write_json
from perf.served_quality import measure_quality
from perf.two_step import TwoStep
from perf.workload import read_workload

PEERS: Final = (
    "infinity", "infinity-onnx", "textbook", "sentence-transformers", "cross-encoder", "two-step",
    "engine",
)  # fmt: skip
_RESULTS: Final = Path(__file__).with_name("results")


@dataclass(frozen=True)
class RunOptions(ServerOptions):
    """What takes part in a run, how it is measured, and where the report goes."""

    int8: Path | None = option(
        None, "A second repository of the same checkpoint, exported with `--precision int8`."
    )
    ensemble: Path | None = option(
        None, "A second repository of the same checkpoint, exported with `--layout ensemble`."
    )
    other: list[str] | None = option(
        None,
        "One more repository of the same checkpoint, such as one exported by another version "
        "of this software. It takes part in every case, under this name. With INT8 in its "
        "name, its vectors may differ as much as those of INT8. Repeatable.",
        metavar="NAME=PATH",
    )
    cases: str = option("all", f"all, none, or some of: {', '.join(CASES)}, start.")
    peers: str = option("all", f"all, none, or some of: {', '.join(PEERS)}.")
    repetitions: int | None = option(None, "Blocks of each system. Default: 5.", at_least=1)
    seconds: float | None = option(None, "Length of a block. Default: 5.", above=0)
    cores: str | None = option(None, "Cores that everything runs on, such as 0,1.", metavar="N,N")
    quick: bool = option(
        default=False,
        meaning="One short block each, only with installed peers: shows that everything works; "
        "the figures are not reliable.",
        flag="--quick",
    )
    output: Path = option(_RESULTS, "Directory of the report.")
    name: str | None = option(None, "Name of the report's files. Default: the time.")

    def __post_init__(self) -> None:
        check(self, "run")


@dataclass(frozen=True, slots=True)
class _Settings:
    cases: list[str]
    peers: list[str]
    others: dict[str, Path]
    repetitions: int
    seconds: float


@command
def run(*, given: Given[RunOptions], as_json: Json = False) -> None:
    """Measure all systems side by side, in one run.

    Starts our server, empty models and the peers, compares their answers, then lets them take
    turns under each load. All serve the checkpoint's encoder. The report goes to
    --output: one JSON file, the tables as Markdown, plots as SVG.

    Example: python -m perf run --cases encode-128 --peers infinity,engine
    """
    options = given.make()
    settings = _settings(options)
    if options.cores:
        # Inherited by every server and peer.
        try:
            os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
        except (ValueError, OSError) as error:
            raise PerfError(f"--cores {options.cores}: not cores of this machine") from error
    workload = read_workload(options.checkpoint, options.seed)
    analyzer = find_analyzer(options.environments)
    machine = describe_machine()
    if not options.quick:
        machine["memory_bandwidth"] = memory_bandwidth()
        machine["multiplication_rate"] = multiplication_rate()
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_directory())
        floor = write_floor(scratch / "floor")
        results: dict[str, Any] = {}
        if "start" in settings.cases and not options.address:
            note("start: servers, one after the other")
            results["start"] = start_times(
                {goals.OURS: options.repository, **settings.others, goals.FLOOR: floor},
                settings.repetitions,
            )
        note("starting the systems")
        taking_part = Systems({goals.OURS: stack.enter_context(served(options))})
        for name, repository in settings.others.items():
            server = stack.enter_context(TritonServer(repository))
            taking_part.tritons[name] = server.grpc_address
        taking_part.floor = stack.enter_context(TritonServer(floor)).grpc_address
        versions: dict[str, Any] = {"ours": describe_versions()}
        versions |= _start_peers(taking_part, settings.peers, options, scratch, stack)
        run = Run(
            taking_part, analyzer, workload, settings.repetitions, settings.seconds, note, scratch,
            results,
        )  # fmt: skip
        if taking_part.infinity and "two-step" in settings.peers:
            taking_part.two_step = TwoStep(taking_part.infinity, workload)
        note("holding the answers against each other")
        agreement = check_agreement(run)
        report = Report(
            machine, versions, _settings_dict(options, settings), run.results, agreement
        )
        stem = options.name or datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        file = options.output / f"{stem}.json"
        for case in settings.cases:
            if case != "start":
                CASES[case](run)
            write_json(report, file)  # so that a run that is cut short leaves what it measured
        note("what the answers are worth")
        with RecommenderClient(taking_part.ours, timeout=60) as client:
            report.quality = measure_quality(client, taking_part.two_step, workload)
        note("holding the two load generators against each other, and what each step costs")
        report.cross_check = cross_check(run, settings.seconds)
        report.stages = stage_costs(run, settings.seconds)
        report.repeated = sorted(run.repeated)
    content = write_json(report, file)
    text = markdown(content)
    (options.output / f"{stem}.md").write_text(text, "utf-8")
    draw(content, options.output, stem)
    typer.echo(json.dumps(content, indent=1) if as_json else text, nl=as_json)
    note(f"written to {options.output / stem}.json, .md and -*.svg")


_Report = Annotated[Path, typer.Argument(help="A JSON file of `python -m perf run`.")]


@command
def table(
    report: _Report,
    into: Annotated[
        list[Path] | None,
        typer.Option(help="Markdown file to put the tables into, between its marks. Repeatable."),
    ] = None,
    *,
    only_goals: Annotated[bool, typer.Option("--goals", help="Print the goals alone.")] = False,
) -> None:
    """Print a report's tables as Markdown, or put them between the marks of a file.

    Example: python -m perf table perf/results/published.json --into docs/performance.md
    """
    text = markdown(read_json(report), only_goals=only_goals)
    for document in into or ():
        put_into(document, text)
    if not into:
        typer.echo(text, nl=False)


@command
def plot(report: _Report) -> None:
    """Draw the plots of a report, as SVG beside it.

    Example: python -m perf plot perf/results/published.json
    """
    for file in draw(read_json(report), report.parent, report.stem):
        typer.echo(str(file))


def _settings(options: RunOptions) -> _Settings:
    known = [*CASES, "start"]
    cases = _chosen("--cases", options.cases, known)
    peers = _chosen("--peers", options.peers, PEERS)
    if options.quick and options.peers == "all":
        installed = [name for name in PEERS if _is_installed(name, options.environments)]
        note(f"peers that are installed: {', '.join(installed)}")
        peers = installed
    if "two-step" in peers and "infinity" not in peers:
        raise PerfError("--peers two-step needs infinity too")
    repetitions = options.repetitions or (1 if options.quick else 5)
    seconds = options.seconds or (0.6 if options.quick else 5.0)
    others = _others(options)
    names = [goals.OURS, *(name for name, _ in others)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PerfError(f"two repositories are called {twice.pop()!r}; give one another name")
    return _Settings(cases, peers, dict(others), repetitions, seconds)


def _others(options: RunOptions) -> list[tuple[str, Path]]:
    given = [(goals.INT8, options.int8), (goals.ENSEMBLE, options.ensemble)]
    others = [(name, path) for name, path in given if path]
    for text in options.other or ():
        name, _, path = text.partition("=")
        if not name or not path:
            raise typer.BadParameter(f"{text!r} is not of the form NAME=PATH", param_hint="--other")
        others.append((name, Path(path)))
    return others


def _chosen(option: str, text: str, known: Any) -> list[str]:
    if text in ("all", "none"):
        return list(known) if text == "all" else []
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in known]:
        raise PerfError(f"{option} {','.join(unknown)}: there are {', '.join(known)}")
    return [name for name in known if name in chosen]


def _is_installed(peer: str, directory: Path) -> bool:
    if peer == "engine":
        return True
    infinity = peer in ("infinity", "infinity-onnx", "two-step")
    environment = environments.INFINITY if infinity else environments.TRANSFORMERS
    return environments.is_made(environment, directory)


def _start_peers(
    taking_part: Systems,
    peers: list[str],
    options: RunOptions,
    scratch: Path,
    stack: ExitStack,
) -> dict[str, Any]:
    """Start the peers; returns the versions of what they run."""
    model = (options.checkpoint / "encoder").resolve()
    versions: dict[str, Any] = {}
    if {"infinity", "infinity-onnx"} & set(peers):
        python = environments.python_of(environments.INFINITY, options.environments)
        versions["infinity"] = environments.versions_of(
            python, ("infinity-emb", "torch", "transformers", "sentence-transformers")
        )
        if "infinity" in peers:
            taking_part.infinity = stack.enter_context(systems.infinity(python, model))
        if "infinity-onnx" in peers:
            try:
                taking_part.infinity_onnx = stack.enter_context(
                    systems.infinity(
                        python, systems.export_onnx(python, model, scratch), engine="optimum"
                    )
                )
            except PerfError as error:
                note(f"left out: {error}")
                versions["infinity-onnx"] = {"left out": str(error)}
    if {"textbook", "sentence-transformers", "cross-encoder"} & set(peers):
        python = environments.python_of(environments.TRANSFORMERS, options.environments)
        versions["transformers"] = environments.versions_of(
            python, ("sentence-transformers", "torch", "transformers", "fastapi", "uvicorn")
        )
        if "textbook" in peers:
            taking_part.textbook = stack.enter_context(systems.textbook(python, model))
        if "sentence-transformers" in peers:
            taking_part.library = stack.enter_context(
                systems.in_process(goals.LIBRARY, python, "sentence-transformers", model)
            )
        if "cross-encoder" in peers:
            taking_part.cross_encoder = stack.enter_context(
                systems.in_process(goals.CROSS_ENCODER, python, "cross-encoder", model)
            )
    if "engine" in peers and not options.address:
        taking_part.engine = stack.enter_context(
            systems.in_process(
                goals.ENGINE, Path(sys.executable), "engine", options.repository.resolve()
            )
        )
    return versions


def _settings_dict(options: RunOptions, settings: _Settings) -> dict[str, Any]:
    return {
        "cases": settings.cases,
        "peers": settings.peers,
        "repetitions": settings.repetitions,
        "seconds": settings.seconds,
        "seed": options.seed,
        "cores": options.cores,
        "quick": options.quick,
        "others": list(settings.others),
    }
