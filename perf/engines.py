"""``python -m perf engines``: latency and throughput of each engine for each shape."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from builder.errors import ConfigError, RepositoryError
from builder.options import command
from model_repository.core.contract import (
    ENCODER,
    EVENT,
    EVENT_AGE,
    EVENT_COUNT,
    INPUT_IDS,
    USER_ENCODER,
)
from model_repository.core.users import NO_AGE
from perf.options import Json

if TYPE_CHECKING:  # they import torch, which the other measurements do without
    from builder.export.profiles import Shape

_CACHE: Final = Path(__file__).parents[1] / ".data"
_WARM_UP: Final = 2
_FEWEST: Final = 5
"""Executions of a shape, however long they take."""

Tensors = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class EngineTime:
    """Milliseconds of one execution with these shapes.

    ``executions`` were timed; ``per_second`` counts rows: texts or users.
    """

    model: str
    size: str
    shapes: Mapping[str, Shape]
    executions: int
    p50: float
    p99: float
    per_second: float


def measure_engines(repository: Path, *, seconds: float = 1.0) -> Iterator[EngineTime]:
    """Run each shape for that long.

    Raises
    ------
    RepositoryError
        There is none, or it holds a classifier or the fused layout.
    ExportError
        This machine cannot run its engines.
    """
    from builder.export.layout import Layout
    from builder.export.pipeline import target_named
    from builder.export.profiles import profiles
    from builder.repository import read_manifest

    manifest = read_manifest(repository)
    record = manifest.versions[manifest.active]
    if record.details.get("family") == "classifier":
        raise RepositoryError(f"{repository} holds a classifier; only recommenders are measured")
    if USER_ENCODER.name not in record.models:
        raise RepositoryError(
            f"{repository} has no model for each network; export it again, with --layout ensemble"
        )
    target = target_named(record.target)
    layout = Layout.from_dict(record.details["layout"])
    for spec in (ENCODER, USER_ENCODER):
        engine = target.load(spec, repository / spec.name / str(manifest.active))
        for profile in profiles(spec, layout):
            for size in ("smallest", "usual", "largest"):
                shapes = {name: getattr(bounds, size) for name, bounds in profile.items()}
                times = _time(engine, _inputs(shapes), seconds)
                p50, p99 = np.percentile(times, (50, 99))
                rows = next(iter(shapes.values()))[0]
                yield EngineTime(
                    spec.name,
                    size,
                    shapes,
                    len(times),
                    float(p50) * 1e3,
                    float(p99) * 1e3,
                    rows / float(np.mean(times)),
                )


@command
def engines(
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Repository of a recommender. Default: a small one is trained on MovieLens "
            "and exported."
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="Target of the small repository.")] = "tensorrt",
    seconds: Annotated[float, typer.Option(help="Time for each shape.")] = 1.0,
    *,
    as_json: Json = False,
) -> None:
    """Time the engines of a repository, one execution at a time.

    Each engine is loaded in this process as the gates of an export load it. It runs the smallest,
    the usual and the largest shape of each optimisation profile. From NumPy to NumPy: on a GPU the
    copies there and back count. Triton, its queues and its batcher do not: ask a server for those.

    Example: python -m perf engines --repository repository
    """
    name = target if repository is None else _target_of(repository)
    if missing := _missing(name):
        told = f"this machine runs no engines of {name}; it lacks {missing}"
        typer.echo(json.dumps({"skipped": told}) if as_json else f"skipped: {told}")
        return
    found = []
    with _small_repository(name) if repository is None else nullcontext(repository) as measured:
        for each in measure_engines(measured, seconds=seconds):
            found.append(each)
            if not as_json:
                typer.echo(_line(each, heading=len(found) == 1))
    if as_json:
        report = {"target": name, "engines": [dataclasses.asdict(each) for each in found]}
        typer.echo(json.dumps(report, indent=2))


def _line(time_: EngineTime, *, heading: bool) -> str:
    shapes = " ".join(f"{name}{list(shape)}" for name, shape in time_.shapes.items())
    line = (
        f"{time_.model:10} {time_.size:9} {time_.p50:9.3f} {time_.p99:9.3f} "
        f"{time_.per_second:10.0f}  {shapes}"
    )
    titles = f"{'model':10} {'size':9} {'p50 ms':>9} {'p99 ms':>9} {'rows/s':>10}  shapes\n"
    return titles + line if heading else line


def _missing(target: str) -> str | None:
    from builder.export.targets import TARGETS

    if target not in TARGETS:
        raise ConfigError(f"--target {target}: choose one of {', '.join(TARGETS)}")
    return TARGETS[target]().missing()


def _target_of(repository: Path) -> str:
    from builder.repository import read_manifest

    manifest = read_manifest(repository)
    return manifest.versions[manifest.active].target


@contextmanager
def _small_repository(target: str) -> Iterator[Path]:
    from builder.data.samples import fetch_minilm, fetch_movielens_100k
    from builder.export.layout import Limits
    from builder.export.pipeline import publish, target_named
    from builder.export.recommender import recommender
    from builder.export.targets import TargetOptions
    from builder.training.run import train
    from tests.integration.small_run import reduce_movielens, small_config

    with TemporaryDirectory() as directory:
        root = Path(directory)
        data = reduce_movielens(fetch_movielens_100k(_CACHE / "ml-100k"), root / "data")
        train(small_config(data, fetch_minilm(_CACHE / "minilm")), root / "checkpoint")
        limits = Limits(max_top_k=50, max_rows=64)
        options = TargetOptions(layout="ensemble") if target == "embedded" else None
        chosen = target_named(target, options)
        publish(recommender(root / "checkpoint", chosen, limits), root / "models", chosen)
        yield root / "models"


def _inputs(shapes: Mapping[str, Shape]) -> Tensors:
    rng = np.random.default_rng(0)
    found: Tensors = {}
    for name, shape in shapes.items():
        if name == EVENT.name:
            found[name] = rng.standard_normal(shape).astype(np.float32)
        elif name == INPUT_IDS.name:
            found[name] = rng.integers(5, 100, shape, np.int32)  # in any vocabulary, no pad
        elif name == EVENT_AGE.name:
            found[name] = np.full(shape, NO_AGE, np.int64)
        elif name == EVENT_COUNT.name:
            found[name] = np.full(shape, shapes[EVENT.name][1], np.int32)
        else:  # actions, all unknown
            found[name] = np.zeros(shape, np.int32)
    return found


def _time(engine: Any, inputs: Tensors, seconds: float) -> list[float]:
    for _ in range(_WARM_UP):
        engine.run(inputs)
    times: list[float] = []
    while len(times) < _FEWEST or sum(times) < seconds:
        started = time.perf_counter()
        engine.run(inputs)
        times.append(time.perf_counter() - started)
    return times
