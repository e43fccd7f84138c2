"""``python -m perf request-options``: what the options of ``recommend`` cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from builder.errors import RepositoryError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from builder.serving import TritonServer
from client import RecommenderClient
from model_repository.core.attributes import Attributes
from model_repository.core.batch import Request, answer
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import HISTORY, RECOMMEND
from model_repository.core.errors import Unavailable
from model_repository.core.handler import EncodedTexts, UserHandler
from model_repository.steps.catalogue_files import load_catalogue
from model_repository.steps.user_models import (
    USER_ENCODER_FILE,
    load_handler,
    load_user_encoder,
)
from perf.options import Json

EVENTS: Final = (10, 50)
NONE: Final = "all off"
_USERS: Final = 50
_ROUNDS: Final = 9


@command
def request_options(
    repository: Annotated[
        Path, typer.Option(help="Repository of a recommender, in the fused layout.")
    ] = DEFAULT_REPOSITORY,
    *,
    through_triton: Annotated[
        bool, typer.Option(help="Start the server, and measure the latency (p50) of one client.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure what `recommend` takes for ten items, with options and without.

    By default the processor time in this process, without Triton, one user at a time. Histories are
    random. All take turns, and the median of the rounds counts. Rules are measured where the export
    has attributes of the kinds number and list. Set OMP_NUM_THREADS=1 where other work runs beside.

    Example: python -m perf request-options --repository repository --through-triton
    """
    found = (latencies if through_triton else option_costs)(repository)
    typer.echo(json.dumps(found, indent=1) if as_json else table(found))


def option_costs(repository: Path) -> dict[str, dict[str, float]]:
    """Microseconds of processor time a request, by name and then by each number of `EVENTS`.

    Raises
    ------
    RepositoryError
        There is none, or it does not hold a recommender in the fused layout.
    """
    directory = repository / RECOMMEND.name / str(read_manifest(repository).active)
    if not (directory / USER_ENCODER_FILE).exists():
        raise RepositoryError(
            f"{repository} has no {RECOMMEND.name} with a network of its own; export a recommender "
            "with `python -m builder export --layout fused`"
        )
    handler = load_handler(RECOMMEND.name, directory, load_user_encoder(directory), _no_texts)

    def times_of(
        histories: Sequence[NDArray[np.object_]], options: Mapping[str, Any]
    ) -> list[float]:
        parameters = json.dumps(options)
        requests = [Request({HISTORY.name: each[None]}, parameters) for each in histories]
        return [_time(handler, requests) / len(requests)]

    return _in_turns(load_catalogue(directory), times_of)


def latencies(repository: Path) -> dict[str, dict[str, float]]:
    """The same: the median latency of a client that asks a server of the repository."""
    manifest = read_manifest(repository)
    catalogue = load_catalogue(repository / RECOMMEND.name / str(manifest.active))
    with TritonServer(repository) as server, RecommenderClient(server.grpc_address) as client:

        def times_of(
            histories: Sequence[NDArray[np.object_]], options: Mapping[str, Any]
        ) -> list[float]:
            taken = []
            for history in histories:
                events = [item.decode() for item in history.tolist()]
                started = time.perf_counter()
                client.recommend(events, **options)
                taken.append(time.perf_counter() - started)
            return taken

        return _in_turns(catalogue, times_of)


def _in_turns(
    catalogue: Catalogue,
    times_of: Callable[[Sequence[NDArray[np.object_]], Mapping[str, Any]], list[float]],
) -> dict[str, dict[str, float]]:
    """The median of what is measured for histories with each set of options, in µs."""
    ids = catalogue.ids.strings
    random = np.random.default_rng(0)
    asked = _asked(catalogue.attributes)
    found: dict[str, dict[str, float]] = {name: {} for name in asked}
    for events in EVENTS:
        number = min(events, len(ids) // 2)
        histories = [
            ids.take(random.choice(len(ids), number, replace=False).astype(np.int32))
            for _ in range(_USERS)
        ]
        times: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(_ROUNDS):
            for name, options in asked.items():
                times[name] += times_of(histories, options)
        for name, each in times.items():
            found[name][str(events)] = median(each) * 1e6
    return found


def _asked(attributes: Attributes) -> dict[str, Mapping[str, Any]]:
    """Options by a name for each set of them."""
    found: dict[str, Mapping[str, Any]] = {NONE: {}}
    kinds = {column.kind: name for name, column in attributes.columns.items()}
    if {"number", "list"} <= kinds.keys():
        number, listed = kinds["number"], kinds["list"]
        filtered = {"filter": f"known({number})"}
        boost = {"boost": f"*1.5 if {number} > 0"}
        limits = {"limits": f"at most 4 per {listed}; at least 2 where {number} > 0"}
        rules = {**filtered, **boost, **limits}
        found |= {
            "filter": filtered,
            "boost": boost,
            "limits": limits,
            "filter, boost, limits": rules,
            "filter, boost, limits, diversity": {**rules, "diversity": 0.5},
        }
    return found | {
        "diversity": {"diversity": 0.5},
        "explore": {"explore": "softmax"},
        "cursor": {"cursor": "start"},
        "trace": {"trace": True},
        "explain": {"explain": True},
    }


def _time(handler: UserHandler, requests: Sequence[Request]) -> float:
    started = time.process_time()
    for request in requests:
        (outcome,) = answer(handler, [request])
        if isinstance(outcome, Exception):
            raise outcome
    return time.process_time() - started


def _no_texts(texts: Sequence[str]) -> EncodedTexts:
    raise Unavailable(f"{len(texts)} texts; this measurement has none")


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """A table in Markdown."""
    events = list(found[NONE])
    lines = [
        f"| options | {' | '.join(f'{each} events, µs' for each in events)} |",
        f"|---|{'---|' * len(events)}",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{times[each]:,.0f}' for each in events)} |"
        for name, times in found.items()
    ]
    return "\n".join(lines)
