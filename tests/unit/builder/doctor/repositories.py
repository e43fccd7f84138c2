"""Published repositories for the doctor, and servers to hold them against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.doctor import Finding, Gpu, Server
from builder.repository import Staging, stage, step_config
from model_repository.core import contract
from tests.integration.serving_models import SIZES, write_contract_models

A10 = Gpu("NVIDIA A10", (8, 6), "580.65.06")
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), "580.65.06")
T4 = Gpu("Tesla T4", (7, 5), "580.65.06")


def server(**known: Any) -> Server:
    """One that runs Python models and has every package, but for what is ``known`` otherwise."""
    defaults = {
        "name": "the server",
        "package": lambda _name: "1.26.4",
        "backends": frozenset({"python", "tensorrt", "onnxruntime"}),
    }
    return Server(**{**defaults, **known})


def publish(repository: Path, *, target: str = "embedded", **details: Any) -> None:
    """Publish every step and ensemble, with hashes as an export records them."""
    with stage(repository) as staging:
        staging.target, staging.checkpoint = target, "runs/none"
        write_contract_models(staging)
        staging.details = {"sha256": hashes(staging), "opset": 20, **details}


def publish_plan(repository: Path, engine: Mapping[str, Any] | None) -> None:
    """Publish one model of Triton's TensorRT backend."""
    with stage(repository) as staging:
        staging.target = "tensorrt"
        config = step_config(
            contract.ENCODER,
            backend="tensorrt",
            version=staging.version,
            sizes=SIZES,
            max_batch_size=4,
        )
        staging.write_config(config)
        (staging.model_dir("encoder") / "model.plan").write_bytes(b"a plan")
        staging.details = {"sha256": hashes(staging)} | ({"engine": engine} if engine else {})


def hashes(staging: Staging) -> dict[str, str]:
    root = staging.model_dir("encoder").parents[1]
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        model, _, file = path.relative_to(root).as_posix().split("/", 2)
        found[f"{model}/{file}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def errors(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]
