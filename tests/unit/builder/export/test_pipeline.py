"""What is published, all of it or nothing, and what is told of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import model_repository
from builder.command_line import app
from builder.doctor import IMAGES, TritonImage, diagnose, image_server
from builder.errors import ConfigError, ExportError, GateError
from builder.export import serving_code
from builder.export.fp16 import convert_to_fp16
from builder.export.layout import Layout
from builder.export.onnx import NAME_SCOPES
from builder.export.parity import FLOAT, HALF
from builder.export.pipeline import REPORT, SCHEMA, prove
from builder.export.profiles import Profile, profiles
from builder.export.recommender import recommender as exportable_of
from builder.export.serving_code import PACKAGE, install
from builder.export.targets import Built, TargetOptions
from builder.export.targets.embedded import Embedded
from builder.model.scoring import TorchUserEncoder
from builder.progress import Progress, silent
from builder.repository import MANIFEST, from_text, read_manifest
from model_repository.core import contract
from model_repository.core.contract import ModelSpec
from model_repository.core.errors import InvalidRequest
from model_repository.core.options import RepositoryPolicy
from model_repository.core.score_terms import Users
from model_repository.core.users import History
from model_repository.engines.engine import Engine
from model_repository.engines.onnx import OnnxEngine
from model_repository.steps.catalogue_files import load_catalogue
from model_repository.steps.libraries import LIBRARIES_FILE, check_libraries
from model_repository.steps.user_models import load_scorer
from tests.shared import first_of
from tests.unit.builder.export.checkpoints import (
    LIMITS,
    assert_no_path,
    embedded,
    export,
    files_of,
    write_checkpoint,
)
from tests.unit.builder.export.test_parity import Faulty
from tests.unit.builder.model.tiny import GENRES, ITEM_PROFILE, YEARS, adapter, recommender

ROOT = Path(__file__).parents[4]
SOURCE = Path(model_repository.__file__).parent
LAYOUTS = ("fused", "ensemble")
MODELS = {
    "fused": ("encode", "rank", "recommend"),
    "ensemble": (
        "adapter", "encode", "encoder", "rank", "rank_texts", "recommend", "tokenizer",
        "user_encoder",
    ),
}  # fmt: skip


class NotFinite(Embedded):
    def load(self, spec: ModelSpec, directory: Path) -> Engine:
        return Faulty(super().load(spec, directory), "nan")


def test_nothing_is_there_where_a_gate_fails(checkpoint: Path, tmp_path: Path) -> None:
    target = NotFinite(TargetOptions(layout="ensemble"))
    with pytest.raises(GateError, match=r"parity: encoder\.VECTOR .*; nothing was published"):
        export(checkpoint, tmp_path / "models", target)
    assert not list(tmp_path.iterdir())


def test_a_repository_stays_as_it_was_where_a_gate_fails(
    checkpoint: Path,
    repositories: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = shutil.copytree(repositories["ensemble"], tmp_path / "models")
    before = files_of(tmp_path)
    monkeypatch.setattr("builder.export.ranking_gate._gain", lambda _best, _target: 0.0)
    with pytest.raises(GateError, match=r"ranking: NDCG@10 on 2 .* is 0\.0000 with the compiled"):
        export(checkpoint, repository, embedded())
    assert files_of(tmp_path) == before
    assert list(tmp_path.iterdir()) == [repository]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_manifest_tells_what_was_published(
    repositories: dict[str, Path], checkpoint: Path, layout: str
) -> None:
    record = read_manifest(repositories[layout]).versions[1]
    assert record.models == MODELS[layout]
    assert (record.target, record.checkpoint) == ("embedded", str(checkpoint))
    details = record.details
    assert details["schema"] == SCHEMA == 2
    assert details["family"] == "recommender"
    assert details["options"]["layout"] == layout
    assert details["layout"]["limits"]["max_top_k"] == LIMITS.max_top_k
    held = files_of(repositories[layout])
    assert details["sha256"].keys() == {
        f"{model}/{name.split('/', 2)[2]}"
        for name in held
        if (model := name.split("/")[0]) in record.models and name.count("/") > 1
    }
    wanted = {"lark", "numpy", "onnxruntime", "pyversity", "tokenizers"}
    assert details["libraries"] == {name: installed(name) for name in wanted}
    assert [(each["model"], each["output"]) for each in details["parity"]] == [
        ("encoder", "VECTOR"),
        ("encoder", "VECTOR batched"),
        ("user_encoder", contract.STATE.name),
        ("user_encoder", "STATE batched"),
    ]
    assert all(each["difference"] <= each["bound"] == FLOAT for each in details["parity"])
    assert details["ranking"]["users"] == 2
    assert details["texts"] is details["index"] is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_told_of_an_export_is_json(repositories: dict[str, Path], layout: str) -> None:
    repository = repositories[layout]
    details = read_manifest(repository).versions[1].details
    figures = {name: details[name] for name in ("parity", "ranking", "texts", "index", "alike")}
    assert json.loads(repository.with_suffix(".json").read_text()) == {
        "repository": str(repository),
        "version": 1,
        "target": "embedded",
        "attributes": {},
        **figures,
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_python_model_has_the_whole_serving_package(
    repositories: dict[str, Path], layout: str
) -> None:
    expected = {
        name: content
        for name, content in files_of(SOURCE).items()
        if name == "__init__.py" or name.split("/")[0] in ("core", "engines", "steps")
        if "__pycache__" not in name
    }
    assert {"core/contract.py", "engines/onnx.py", "steps/triton_model.py"} <= expected.keys()
    for model in MODELS[layout]:
        directory = repositories[layout] / model / "1"
        config = from_text((directory / "config.pbtxt").read_text("utf-8"), model)
        if config.backend != "python":
            assert not (directory / PACKAGE).exists()
            continue
        assert files_of(directory / PACKAGE) == expected
        assert f"from .{PACKAGE}.steps.triton_model import TritonPythonModel" in (
            directory / "model.py"
        ).read_text("utf-8")
        assert check_libraries(directory) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_models_know_the_events_of_each_item(
    repositories: dict[str, Path], layout: str
) -> None:
    catalogue = load_catalogue(repositories[layout] / "recommend" / "1")
    assert len(catalogue.log_events) == len(catalogue)
    assert catalogue.log_events.any()


def test_what_lies_beside_the_source_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export of an earlier version, which went into the package's own directory."""
    source = tmp_path / "model_repository"
    for name in ("core/a.py", "steps/b.py", "steps/__pycache__/b.pyc", "rank/1/model.py",
                 "rank/core/c.py", "manifest.json"):  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    monkeypatch.setattr(serving_code, "_SOURCE", source)
    (tmp_path / "version").mkdir()
    install(tmp_path / "version", ["tokenizers"])
    assert files_of(tmp_path / "version").keys() == {
        "model.py", LIBRARIES_FILE, f"{PACKAGE}/core/a.py", f"{PACKAGE}/steps/b.py"
    }  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_published_holds_a_path_of_the_machine(
    checkpoint: Path, repositories: dict[str, Path], layout: str
) -> None:
    assert_no_path(repositories[layout], checkpoint)


def test_graphs_keep_the_scopes_that_the_fp16_conversion_reads(
    onnx_files: dict[ModelSpec, Path],
) -> None:
    for file in onnx_files.values():
        kept = {entry.key for node in onnx.load(file).graph.node for entry in node.metadata_props}
        assert kept == {NAME_SCOPES}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("image", IMAGES.values(), ids=list(IMAGES))
def test_an_export_should_load_in_every_known_image(
    repositories: dict[str, Path], layout: str, image: TritonImage
) -> None:
    found = diagnose(repositories[layout], image_server(image)).findings
    assert [str(each) for each in found if each.severity == "error"] == []


@pytest.fixture
def told(backbone: Path, tmp_path: Path) -> Path:
    """A checkpoint whose item file had more columns than the title."""
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    return write_checkpoint(tmp_path / "told", model, backbone)


@pytest.mark.parametrize("layout", first_of(LAYOUTS))
def test_attributes_reach_the_candidates(told: Path, tmp_path: Path, layout: str) -> None:
    repository = tmp_path / "models"
    export(told, repository, embedded(layout=layout), attributes=("year", "genre"))
    assert read_manifest(repository).versions[1].details["attributes"] == {
        "year": "number",
        "genre": "text",
    }
    none = np.zeros(0, np.int32)
    new_user = Users(np.zeros((1, 8), np.float32), [History(none, none, none.astype(np.int64))])
    for model in ("rank", "recommend"):
        scorer = load_scorer(repository / model / "1", TorchUserEncoder(adapter()))
        (best,) = scorer.best(new_user, [none], [5])
        assert best.attribute("genre") == [GENRES[item] or None for item in best.index]
        assert best.attribute("year") == [int(YEARS[item]) for item in best.index]
        with pytest.raises(InvalidRequest, match="'title'"):
            best.attribute("title")


def test_columns_are_not_exported_unless_they_are_named(repositories: dict[str, Path]) -> None:
    for repository in repositories.values():
        assert not list(repository.rglob("attribute-*"))


def test_a_column_that_the_item_file_lacks_is_named_with_those_that_it_has(told: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--attributes price,size: .* columns are title, genre, year$"
    ):
        exportable_of(told, embedded(), attributes=("year", "price", "size"))


@pytest.mark.parametrize(
    "options", [{"explore": "thompson"}, {"explore": "ucb"}, {"popularity_penalty": 0.1}]
)
def test_a_policy_may_ask_for_what_the_export_counts(told: Path, options: dict[str, Any]) -> None:
    """The checkpoint knows neither the events of an item nor how uncertain its logit is."""
    exportable_of(told, embedded(), policy=RepositoryPolicy(options))


class OneProfile:
    """An engine that takes the shapes that it was built for, and no others."""

    def __init__(self, engine: Engine, found: tuple[Profile, ...]) -> None:
        self._engine = engine
        self._profiles = found

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        shapes = {name: value.shape for name, value in inputs.items()}
        assert any(
            all(profile[name].holds(shape) for name, shape in shapes.items())
            for profile in self._profiles
        ), shapes
        return self._engine.run(inputs)


@pytest.mark.parametrize("max_users", [1, 2, 64])
def test_the_gates_ask_for_no_shape_that_an_engine_was_not_built_for(
    checkpoint: Path, onnx_files: dict[ModelSpec, Path], max_users: int
) -> None:
    exportable = exportable_of(checkpoint, Fp16(), replace(LIMITS, max_users=max_users))

    def engine(spec: ModelSpec) -> Engine:
        return OneProfile(OnnxEngine(onnx_files[spec], 1), profiles(spec, exportable.layout))

    figures = exportable.hold(engine, Fp16(), None)
    assert figures.ranking is not None
    assert figures.ranking.relative_loss == 0


class Fp16(Embedded):
    """A check that builds FP16 graphs with ONNX Runtime: what NVIDIA's would be given."""

    name = "fp16"
    fused = None
    parity = HALF

    def __init__(self) -> None:
        self.ranking_loss = 1.0

    def build(
        self,
        onnx_file: Path,
        spec: ModelSpec,  # noqa: ARG002
        layout: Layout,  # noqa: ARG002
        directory: Path,
        *,
        progress: Progress = silent,  # noqa: ARG002
    ) -> Built:
        precision = convert_to_fp16(onnx_file, directory / "graph.onnx")
        return Built(directory / "graph.onnx", 1.234, precision.to_dict())

    def stand_in(self, spec: ModelSpec, directory: Path) -> Engine:  # noqa: ARG002
        return OnnxEngine(directory / "graph.onnx", 1)

    def describe(self) -> dict[str, Any]:
        return {"engine": "fp16"}


def test_a_column_is_named_on_the_command_line(told: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", "--checkpoint", str(told), "--attributes", "genre,price"]
    )
    assert isinstance(done.exception, ConfigError)
    assert "--attributes price: the item file had no such column" in str(done.exception)


def test_a_proof_tells_what_was_built_and_publishes_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "proof/encoder/model.engine"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier check")
    (tmp_path / "proof" / REPORT).write_text("{}")
    proof = prove(exportable_of(checkpoint, Fp16(), LIMITS), tmp_path / "proof", Fp16())
    assert not stale.exists()
    told = json.loads(json.dumps(proof.to_dict()))
    assert told == json.loads((tmp_path / "proof" / REPORT).read_text("utf-8"))
    assert told["published"] is told["executed"] is False
    assert told["check"] == "fp16"
    assert told["source"] == str(checkpoint)
    assert told["graphs"].keys() == {"encoder", "user_encoder"}
    for name, graph in told["graphs"].items():
        file = tmp_path / "proof" / name / "graph.onnx"
        assert (graph["file"], graph["bytes"]) == (file.name, file.stat().st_size)
        assert graph["seconds"] == 1.23
        assert graph["fp16_nodes"] > 0
    figures = told["fp16_graphs_in_onnxruntime"]
    assert {each["model"] for each in figures["parity"]} == {"encoder", "user_encoder"}
    assert figures["ranking"]["users"] == 2
    assert told["layout"]["limits"]["max_rows"] == LIMITS.max_rows
    assert not list((tmp_path / "proof").rglob("config.pbtxt"))


def test_a_directory_of_somebody_s_own_is_no_place_for_a_proof(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds files that were not made by a check"):
        prove(exportable_of(checkpoint, Fp16(), LIMITS), tmp_path, Fp16())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_cores_of_the_exporting_machine_change_nothing(
    checkpoint: Path, repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    export(checkpoint, tmp_path / "models", embedded(layout="ensemble"))
    found, expected = (files_of(path) for path in (tmp_path / "models", repositories["ensemble"]))
    for files in (found, expected):
        del files[MANIFEST]
    assert found == expected
