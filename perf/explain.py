"""``python -m perf explain``: what a request costs with its reasons, and without."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import numpy as np
import typer

from builder.errors import RepositoryError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY, read_manifest
from model_repository.core.batch import Request, answer
from model_repository.core.contract import EXPLAIN, HISTORY, RECOMMEND
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
_USERS: Final = 50
_ROUNDS: Final = 9
_PARAMETERS: Final = {"without": "", "with": json.dumps({EXPLAIN.name: True})}


@command
def explain(
    repository: Annotated[
        Path, typer.Option(help="Repository of a recommender, in the fused layout.")
    ] = DEFAULT_REPOSITORY,
    *,
    as_json: Json = False,
) -> None:
    """Measure the processor time of `recommend` for ten items, with reasons and without.

    In this process, without Triton, one user at a time. Histories are random. Both take turns, and
    the median of the rounds counts. Set OMP_NUM_THREADS=1 where other work runs beside.

    Example: python -m perf explain --repository repository
    """
    found = explain_cost(repository)
    typer.echo(json.dumps(found, indent=1) if as_json else table(found))


def explain_cost(repository: Path) -> list[dict[str, Any]]:
    """Microseconds of processor time a request, for each number of `EVENTS`.

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
    ids = load_catalogue(directory).ids.strings
    random = np.random.default_rng(0)
    found = []
    for events in EVENTS:
        number = min(events, len(ids) // 2)
        histories = [
            ids.take(random.choice(len(ids), number, replace=False).astype(np.int32))
            for _ in range(_USERS)
        ]
        times: dict[str, list[float]] = {name: [] for name in _PARAMETERS}
        for _ in range(_ROUNDS):
            for name, parameters in _PARAMETERS.items():
                requests = [Request({HISTORY.name: each[None]}, parameters) for each in histories]
                times[name].append(_time(handler, requests) * 1e6 / _USERS)
        found.append({"events": events, **{name: median(each) for name, each in times.items()}})
    return found


def _time(handler: UserHandler, requests: Sequence[Request]) -> float:
    started = time.process_time()
    for request in requests:
        (outcome,) = answer(handler, [request])
        if isinstance(outcome, Exception):
            raise outcome
    return time.process_time() - started


def _no_texts(texts: Sequence[str]) -> EncodedTexts:
    raise Unavailable(f"{len(texts)} texts; this measurement has none")


def table(found: Sequence[dict[str, Any]]) -> str:
    """A table in Markdown."""
    lines = ["| events of the history | without reasons, µs | with reasons, µs |", "|---|---|---|"]
    lines += [f"| {row['events']} | {row['without']:,.0f} | {row['with']:,.0f} |" for row in found]
    return "\n".join(lines)
