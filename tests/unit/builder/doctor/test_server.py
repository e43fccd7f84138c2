from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.doctor import IMAGES, diagnose, image_named, image_server, local_server
from builder.doctor.server import local_package, parse_capability, parse_gpus
from builder.errors import ConfigError
from builder.export.serving_code import install
from model_repository.steps.user_models import INDEX_FILE
from tests.unit.builder.doctor.repositories import (
    A10,
    H100,
    T4,
    errors,
    publish,
    publish_plan,
    server,
)

installed_as = {"faiss-cpu": "'tritonrec[index]'", "openvino": "'tritonrec[openvino]'"}
BUILT = {"engine": "tensorrt", "version": "11.2.1.2", "gpu": A10.name, "compute_capability": "8.6"}
THERE = {"tensorrt": "11.2.1.2", "gpus": (A10,)}


def plan(tmp_path: Path, engine: dict[str, Any] | None, **known: Any) -> tuple[str, str]:
    """Severity and words of what is found about the plans, the worst first."""
    publish_plan(tmp_path / "models", engine)
    findings = [
        f
        for f in diagnose(tmp_path / "models", server(**known)).findings
        if f.where.startswith("plans of") or "compute capability" in f.where
    ]
    order = ["error", "warning", "ok"]
    worst = min(findings, key=lambda finding: order.index(finding.severity))
    return worst.severity, f"{worst.what} {worst.remedy}"


@pytest.mark.parametrize(
    ("engine", "known", "severity", "words"),
    [
        (BUILT, THERE, "ok", "11.2.1.2, which the server has"),
        # A library's file name has no fourth number.
        (BUILT, THERE | {"tensorrt": "11.2.1"}, "ok", "11.2.1.2"),
        (BUILT, THERE | {"tensorrt": "10.16.1.11"}, "error", "serve in tritonserver:26.08-py3"),
        (BUILT, THERE | {"tensorrt": "11.2.1.3"}, "error", "tensorrt==11.2.1.3"),
        (BUILT, THERE | {"tensorrt": None}, "error", "no TensorRT library"),
        (BUILT, THERE | {"tensorrt": None, "problem": "none"}, "warning", "no TensorRT library"),
        (
            BUILT | {"version_compatible": True},
            THERE | {"tensorrt": "11.3.0.9"},
            "warning",
            "--backend-config=tensorrt,version-compatible=true",
        ),
        (
            BUILT | {"version_compatible": True},
            THERE | {"tensorrt": "10.16.1.11"},
            "error",
            "later versions only",
        ),
        (BUILT, THERE | {"gpus": (H100,)}, "error", "do not load on NVIDIA H100"),
        (BUILT, THERE | {"gpus": (A10, H100)}, "error", "do not load on NVIDIA H100"),
        (BUILT, THERE | {"gpus": ()}, "error", "need an NVIDIA GPU"),
        (BUILT, THERE | {"gpus": None}, "warning", "no GPU to compare it with"),
        (BUILT | {"gpu": "NVIDIA RTX A4000"}, THERE, "warning", "may be slower"),
        (
            BUILT | {"gpu": "an A4000", "hardware_compatibility": "SAME_COMPUTE_CAPABILITY"},
            THERE,
            "ok",
            "which the server has",
        ),
        (
            BUILT | {"hardware_compatibility": "ampere_plus"},
            THERE | {"gpus": (H100,)},
            "ok",
            "which the server has",
        ),
        (
            BUILT | {"hardware_compatibility": "ampere_plus"},
            THERE | {"gpus": (T4,)},
            "error",
            "do not load on Tesla T4",
        ),
        (None, THERE, "warning", "does not say which"),
        ({}, THERE, "warning", "does not say which"),
    ],
)  # fmt: skip
def test_plans_are_held_against_tensorrt_and_gpu(
    tmp_path: Path, engine: dict[str, Any] | None, known: dict[str, Any], severity: str, words: str
) -> None:
    found, said = plan(tmp_path, engine, **known)
    assert (found, words in said) == (severity, True), said


def test_an_old_driver_and_an_old_gpu_are_told_of_an_image(tmp_path: Path) -> None:
    image = image_named("26.08")
    old = replace(A10, driver="535.104.05")
    found, said = plan(tmp_path, BUILT, **THERE | {"gpus": (old,), "image": image})
    assert found == "warning"
    assert "535.104.05 is older than 580" in said
    ancient = replace(A10, compute_capability=(7, 0))
    found, said = plan(tmp_path, BUILT, **THERE | {"gpus": (ancient,), "image": image})
    assert found == "error"


def test_a_backend_that_is_missing_is_told_for_each_model(tmp_path: Path) -> None:
    publish_plan(tmp_path / "models", BUILT)
    embedded = server(embedded=True, backends=frozenset({"python"}))
    found = errors(diagnose(tmp_path / "models", embedded).findings)
    assert any("'tensorrt'; the server has python" in error.what for error in found)


def test_a_missing_package_is_told_with_the_models_that_import_it(tmp_path: Path) -> None:
    publish(tmp_path / "models")
    (error,) = errors(diagnose(tmp_path / "models", server(package={}.get)).findings)
    assert error.where == "numpy"
    models = "adapter, encoder, rank, recommend, tokenizer, user_encoder"
    assert f"imported by {models}" in error.what


def test_a_version_says_itself_what_it_needs(tmp_path: Path) -> None:
    publish(tmp_path / "models")
    install(tmp_path / "models/recommend/1", ["onnxruntime", "faiss-cpu"])
    installed = {"numpy": "1.26.4"}.get
    found = errors(diagnose(tmp_path / "models", server(package=installed)).findings)
    missing = {error.where: error for error in found if "is not installed" in error.what}
    assert missing.keys() == {"onnxruntime", "faiss-cpu"}
    for error in missing.values():
        assert error.what.endswith("imported by recommend")
    assert missing["faiss-cpu"].remedy.startswith("pip install 'tritonrec[index]',")
    there = server(package={"numpy": "1.26.4", "onnxruntime": "1.20.1", "faiss-cpu": "1.9"}.get)
    found = errors(diagnose(tmp_path / "models", there).findings)
    assert not [error for error in found if "is not installed" in error.what]


@pytest.mark.parametrize("content", ["{", "[[]]", "3"])
def test_what_a_version_needs_may_be_damaged(tmp_path: Path, content: str) -> None:
    """Its hash tells, and nothing else goes wrong."""
    publish(tmp_path / "models")
    (tmp_path / "models/recommend/1/libraries.json").write_text(content)
    diagnose(tmp_path / "models", server())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("index", [False, True])
def test_what_an_earlier_export_does_not_use_need_not_be_installed(
    tmp_path: Path, engine: str, index: bool
) -> None:
    publish(tmp_path / "models")
    directory = tmp_path / "models/recommend/1"
    for name, package in (("openvino_engine.py", "openvino"), ("item_index.py", "faiss")):
        (directory / name).write_text(f"import {package}")
    (directory / "settings.json").write_text(json.dumps({"engine": engine}))
    if index:
        (directory / INDEX_FILE).write_bytes(b"an index")
    installed = {"numpy": "1.26.4"}.get
    found = errors(diagnose(tmp_path / "models", server(package=installed)).findings)
    missing = {error.where: error.remedy for error in found if error.where in installed_as}
    expected = {"openvino"} if engine == "openvino" else set()
    expected |= {"faiss-cpu"} if index else set()
    assert missing.keys() == expected
    for package, remedy in missing.items():
        assert remedy.startswith(f"pip install {installed_as[package]},")


@pytest.mark.parametrize(
    ("opset", "version", "severity"),
    [(20, "1.16.3", "error"), (20, "1.17.0", "ok"), (99, "1.32.0", "warning")],
)
def test_the_opset_is_held_against_onnxruntime(
    tmp_path: Path, opset: int, version: str, severity: str
) -> None:
    publish(tmp_path / "models", opset=opset)
    (tmp_path / "models/encoder/1/model.onnx").write_bytes(b"")
    report = diagnose(
        tmp_path / "models", server(package={"numpy": "1.26", "onnxruntime": version}.get)
    )
    (finding,) = [f for f in report.findings if f.where == "the package onnxruntime"]
    assert finding.severity == severity


def test_a_tritonserver_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    publish(tmp_path / "models")
    found = errors(diagnose(tmp_path / "models", server(problem="numpy 2.1 is installed")).findings)
    assert [error.what for error in found] == ["numpy 2.1 is installed"]


def test_numpy_2_in_a_container_is_a_warning(tmp_path: Path) -> None:
    publish(tmp_path / "models")
    report = diagnose(tmp_path / "models", server(package=lambda _: "2.3.0"))
    assert report.loads
    assert any(f.where == "numpy" and f.severity == "warning" for f in report.findings)


def test_the_server_of_this_machine_is_found() -> None:
    found = local_server()
    assert found.problem is None
    assert found.backends is not None
    assert "python" in found.backends


def test_packages_of_this_machine() -> None:
    assert local_package("numpy")
    assert local_package("no_such_package_at_all") is None


@pytest.mark.parametrize("name", ["26.08", "26.08-py3", "nvcr.io/nvidia/tritonserver:26.08-py3"])
def test_an_image_has_three_names(name: str) -> None:
    assert image_named(name).tensorrt == "11.2.1.2"
    assert image_server(image_named(name)).name == "tritonserver:26.08-py3"


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"known are 26\.08, 26\.05"):
        image_named("25.01")


def test_the_first_choice_comes_first() -> None:
    assert [(i.release, i.tensorrt) for i in IMAGES.values()] == [
        ("26.08", "11.2.1.2"),
        ("26.05", "10.16.1.11"),
    ]


def test_nvidia_smi_is_read() -> None:
    output = "NVIDIA A10, 8.6, 580.65.06\nNVIDIA H100 80GB HBM3, 9.0, 580.65.06\n"
    assert parse_gpus(output) == (A10, H100)
    assert parse_gpus("NVIDIA-SMI has failed\n") == ()
    assert parse_gpus("") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8.6", (8, 6)), ("sm_86", (8, 6)), ("SM120", (12, 0)), ([9, 0], (9, 0)), ((7, 5), (7, 5)),
     (8.6, (8, 6)), ("", None), (None, None), ("new", None), ([8], None)],
)  # fmt: skip
def test_compute_capabilities_are_read(text: object, expected: tuple[int, int] | None) -> None:
    assert parse_capability(text) == expected


@pytest.mark.parametrize(
    ("held", "severity"), [(1 << 20, "error"), (64 << 20, "warning"), (1 << 30, ""), (None, "")]
)
def test_shared_memory_that_python_models_do_not_fit_in(
    tmp_path: Path, held: int | None, severity: str
) -> None:
    publish(tmp_path / "models")
    report = diagnose(tmp_path / "models", server(shared_memory=held))
    found = [finding for finding in report.findings if finding.where == "/dev/shm"]
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all("--shm-size=1g" in finding.remedy for finding in found)
