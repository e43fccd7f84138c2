"""A small model to publish, and a way to compare whole directories."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from builder.repository import Staging, stage, step_config
from model_repository.core import contract

# What an export of the ensemble layout holds.
STEPS = (
    contract.TOKENIZER,
    contract.ENCODER,
    contract.USER_ENCODER,
    contract.ADAPTER,
    contract.RANK,
    contract.RECOMMEND,
)
ENSEMBLES = (contract.ENCODE_STEPS, contract.RANK_TEXTS_STEPS)

SOLO = contract.ModelSpec(
    "solo",
    (contract.TensorSpec("IN", "INT32", ("n",)),),
    (contract.TensorSpec("OUT", "INT32", ("n",)),),
)


def add_version(staging: Staging, content: str, *names: str) -> None:
    staging.target, staging.checkpoint = "embedded", f"runs/{content}"
    for name in names or ("solo",):
        spec = contract.ModelSpec(name, SOLO.inputs, SOLO.outputs)
        staging.write_config(step_config(spec, backend="python", version=staging.version, sizes={}))
        (staging.model_dir(name) / "model.py").write_text(content)


def publish(repository: Path, content: str, *names: str) -> None:
    with stage(repository) as staging:
        add_version(staging, content, *names)


def snapshot(directory: Path) -> dict[str, tuple[int, bytes | str]]:
    """Every path below with its mode and its content, or where it links to."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for root, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            content: bytes | str = b""
            if stat.S_ISLNK(mode):
                content = str(path.readlink())
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found[str(path.relative_to(directory))] = (mode, content)
    return found
