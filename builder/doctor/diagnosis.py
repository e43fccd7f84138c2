"""Compares a repository with the server that would load it."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from builder.doctor.contents import Contents, read_contents
from builder.doctor.findings import Finding
from builder.doctor.server import Server
from builder.doctor.tensorrt import check_tensorrt
from model_repository.engines.settings import read_settings
from model_repository.steps.libraries import LIBRARIES_FILE
from model_repository.steps.user_models import INDEX_FILE

_PROVIDED: Final = frozenset({"triton_python_backend_utils", *sys.stdlib_module_names})
_PACKAGE_OF: Final = {"faiss": "faiss-cpu"}
"""Imported name → package, where they differ."""
_INSTALLED_AS: Final = {"faiss-cpu": "'tritonrec[index]'", "openvino": "'tritonrec[openvino]'"}
_SHARED_MEMORY: Final = "/dev/shm"  # nosec B108 # Linux names it
_SHARED_MEMORY_TO_START: Final = 1 << 20  # of one instance
_SHARED_MEMORY_ENOUGH: Final = 256 << 20
_MORE_SHARED_MEMORY: Final = (
    "in Docker start the container with --shm-size=1g (shm_size in compose.yaml); elsewhere "
    "mount -o remount,size=1g /dev/shm"
)
# The first ONNX Runtime that knows an operator set; from its table of versions.
_FIRST_ONNXRUNTIME: Final = {19: (1, 15), 20: (1, 17), 21: (1, 18)}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at, in the order in which Triton would come upon it."""

    repository: Path
    server: str
    findings: tuple[Finding, ...]

    @property
    def loads(self) -> bool:
        """Whether nothing is known that would keep a model from loading."""
        return all(finding.severity != "error" for finding in self.findings)


def diagnose(repository: Path, server: Server) -> Report:
    """Say what of ``repository`` will not load in ``server``, and why. Starts nothing."""
    contents = read_contents(repository, as_is=not server.embedded)
    findings = [*contents.findings, *_check_server(server)]
    if contents.manifest is not None:
        findings += _check_backends(contents, server)
        findings += _check_packages(contents, server)
        findings += _check_shared_memory(contents, server)
        findings += _check_opset(contents, server)
        findings += _check_gpu_instances(contents, server)
        findings += check_tensorrt(contents, server)
    return Report(repository, server.name, tuple(findings))


def _check_server(server: Server) -> Iterator[Finding]:
    if server.problem:
        yield Finding("error", "tritonserver", server.problem)
        return
    yield Finding("ok", "tritonserver", f"would serve: {server.name}")
    numpy = server.package("numpy")
    if numpy and not server.embedded and int(numpy.split(".")[0]) >= 2:
        yield Finding(
            "warning",
            "numpy",
            f"numpy {numpy} is installed; NVIDIA's images come with numpy below 2, and a Python "
            "backend built for that reads text as garbage with numpy 2",
            "pip install 'numpy<2'",
        )


def _check_backends(contents: Contents, server: Server) -> Iterator[Finding]:
    if server.backends is None or server.problem:
        return
    for model, config in contents.configs.items():
        # Old configurations name a platform instead: tensorrt_plan, onnxruntime_onnx.
        backend = config.backend or config.platform.partition("_")[0]
        if backend not in {*server.backends, "ensemble"}:
            yield Finding(
                "error",
                model,
                f"needs Triton's backend {backend!r}; {server.name} has "
                f"{', '.join(sorted(server.backends))}",
                "serve in NVIDIA's Triton container (the `server` stage of the Dockerfile), or "
                "export with --target embedded",
            )


def _check_packages(contents: Contents, server: Server) -> Iterator[Finding]:
    users: dict[str, list[str]] = {}
    for model, config in contents.configs.items():
        if config.backend == "python":
            for package in _needed_packages(contents.version_directory(model)):
                users.setdefault(package, []).append(model)
    for package, models in sorted(users.items()):
        version = server.package(package)
        who = ", ".join(models)
        if version is None:
            yield Finding(
                "error",
                package,
                f"is not installed, and imported by {who}",
                f"pip install {_INSTALLED_AS.get(package, package)}, for the Python that Triton's "
                "Python backend runs",
            )
        elif server.image is not None:
            what = f"is imported by {who}; the `server` stage of the Dockerfile has it"
            yield Finding("ok", package, what)
        else:
            yield Finding("ok", package, f"version {version or 'unknown'}, imported by {who}")


def _check_shared_memory(contents: Contents, server: Server) -> Iterator[Finding]:
    instances = sum(
        sum(group.count or 1 for group in config.instance_group) or 1
        for config in contents.configs.values()
        if config.backend == "python"
    )
    if server.shared_memory is None or server.problem or not instances:
        return
    least = instances * _SHARED_MEMORY_TO_START
    held = f"has {server.shared_memory >> 20} MB"
    if server.shared_memory < least:
        yield Finding(
            "error",
            _SHARED_MEMORY,
            f"{held}; {instances} instances of Python models take {least >> 20} MB to start",
            _MORE_SHARED_MEMORY,
        )
    elif server.shared_memory < _SHARED_MEMORY_ENOUGH:
        yield Finding(
            "warning",
            _SHARED_MEMORY,
            f"{held}, through which {instances} instances of Python models exchange tensors; a "
            "request that finds it full fails",
            _MORE_SHARED_MEMORY,
        )


def _needed_packages(directory: Path) -> set[str]:
    """Those that a version of a model says it needs.

    An export of earlier versions of this software says nothing, and imports some that only another
    way of exporting it would need.
    """
    noted = directory / LIBRARIES_FILE
    if noted.is_file():
        try:
            return set(json.loads(noted.read_text("utf-8")))
        except (OSError, ValueError, TypeError):  # damaged, which its hash tells
            return set()
    packages = imported_packages(directory)
    if not (directory / INDEX_FILE).is_file():
        packages.discard("faiss")
    if _engine(directory) != "openvino":
        packages.discard("openvino")
    return {_PACKAGE_OF.get(name, name) for name in packages}


def _engine(directory: Path) -> object:
    """What runs BERT, by the settings of ``encode``; None for other models."""
    try:
        settings = read_settings(directory)
    except (OSError, ValueError):  # other models have none; a damaged one its hash tells
        return None
    return settings.get("engine") if isinstance(settings, dict) else None


def imported_packages(directory: Path) -> set[str]:
    """Top-level packages that the Python files of a model's version import from elsewhere."""
    found = set()
    for path in sorted(directory.glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):  # damaged, which its hash tells
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - _PROVIDED


def _check_opset(contents: Contents, server: Server) -> Iterator[Finding]:
    """Whether the ONNX Runtime that will read the graphs knows their operators."""
    assert contents.active is not None
    opset = contents.active.details.get("opset")
    versions = {}
    for model, config in contents.configs.items():
        if config.backend == "onnxruntime":
            versions["Triton's onnxruntime backend"] = server.onnxruntime
        elif (
            config.backend == "python"
            and (contents.version_directory(model) / "model.onnx").is_file()
        ):
            versions["the package onnxruntime"] = server.package("onnxruntime")
    for where, version in versions.items():
        if not version or not isinstance(opset, int):
            continue
        needed = _FIRST_ONNXRUNTIME.get(opset)
        if needed is None:
            yield Finding(
                "warning", where, f"{version}; whether it knows opset {opset} is not known here"
            )
        elif tuple(int(part) for part in version.split(".")[:2]) < needed:
            yield Finding(
                "error",
                where,
                f"is {version}, which does not know opset {opset} of the graphs",
                f"use ONNX Runtime {needed[0]}.{needed[1]} or later",
            )
        else:
            yield Finding("ok", where, f"{version} knows opset {opset}")


def _check_gpu_instances(contents: Contents, server: Server) -> Iterator[Finding]:
    if server.gpus is None or server.gpus:
        return
    for model, config in contents.configs.items():
        if any(group.kind == ModelInstanceGroup.KIND_GPU for group in config.instance_group):
            yield Finding(
                "error",
                model,
                "runs on a GPU (KIND_GPU), and nvidia-smi finds none on this machine",
                "serve where a GPU is; in a container, start it with --gpus all",
            )
