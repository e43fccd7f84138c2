"""Checkpoint → model repository: export, compile, hold against the gates, publish."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import nn

from builder.errors import ConfigError, ExportError
from builder.export.graphs import AdapterGraph, EncoderGraph, RetrieverGraph
from builder.export.layout import Layout
from builder.export.onnx import OPSET, export_onnx
from builder.export.parity import Grid, ParityFigure, check_batching, check_parity
from builder.export.ranking_gate import RankingFigure, check_ranking
from builder.export.targets import TARGETS, Target
from builder.model.checkpoint import load_checkpoint, load_validation
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from builder.repository import DynamicBatching, ensemble_config, stage, step_config
from builder.repository.publish import Staging
from client._contract import ADAPTER, ENCODER, ENSEMBLES, POLICY, RETRIEVER, TOKENIZER, ModelSpec
from model_repository.steps import install_step

log = logging.getLogger(__name__)

_PACKAGES: Final = ("torch", "transformers", "tokenizers", "onnx", "numpy")


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, see `Layout`."""

    max_top_k: int = 500
    max_rows: int = 128
    max_users: int = 64


@dataclass(frozen=True)
class Exported:
    """What an export published, and the figures of its gates."""

    repository: Path
    version: int
    target: str
    parity: list[ParityFigure]
    ranking: RankingFigure

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "repository": str(self.repository)}


def target_named(name: str) -> Target:
    """The target of that name, if this machine can build it.

    Raises
    ------
    ConfigError
        There is no such target.
    ExportError
        Something is missing here; the message says what and how to get it.
    """
    if name not in TARGETS:
        raise ConfigError(f"--target {name}: there is none; the targets are {', '.join(TARGETS)}")
    target = TARGETS[name]
    if missing := target.missing():
        raise ExportError(f"--target {name} cannot be built on this machine; it lacks {missing}")
    return target


def export(
    checkpoint: Path,
    repository: Path,
    target: Target,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    progress: Progress = silent,
) -> Exported:
    """Publish `checkpoint` as the next version of `repository`.

    The repository changes only when everything is built and every gate has passed, and then all
    at once; see `builder.repository.stage`.

    Raises
    ------
    CheckpointError
        `checkpoint` is not a finished training run.
    ExportError, GateError
        A graph does not export or compile; an engine is not within its bounds.
    RepositoryError
        The repository cannot be written.
    """
    model = load_checkpoint(checkpoint)
    validation = load_validation(checkpoint)
    layout = Layout.of(model, **asdict(limits))
    graphs: Mapping[ModelSpec, nn.Module] = {
        ENCODER: EncoderGraph(model.encoder),
        ADAPTER: AdapterGraph(model),
        RETRIEVER: RetrieverGraph(model, layout.retrieved),
    }
    parity: list[ParityFigure] = []
    grid = Grid(model, layout)
    with stage(repository) as staging, tempfile.TemporaryDirectory() as scratch:
        for done, (spec, graph) in enumerate(graphs.items(), 1):
            progress("export graphs", done - 1, len(graphs))
            onnx_file = Path(scratch) / f"{spec.name}.onnx"
            export_onnx(graph, spec, layout.sizes, onnx_file)
            directory = staging.model_dir(spec.name)
            target.build(onnx_file, spec, layout, directory)
            staging.write_config(target.config(spec, layout, staging.version))
            progress("export graphs", done, len(graphs))
        for spec, graph in graphs.items():
            engine = target.load(spec, staging.model_dir(spec.name))
            parity += check_parity(engine, graph, spec, grid, target.parity, progress=progress)
            if spec is ENCODER:
                parity.append(check_batching(engine, grid, target.parity))
            if spec is RETRIEVER:
                ranking = check_ranking(
                    engine, model, validation, bound=target.ranking_loss, progress=progress
                )
        _write_python_steps(staging, model, layout, checkpoint)
        staging.target = target.name
        staging.checkpoint = str(checkpoint.resolve())
        staging.details = {
            "parity": [figure.to_dict() for figure in parity],
            "ranking": ranking.to_dict(),
            "layout": asdict(layout),
            "engine": target.describe(),
            "opset": OPSET,
            "versions": {"python": platform.python_version()}
            | {name: installed(name) for name in _PACKAGES},
            "sha256": _hashes(staging, [*(spec.name for spec in graphs), "tokenizer", "policy"]),
        }
        version = staging.version
    return Exported(repository, version, target.name, parity, ranking)


def _write_python_steps(
    staging: Staging, model: Recommender, layout: Layout, checkpoint: Path
) -> None:
    """The tokenizer, the policy and the ensembles, which are the same for every target."""
    version = staging.version
    tokenizer, policy = staging.model_dir(TOKENIZER.name), staging.model_dir(POLICY.name)
    for directory, spec in ((tokenizer, TOKENIZER), (policy, POLICY)):
        install_step(spec.name, directory)
        _write_json(directory / "items.json", model.catalogue.item_ids)
    _write_json(
        tokenizer / "settings.json",
        {
            "max_rows": layout.max_rows,
            "length_buckets": layout.length_buckets,
            "pad_id": model.encoder.pad_id,
            "max_history": layout.max_history,
            "actions": list(model.actions),
            "max_top_k": layout.retrieved,
        },
    )
    (tokenizer / "tokenizer.json").write_bytes(
        (checkpoint / "encoder/tokenizer.json").read_bytes()
    )
    _write_json(policy / "settings.json", {"max_top_k": layout.retrieved})
    sizes = layout.sizes
    staging.write_config(
        step_config(
            TOKENIZER,
            backend="python",
            version=version,
            sizes=sizes,
            max_batch_size=max(layout.max_users, layout.max_rows),
            batching=DynamicBatching(ragged=True),
        )
    )
    staging.write_config(step_config(POLICY, backend="python", version=version, sizes=sizes))
    for spec in ENSEMBLES:
        rows = layout.max_rows if spec.model.batched else 0
        staging.write_config(
            ensemble_config(spec, version=version, sizes=sizes, max_batch_size=rows)
        )
        staging.model_dir(spec.model.name)


def _hashes(staging: Staging, models: list[str]) -> dict[str, str]:
    found = {}
    for model in models:
        directory = staging.model_dir(model)
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            name = f"{model}/{file.relative_to(directory)}"
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, default=_plain), "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
