"""Checkpoint → model repository: export, compile, hold against the gates, publish."""

from __future__ import annotations

import json
import logging
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from builder.data.splits import Holdout
from builder.data.tables import Catalogue
from builder.errors import ConfigError, ExportError
from builder.export.encoder_engine import REDUCED_BOUNDS
from builder.export.fused import build_fused, load_fused
from builder.export.graphs import AdapterGraph, EncoderGraph, LinearForm, RetrieverGraph
from builder.export.item_index import IndexFigure, takes_index, write_index
from builder.export.layout import Layout
from builder.export.onnx import OPSET, export_onnx
from builder.export.parity import Bound, Engine, Grid, ParityFigure, check_batching, check_parity
from builder.export.ranking_gate import RankingFigure, check_ranking, live_request
from builder.export.targets import CHECKS, TARGETS, Built, Check, Compiler, Target, TargetOptions
from builder.export.text_gate import check_texts
from builder.model.checkpoint import load_checkpoint, load_validation
from builder.model.new_items import with_new_items
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from builder.repository import DynamicBatching, ensemble_config, stage, step_config
from builder.repository.family import check_family
from builder.repository.publish import Staging
from model_repository.core.contract import (
    ADAPTER,
    ENCODER,
    ENSEMBLES,
    FUSED,
    MAX_CANDIDATES,
    POLICY,
    RANK,
    RECOMMEND,
    RETRIEVER,
    STEPS,
    TOKENIZER,
    ModelSpec,
)
from model_repository.interest import History, InterestModel
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.steps import install_step

log = logging.getLogger(__name__)

_PACKAGES: Final = ("torch", "transformers", "tokenizers", "onnx", "numpy")


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, see `Layout`."""

    max_top_k: int = 500
    max_rows: int = 128
    max_users: int = 64
    cached_texts: int = 10_000


@dataclass(frozen=True)
class Exported:
    """What an export published, and the figures of its gates.

    Those of texts are there where the encoder's precision is reduced, and those of an index where
    there is one.
    """

    repository: Path
    version: int
    target: str
    parity: list[ParityFigure]
    ranking: RankingFigure
    texts: RankingFigure | None = None
    index: IndexFigure | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "repository": str(self.repository)}


def target_named(name: str, options: TargetOptions | None = None) -> Target:
    """The target of that name, if this machine can build it.

    Raises
    ------
    ConfigError
        There is no such target, it only checks, or it does not read one of the options.
    ExportError
        Something is missing here; the message says what and how to get it.
    """
    if name in CHECKS:
        raise ConfigError(
            f"--target {name} builds nothing that Triton can serve; it checks that the graphs "
            f"compile. The targets that are published are {', '.join(TARGETS)}"
        )
    if name not in TARGETS:
        raise ConfigError(
            f"--target {name}: there is none; the targets are {', '.join((*TARGETS, *CHECKS))}"
        )
    target = TARGETS[name](options)
    _require(target, options)
    return target


def check_named(name: str, options: TargetOptions | None = None) -> Check:
    """The check of that name, if this machine can do it; raises like `target_named`."""
    if name not in CHECKS:
        raise ConfigError(f"--target {name} is no check; the checks are {', '.join(CHECKS)}")
    check = CHECKS[name](options)
    _require(check, options)
    return check


def _require(compiler: Compiler, options: TargetOptions | None) -> None:
    """Raise unless this machine can build with `compiler`, which reads all of the `options`."""
    if options is not None and (alien := options.changed() - compiler.options):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(alien))
        raise ConfigError(f"{named}: --target {compiler.name} has no such option")
    if missing := compiler.missing():
        raise ExportError(
            f"--target {compiler.name} cannot be built on this machine; it lacks {missing}"
        )


def recommender_layout(model: Recommender, limits: Limits, compiler: Compiler) -> Layout:
    """The sizes and limits of an export; ConfigError for a limit that makes no sense."""
    return Layout.of(model, **asdict(limits), bounded=compiler.bounded)


def recommender_graphs(
    model: Recommender, layout: Layout, linear_form: LinearForm
) -> Mapping[ModelSpec, nn.Module]:
    """The graphs of a recommender, by their place in the contract."""
    return {
        ENCODER: EncoderGraph(model.encoder),
        layout.step(ADAPTER): AdapterGraph(model, linear_form),
        layout.step(RETRIEVER): RetrieverGraph(model, layout.retrieved, linear_form),
    }


def compile_graphs(
    compiler: Compiler,
    graphs: Mapping[ModelSpec, nn.Module],
    layout: Layout,
    directory_of: Callable[[str], Path],
    *,
    progress: Progress = silent,
) -> dict[str, Built]:
    """Export each graph to ONNX and compile it into the directory of its model."""
    built = {}
    with tempfile.TemporaryDirectory() as scratch:
        for done, (spec, graph) in enumerate(graphs.items()):
            progress("export graphs", done, len(graphs))
            onnx_file = Path(scratch) / f"{spec.name}.onnx"
            export_onnx(graph, spec, layout.sizes, onnx_file)
            built[spec.name] = compiler.build(
                onnx_file, spec, layout, directory_of(spec.name), progress=progress
            )
            progress("export graphs", done + 1, len(graphs))
    return built


@dataclass(frozen=True)
class Figures:
    """What the gates found; of texts only where the encoder's precision is reduced."""

    parity: list[ParityFigure]
    ranking: RankingFigure
    texts: RankingFigure | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "parity": [figure.to_dict() for figure in self.parity],
            "ranking": self.ranking.to_dict(),
            "texts": self.texts.to_dict() if self.texts else None,
        }


def hold(
    engine_of: Callable[[ModelSpec], Engine],
    compiler: Compiler,
    graphs: Mapping[ModelSpec, nn.Module],
    model: Recommender,
    validation: Holdout,
    layout: Layout,
    *,
    encoder_bound: Bound | None = None,
    served: Engine | None = None,
    progress: Progress = silent,
) -> Figures:
    """Hold a recommender's engines against the gates.

    ``graphs`` are what they were compiled from, and ``model`` is the checkpoint's own, which the
    ranking is compared with. ``encoder_bound`` stands for the compiler's bound where the encoder
    computes in another precision than the rest, and ``served`` for the retriever in the ranking
    gate, where that is served in another form than parity holds for.

    Raises
    ------
    GateError
        A figure is outside the compiler's bounds.
    """
    grid = Grid(model, layout)
    parity: list[ParityFigure] = []
    for spec, graph in graphs.items():
        engine = engine_of(spec)
        bound = encoder_bound if encoder_bound and spec is ENCODER else compiler.parity
        parity += check_parity(engine, graph, spec, grid, bound, progress=progress)
        if spec is ENCODER:
            parity.append(check_batching(engine, grid, bound))
        if spec.name == RETRIEVER.name:
            ranking = check_ranking(
                served or engine,
                model,
                validation,
                layout.min_slots,
                bound=compiler.ranking_loss,
                progress=progress,
            )
    return Figures(parity, ranking)


def export(
    checkpoint: Path,
    repository: Path,
    target: Target,
    limits: Limits = Limits(),
    *,
    new_items: Catalogue | None = None,
    progress: Progress = silent,
) -> Exported:
    """Publish `checkpoint` as the next version of `repository`, with new items if there are any.

    The repository changes only when everything is built and every gate has passed, and then all
    at once; see `builder.repository.stage`.

    Raises
    ------
    CheckpointError
        `checkpoint` is not a finished training run.
    ExportError, GateError
        A graph does not export or compile; an engine is not within its bounds.
    RepositoryError
        The repository cannot be written, or holds a classifier.
    """
    check_family(repository, "recommender")
    model = load_checkpoint(checkpoint)
    if new_items is not None:
        model = with_new_items(model, new_items, progress=progress)
    validation = load_validation(checkpoint)
    layout = recommender_layout(model, limits, target)
    index = None
    with stage(repository) as staging:
        if target.fused:
            fused = build_fused(model, layout, checkpoint, staging, target.fused, progress=progress)
            built = fused.built
            graphs = recommender_graphs(fused.model, layout, target.linear_form)
            if takes_index(target.fused.index, len(model.catalogue)):
                directory = staging.model_dir(RECOMMEND.model.name)
                states = _user_states(directory, model, validation)
                index = write_index(directory, states, progress=progress)
        else:
            graphs = recommender_graphs(model, layout, target.linear_form)
            built = compile_graphs(target, graphs, layout, staging.model_dir, progress=progress)
            for spec in graphs:
                staging.write_config(target.config(spec, layout, staging.version))
            _write_python_steps(staging, model, layout, checkpoint)
        figures = hold(
            lambda spec: (
                load_fused(spec, staging, layout, exact=True)
                if target.fused
                else target.load(spec, staging.model_dir(spec.name))
            ),
            target,
            graphs,
            model,
            validation,
            layout,
            encoder_bound=REDUCED_BOUNDS.get(target.fused.precision) if target.fused else None,
            # An index may miss items, which parity would not forgive.
            served=load_fused(RETRIEVER, staging, layout, exact=False) if index else None,
            progress=progress,
        )
        if target.fused and target.fused.precision != "fp32":
            texts = check_texts(model, fused.model, validation, bound=target.ranking_loss)
            figures = replace(figures, texts=texts)
        staging.target = target.name
        staging.checkpoint = str(checkpoint.resolve())
        staging.details = {
            **figures.to_dict(),
            "layout": asdict(layout),
            "fused": asdict(target.fused) if target.fused else None,
            "index": index.to_dict() if index else None,
            "engine": {
                **target.describe(),
                "graphs": {name: each.to_dict() for name, each in built.items()},
            },
            "opset": OPSET,
            "versions": {"python": platform.python_version()}
            | {name: installed(name) for name in _PACKAGES},
            "sha256": staging.hashes(spec.name for spec in (FUSED if target.fused else STEPS)),
        }
        version = staging.version
    return Exported(
        repository, version, target.name, figures.parity, figures.ranking, figures.texts, index
    )


def _user_states(directory: Path, model: Recommender, validation: Holdout) -> NDArray[np.float32]:
    """States FP32 [U, d] of the validation users, by the fused model in ``directory``."""
    requests = [live_request(model, validation, user) for user in range(len(validation))]
    return InterestModel(directory).user_states(
        [
            History(each["HISTORY_SLOT"], each["HISTORY_ACTION_ID"], each["HISTORY_GAP"])
            for each in requests
        ],
        NO_NEW_ITEMS,
        np.stack([each["PROFILE_ID"] for each in requests]) if model.profile else None,
    )


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
            "min_slots": layout.min_slots,
            "max_candidates": layout.max_candidates,
            "profile": [column.to_dict() for column in model.profile],
        },
    )
    (tokenizer / "tokenizer.json").write_bytes((checkpoint / "encoder/tokenizer.json").read_bytes())
    _write_json(policy / "settings.json", {"max_top_k": layout.retrieved})
    sizes = layout.sizes
    staging.write_config(
        step_config(
            layout.step(TOKENIZER),
            backend="python",
            version=version,
            sizes=sizes,
            max_batch_size=max(layout.max_users, layout.max_rows),
            batching=DynamicBatching(ragged=True),
        )
    )
    staging.write_config(step_config(POLICY, backend="python", version=version, sizes=sizes))
    for ensemble in ENSEMBLES:
        staging.write_config(
            ensemble_config(
                replace(ensemble, steps=tuple(map(layout.step, ensemble.steps))),
                version=version,
                sizes=sizes,
                max_batch_size=layout.max_rows if ensemble.model.batched else 0,
                parameters=_limits_told(layout) if ensemble is RANK else None,
            )
        )
        staging.model_dir(ensemble.model.name)


def _limits_told(layout: Layout) -> dict[str, str]:
    """What the client splits rankings by, beside the texts that ``encode`` takes."""
    most = layout.max_candidates
    return {} if most is None else {MAX_CANDIDATES: str(most)}


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, default=_plain), "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
