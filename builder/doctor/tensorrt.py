"""Checks that a TensorRT plan will load: it belongs to one TensorRT version and one kind of GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.doctor.contents import Contents
from builder.doctor.findings import Finding
from builder.doctor.images import IMAGES
from builder.doctor.server import Gpu, Server, parse_capability

_REBUILD: Final = "export again in the `builder` stage of the Dockerfile, on the GPU that serves"
_AMPERE: Final = (8, 0)


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """What the manifest says of how the plans were built; None where it says nothing."""

    tensorrt: str | None
    gpu: str | None
    compute_capability: tuple[int, int] | None
    version_compatible: bool
    hardware_compatibility: str

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> EngineRecord:
        engine = details.get("engine")
        engine = engine if isinstance(engine, Mapping) else {}
        version, gpu = engine.get("version"), engine.get("gpu")
        return cls(
            tensorrt=str(version) if version else None,
            gpu=str(gpu) if gpu else None,
            compute_capability=parse_capability(engine.get("compute_capability")),
            version_compatible=bool(engine.get("version_compatible")),
            hardware_compatibility=str(engine.get("hardware_compatibility") or "none").lower(),
        )


def check_tensorrt(contents: Contents, server: Server) -> Iterator[Finding]:
    """Compare the plans of the active version, if it has any, with TensorRT and GPU."""
    assert contents.active is not None
    plans = [name for name, config in contents.configs.items() if _is_plan(config)]
    if not plans:
        return
    engine = EngineRecord.of(contents.active.details)
    where = f"plans of {', '.join(plans)}"
    yield _version_finding(engine, server, where)
    if server.gpus is None:
        yield Finding(
            "warning",
            where,
            f"built on {engine.gpu or 'a GPU that the manifest does not name'}; this machine has "
            "no GPU to compare it with",
            "run `python -m builder doctor` on the machine that serves",
        )
    elif not server.gpus:
        yield Finding(
            "error",
            where,
            "need an NVIDIA GPU, and nvidia-smi finds none on this machine",
            "serve where a GPU is; in a container, start it with --gpus all",
        )
    for gpu in server.gpus or ():
        yield from _gpu_findings(engine, gpu, server, where)


def _is_plan(config: ModelConfig) -> bool:
    return "tensorrt" in {config.backend, config.platform.removesuffix("_plan")}


def _version_finding(engine: EngineRecord, server: Server, where: str) -> Finding:
    built, there = engine.tensorrt, server.tensorrt
    if built is None:
        return Finding(
            "warning", where, "the manifest does not say which TensorRT built them", _REBUILD
        )
    if there is None:
        return Finding(
            "warning" if server.embedded or server.problem else "error",
            where,
            f"built by TensorRT {built}; there is no TensorRT library (libnvinfer) on this machine",
            "run `python -m builder doctor` in the container that serves, or with "
            f"--triton-image ({', '.join(IMAGES)})",
        )
    # The file name of a library carries three numbers, a package four.
    mine, theirs = _numbers(built), _numbers(there)
    common = min(len(mine), len(theirs))
    if mine[:common] == theirs[:common]:
        return Finding("ok", where, f"built by TensorRT {built}, which {server.name} has")
    if engine.version_compatible and mine[:common] < theirs[:common]:
        return Finding(
            "warning",
            where,
            f"built by TensorRT {built} as version-compatible; {server.name} has {there}, which "
            "loads them only when told to",
            "start Triton with --backend-config=tensorrt,version-compatible=true",
        )
    fitting = [image.name for image in IMAGES.values() if image.tensorrt == built]
    remedy = f"export with tensorrt=={there} ({_REBUILD})"
    if fitting:
        remedy += f", or serve in {fitting[0]}"
    reason = " (version-compatible plans load in later versions only)"
    return Finding(
        "error",
        where,
        f"built by TensorRT {built}; {server.name} has {there} and loads no other's plans"
        + reason * engine.version_compatible,
        remedy,
    )


def _gpu_findings(engine: EngineRecord, gpu: Gpu, server: Server, where: str) -> Iterator[Finding]:
    image = server.image
    here = f"{gpu.name} (compute capability {_dotted(gpu.compute_capability)})"
    if image and gpu.compute_capability < image.compute_capability:
        yield Finding(
            "error",
            here,
            f"{image.name} supports GPUs from {_dotted(image.compute_capability)} up",
            "use a later GPU or an older Triton",
        )
    if image and _numbers(gpu.driver)[:1] < (image.driver,):
        yield Finding(
            "warning",
            here,
            f"driver {gpu.driver} is older than {image.driver}, which CUDA {image.cuda} of "
            f"{image.name} is made for; only data centre GPUs run it through the compatibility "
            "package in the image",
            "update the driver, or choose the image for older ones: "
            f"{list(IMAGES.values())[-1].name}",
        )
    if engine.compute_capability is None:
        yield Finding("warning", where, "the manifest does not say which GPU built them", _REBUILD)
        return
    built = f"{engine.gpu or 'a GPU'} (compute capability {_dotted(engine.compute_capability)})"
    portable = engine.hardware_compatibility
    if "ampere" in portable and min(gpu.compute_capability, engine.compute_capability) >= _AMPERE:
        yield Finding("ok", where, f"built on {built} for every GPU from Ampere on; here: {here}")
    elif gpu.compute_capability != engine.compute_capability:
        yield Finding("error", where, f"built on {built}; they do not load on {here}", _REBUILD)
    elif gpu.name != engine.gpu and "same" not in portable:
        yield Finding(
            "warning",
            where,
            f"built on {built}; on {here} they may be slower, or fail",
            _REBUILD,
        )
    else:
        yield Finding("ok", where, f"built on {built}; here: {here}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
