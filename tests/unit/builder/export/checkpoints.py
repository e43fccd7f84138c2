"""Checkpoints of models that were never trained, and repositories made of them."""

from __future__ import annotations

import json
import shutil
import site
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from builder.data import Holdout
from builder.export.layout import Limits
from builder.export.pipeline import Exported, publish
from builder.export.recommender import recommender
from builder.export.targets import Target, TargetOptions
from builder.export.targets.embedded import Embedded
from builder.model.checkpoint import save_checkpoint
from builder.model.recommender import Recommender
from builder.repository import MANIFEST
from tests.unit.builder.model.tiny import sequences

ROOT = Path(__file__).parents[4]
VALIDATION = Holdout(sequences([0, 1], [3, 4, 5]), np.array([2, 6], np.int32))
LIMITS = Limits(max_top_k=6, max_rows=4, cached_texts=3)


def write_checkpoint(
    directory: Path,
    model: Recommender,
    backbone: Path,
    validation: Holdout = VALIDATION,
    **config: Any,
) -> Path:
    directory.mkdir(parents=True)
    save_checkpoint(directory, model, validation, config=config, metrics={})
    shutil.copyfile(backbone / "tokenizer.json", directory / "encoder/tokenizer.json")
    return directory


def embedded(**options: Any) -> Embedded:
    return Embedded(TargetOptions(**options))


def export(
    checkpoint: Path, repository: Path, target: Target, limits: Limits = LIMITS, **options: Any
) -> Exported:
    return publish(recommender(checkpoint, target, limits, **options), repository, target)


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file, by its path within the directory."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


def assert_no_path(repository: Path, checkpoint: Path) -> None:
    """Nothing that was published names a path of this machine, but the manifest the checkpoint."""
    files = files_of(repository)
    manifest = json.loads(files.pop(MANIFEST))
    assert manifest["versions"]["1"].pop("checkpoint") == str(checkpoint)
    files[MANIFEST] = json.dumps(manifest).encode()
    for path in (ROOT, *site.getsitepackages(), Path.home(), tempfile.gettempdir(), repository):
        for name, content in files.items():
            assert str(path).encode() not in content, f"{name} holds {path}"
