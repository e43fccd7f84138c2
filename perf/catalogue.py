"""``python -m perf catalogue``: what the size of the catalogue costs, in time and in memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from builder.errors import GateError
from builder.export.index_gate import IndexFigure, write_index
from builder.options import Given, check, command, option
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from builder.serving import TritonServer
from model_repository.core.users import History
from model_repository.steps.catalogue_files import load_catalogue
from model_repository.steps.user_models import INDEX_FILE, load_scorer, load_user_encoder
from perf.errors import PerfError
from perf.goals import (
    APPROXIMATE,
    CATALOGUE_CURVE,
    EXACT,
    READING,
    SERVED,
    SERVED_APPROXIMATE,
)
from perf.load import closed_loop, infer_request, triton_infer
from perf.machine import describe_machine, describe_versions
from perf.measurement import Contender, Summary, take_turns
from perf.options import Json, note, numbers, scratch_directory
from perf.plots import draw
from perf.processes import model_processes
from perf.report import Report, markdown, write_json
from perf.synthetic import Descent, history_of, write_repository
from perf.workload import Workload, read_workload

_RESULTS: Final = Path(__file__).with_name("results")
_TOP: Final = 10
_START: Final = 300.0  # seconds for a server with a large catalogue to load it


@dataclass(frozen=True)
class CatalogueOptions:
    """What is measured, and where the report goes."""

    sizes: str = option("1000,10000,100000,1000000", "Numbers of items.", metavar="N,N")
    checkpoint: Path = option(Path("runs/demo"), "The trained model, whose users are the load.")
    repository: Path = option(
        DEFAULT_REPOSITORY, "Repository exported from it, in the fused layout."
    )
    seed: int = option(0, "Seed of the synthetic catalogue.")
    repetitions: int = option(5, "Blocks of each measurement.", at_least=1)
    seconds: float = option(2.0, "Length of a block.", above=0)
    output: Path = option(_RESULTS, "Directory of the report.")
    name: str = option("catalogue", "Name of the report's files.")

    def __post_init__(self) -> None:
        check(self, "catalogue")


@command
def catalogue(*, given: Given[CatalogueOptions], as_json: Json = False) -> None:
    """Measure latency and memory against the size of the catalogue.

    A catalogue of each size is made from the exported one: each item gets descendants near it.
    Two times are then measured in turns, on one core: reading the vectors once, and the search
    behind `recommend` for one user, exact and with the index of `export --index approximate`.
    Then both are served on the real tritonserver, and `recommend` is measured over gRPC with one
    client, with the memory of its process. Users are the checkpoint's. The report goes to
    --output: JSON, the tables as Markdown, plots as SVG. A million items take 1.1 GB of temporary
    files.

    Example: python -m perf catalogue --sizes 1000,200000 --repetitions 2 --output build/catalogue
    """
    options = given.make()
    sizes = sorted({int(size) for size in numbers("--sizes", options.sizes)})
    workload = read_workload(options.checkpoint, options.seed)
    settings = {
        "sizes": sizes,
        "repetitions": options.repetitions,
        "seconds": options.seconds,
        "seed": options.seed,
    }
    report = Report(describe_machine(), describe_versions(), settings, {})
    results: dict[str, dict[str, Summary]] = {}
    for size in sizes:
        with scratch_directory() as scratch:
            note(f"{size:,} items")
            measured, told = _measure(options, workload, size, scratch)
        results[f"{CATALOGUE_CURVE}{size}"] = measured
        report.catalogues[str(size)] = told
    report.results = results
    content = write_json(report, options.output / f"{options.name}.json")
    text = markdown(content)
    (options.output / f"{options.name}.md").write_text(text, "utf-8")
    draw(content, options.output, options.name)
    typer.echo(json.dumps(content, indent=1) if as_json else text, nl=as_json)
    note(f"written to {options.output / options.name}.json, .md and -*.svg")


def _measure(
    options: CatalogueOptions, workload: Workload, size: int, scratch: Path
) -> tuple[dict[str, Summary], dict[str, Any]]:
    """The blocks of each contender, and what else there is to tell of a catalogue."""
    repository = scratch / "exact"
    descent = write_repository(options.repository, repository, size, options.seed)
    place = Path("recommend", str(read_manifest(options.repository).active))
    histories = _histories(options.repository / place, workload, descent)
    note("  building an index")
    indexed = scratch / "approximate"
    shutil.copytree(repository, indexed, copy_function=os.symlink)
    figure = _index(indexed / place, histories)

    def turns(contenders: Sequence[Contender]) -> dict[str, Summary]:
        return take_turns(contenders, options.repetitions, options.seconds)

    note("  searching in process")
    vectors = np.asarray(np.load(repository / place / "item_vectors.npy", mmap_mode="r"))
    searched = [
        _timed(READING, lambda _number: vectors.max()),
        _timed(EXACT, _search(repository / place, histories)),
    ]
    if figure:
        searched.append(_timed(APPROXIMATE, _search(indexed / place, histories)))
    with threadpool_limits(1, "blas"):  # as many as read the vectors
        measured = turns(searched)
    told: dict[str, Any] = {"vector_bytes": vectors.nbytes}
    note("  serving")
    requests = [
        infer_request("recommend", {"HISTORY": [str(item) for item in history.slots]})
        for history in histories
    ]
    with ExitStack() as stack:
        served = {SERVED: stack.enter_context(TritonServer(repository, start_timeout=_START))}
        if figure:
            served[SERVED_APPROXIMATE] = stack.enter_context(
                TritonServer(indexed, start_timeout=_START)
            )
        measured |= turns([_served(name, server, requests) for name, server in served.items()])
        told["resident"], told["anonymous"] = _memory(served[SERVED])
        if figure:
            told["resident_approximate"], told["anonymous_approximate"] = _memory(
                served[SERVED_APPROXIMATE]
            )
            told |= figure.to_dict()
    return measured, told


def _index(directory: Path, histories: Sequence[History]) -> IndexFigure | None:
    """Write an index, unless the catalogue is too small for one."""
    users = load_scorer(directory, load_user_encoder(directory)).users(histories)
    try:
        return write_index(directory, users.states)
    except GateError as error:
        note(f"  left out: {error}")
        (directory / INDEX_FILE).unlink()
        return None


def _histories(real: Path, workload: Workload, descent: Descent) -> list[History]:
    """What the users did, every event on a descendant of the item that it was on.

    Events on items without descendants, as there are in catalogues smaller than the real one, are
    left out.
    """
    ids = load_catalogue(real).ids
    random = np.random.default_rng(0)
    histories = []
    for user in workload.users:
        places = ids.indices([item.encode() for item in user.history])
        if None in places:
            raise PerfError(
                f"{real} has no item {user.history[places.index(None)]!r}, which the checkpoint "
                "knows; name the checkpoint that it was exported from with --checkpoint"
            )
        parents = np.array(places, np.int64)
        events = descent.child(parents[descent.has_children(parents)], random)
        histories.append(history_of(events))
    return histories


def _search(directory: Path, histories: Sequence[History]) -> Callable[[int], object]:
    """What searches for one user after another, items of the history left out."""
    scorer = load_scorer(directory, load_user_encoder(directory))
    users = [scorer.users([history]) for history in histories]
    seen = [np.unique(history.slots) for history in histories]

    def search(number: int) -> object:
        user = number % len(histories)
        return scorer.best(users[user], [seen[user]], [_TOP])

    return search


def _timed(name: str, work: Callable[[int], object]) -> Contender:
    return Contender(name, lambda seconds: closed_loop(lambda: work, 1, seconds))


def _served(name: str, server: TritonServer, requests: Sequence[bytes]) -> Contender:
    connect = triton_infer(server.grpc_address, requests)
    return Contender(name, lambda seconds: closed_loop(connect, 1, seconds))


def _memory(server: TritonServer) -> tuple[float, float]:
    """MiB of the process of ``recommend``: what is resident, and what of it is no mapped file."""
    (process,) = (each for each, name in model_processes(server) if name == "recommend")
    memory = process.memory_info()
    return memory.rss / 2**20, (memory.rss - memory.shared) / 2**20
