"""What only a GPU can show of the TensorRT target: engines that are executed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builder.errors import ExportError, GateError
from builder.export.layout import Limits
from builder.export.options import TargetOptions
from builder.export.pipeline import Exported, publish, target_named
from builder.export.recommender import recommender
from builder.export.targets import Target
from builder.export.targets.cuda_engine import CudaEngine
from builder.export.targets.tensorrt import PLAN, REPORT, TensorRT
from builder.progress import Progress, silent
from builder.repository import from_text, read_manifest
from builder.training.run import train
from tests.integration.small_run import reduce_movielens, small_config

pytestmark = pytest.mark.gpu

LIMITS = Limits(max_top_k=50, max_rows=16)
NETWORKS = ("encoder", "user_encoder")


def export(run: Path, repository: Path, target: Target, *, progress: Progress = silent) -> Exported:
    return publish(recommender(run, target, LIMITS), repository, target, progress=progress)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, movielens: Path, minilm: Path) -> Path:
    root = tmp_path_factory.mktemp("run")
    data = reduce_movielens(movielens, root / "data")
    train(small_config(data, minilm), root / "checkpoint")
    return root / "checkpoint"


@pytest.fixture(scope="module")
def timing_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("timing") / "tensorrt.timing"


@pytest.fixture(scope="module")
def repository(run: Path, timing_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published, so the engines went through the parity grid and the ranking gate on the GPU."""
    path = tmp_path_factory.mktemp("served") / "models"
    options = TargetOptions(timing_cache=timing_cache)
    export(run, path, target_named("tensorrt", options))
    return path


def details(repository: Path) -> Any:
    return read_manifest(repository).versions[1].details


def test_the_manifest_says_what_the_engines_were_built_on(repository: Path) -> None:
    engine = details(repository)["engine"]
    major, minor = torch.cuda.get_device_capability()
    assert engine["version"] == importlib.import_module("tensorrt").__version__
    assert engine["gpu"] == torch.cuda.get_device_name()
    assert engine["compute_capability"] == f"{major}.{minor}"
    assert engine["driver"]
    assert engine["precision"] == "fp16"
    for name in NETWORKS:
        assert engine["graphs"][name]["profiles"]


def test_the_gates_ran_on_the_engines(repository: Path) -> None:
    found = details(repository)
    assert {figure["model"] for figure in found["parity"]} == set(NETWORKS)
    assert all(figure["difference"] <= figure["bound"] for figure in found["parity"])
    assert found["ranking"]["relative_loss"] <= 0.005


def test_the_inspector_reports_every_layer(repository: Path) -> None:
    for name in NETWORKS:
        layers = json.loads((repository / name / "1" / REPORT).read_text())["Layers"]
        assert layers


def test_the_configuration_names_the_profiles_that_the_engine_has(repository: Path) -> None:
    trt = importlib.import_module("tensorrt")
    for name in NETWORKS:
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine((repository / name / "1" / PLAN).read_bytes())
        config = from_text((repository / name / "config.pbtxt").read_text(), name)
        named = list(config.instance_group[0].profile)
        assert named == [str(at) for at in range(engine.num_optimization_profiles)]


def test_a_shape_outside_every_profile_is_refused(repository: Path) -> None:
    engine = CudaEngine(importlib.import_module("tensorrt"), repository / "encoder" / "1" / PLAN)
    with pytest.raises(ExportError, match=r"no optimisation profile .* INPUT_IDS \[1, 7\]"):
        engine.run({"INPUT_IDS": np.ones((1, 7), np.int32)})


def test_measured_kernel_times_are_kept_and_used(
    repository: Path, timing_cache: Path, run: Path, tmp_path: Path
) -> None:
    assert repository.is_dir()  # the first build has written them
    before = len(timing_cache.read_bytes())
    options = TargetOptions(timing_cache=timing_cache)
    export(run, tmp_path / "models", target_named("tensorrt", options))
    assert len(timing_cache.read_bytes()) >= before > 0


def test_timings_of_something_else_are_made_anew(run: Path, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt.timing"
    cache.write_bytes(b"of another GPU")
    options = TargetOptions(timing_cache=cache)
    export(run, tmp_path / "models", target_named("tensorrt", options))
    assert len(cache.read_bytes()) > 100


@pytest.mark.parametrize(
    "options",
    [
        TargetOptions(timing_cache=None, version_compatible=True),
        TargetOptions(timing_cache=None, hardware_compatibility="ampere_plus"),
    ],
    ids=["version", "hardware"],
)
def test_a_compatible_engine_passes_the_same_gates(
    run: Path, tmp_path: Path, options: TargetOptions
) -> None:
    export(run, tmp_path / "models", target_named("tensorrt", options))
    engine = details(tmp_path / "models")["engine"]
    assert engine["version_compatible"] is options.version_compatible
    assert engine["hardware_compatibility"] == options.hardware_compatibility


def test_an_engine_outside_its_bound_is_not_published(run: Path, tmp_path: Path) -> None:
    class Strict(TensorRT):
        parity = 1e-9

    with pytest.raises(GateError, match="nothing was published"):
        export(run, tmp_path / "models", Strict(TargetOptions(timing_cache=None)))
    assert not (tmp_path / "models").exists()


def test_progress_is_told_and_an_interruption_arrives(run: Path, tmp_path: Path) -> None:
    tasks: list[str] = []

    def interrupt(task: str, _done: int, _total: int) -> None:
        tasks.append(task)
        if task == "build encoder":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(
            run, tmp_path / "models", TensorRT(TargetOptions(timing_cache=None)),
            progress=interrupt,
        )  # fmt: skip
    assert tasks[-1] == "build encoder"
