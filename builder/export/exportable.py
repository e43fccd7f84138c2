"""What is exported: a recommender or a classifier, with the models that it becomes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import nn

from builder.export.alike_indexes import AlikeFigure
from builder.export.index_gate import IndexFigure
from builder.export.layout import Layout
from builder.export.onnx import export_onnx
from builder.export.parity import ParityFigure
from builder.export.ranking_gate import RankingFigure
from builder.export.serving_code import write_json
from builder.export.targets import Built, Compiler, Target
from builder.progress import Progress, silent
from builder.repository import ensemble_config, step_config
from builder.repository.family import Family
from builder.repository.golden import GoldenRequest
from builder.repository.publish import Staging
from model_repository.core.contract import (
    ENCODE,
    MAX_CANDIDATES,
    MAX_WAIT,
    MOST_VALUES,
    OBSERVE,
    RANK,
    RECOMMEND,
    EnsembleSpec,
    ModelSpec,
)
from model_repository.engines.engine import Engine
from model_repository.engines.settings import SETTINGS
from model_repository.steps.tokenizer import TokenizerSettings

_LIMITED: Final = (RANK, RECOMMEND, OBSERVE, ENCODE)
"""Models that refuse requests while they are overloaded, where they are no ensembles."""

DirectoryOf = Callable[[str], Path]
"""The directory of a model's version, by the model's name."""

EngineOf = Callable[[ModelSpec], Engine]
"""The compiled engine of a network."""


@dataclass(frozen=True)
class Figures:
    """What the gates found.

    Attributes
    ----------
    parity
        Differences from PyTorch.
    ranking
        What users get; None for a classifier.
    texts
        What users get of new texts, where BERT is of reduced precision.
    index
        What an index finds, where there is one.
    alike
        What the indexes over items that are alike find; empty without any.
    """

    parity: list[ParityFigure]
    ranking: RankingFigure | None = None
    texts: RankingFigure | None = None
    index: IndexFigure | None = None
    alike: list[AlikeFigure] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Exportable:
    """Base of the families.

    Attributes
    ----------
    family
        What a repository with it holds.
    source
        Where it comes from: a directory or a hub name.
    layout
        The sizes and limits of the version.
    graphs
        The networks, by their place in the contract.
    """

    family: Family

    def __init__(self, source: str, layout: Layout, graphs: Mapping[ModelSpec, nn.Module]) -> None:
        self.source = source
        self.layout = layout
        self.graphs = graphs

    def compile(
        self, compiler: Compiler, directory_of: DirectoryOf, *, progress: Progress = silent
    ) -> dict[str, Built]:
        """Export each network to ONNX and compile it into the directory of its model."""
        built = {}
        with tempfile.TemporaryDirectory() as scratch:
            for done, (spec, graph) in enumerate(self.graphs.items()):
                progress("export graphs", done, len(self.graphs))
                onnx_file = Path(scratch) / f"{spec.name}.onnx"
                export_onnx(graph, spec, self.layout.sizes, onnx_file)
                built[spec.name] = compiler.build(
                    onnx_file, spec, self.layout, directory_of(spec.name), progress=progress
                )
            progress("export graphs", len(self.graphs), len(self.graphs))
        return built

    def write(self, target: Target, staging: Staging, *, progress: Progress = silent) -> None:
        """Write the models that are no networks, and every configuration."""
        raise NotImplementedError

    def configure(
        self,
        staging: Staging,
        spec: ModelSpec,
        parameters: Mapping[str, str] | None = None,
        *,
        ragged: bool = False,
    ) -> None:
        """Configure a model of Triton's Python backend; ``ragged`` as in `DynamicBatching`."""
        longest = self.layout.limits.max_wait
        parameters = dict(parameters or {})
        if longest and spec in _LIMITED:
            parameters[MAX_WAIT] = str(longest)
        if spec is RANK:
            parameters[MAX_CANDIDATES] = str(MOST_VALUES)
        staging.write_config(
            step_config(
                spec,
                backend="python",
                version=staging.version,
                sizes=self.layout.sizes,
                max_batch_size=self.layout.most(spec),
                batching=self.layout.batching(ragged=ragged) if spec.batched else None,
                # Of the process that counts events there is one.
                instances=1 if spec is OBSERVE else self.layout.limits.instances,
                parameters=parameters,
            )
        )

    def configure_ensemble(
        self, staging: Staging, ensemble: EnsembleSpec, parameters: Mapping[str, str] | None = None
    ) -> None:
        """Configure a model that is nothing but steps of others."""
        staging.model_dir(ensemble.model.name)
        staging.write_config(
            ensemble_config(
                ensemble,
                version=staging.version,
                sizes=self.layout.sizes,
                max_batch_size=self.layout.most(ensemble.model),
                parameters=parameters,
            )
        )

    def write_tokenizer_settings(
        self, directory: Path, pad_id: int, *, token_types: bool = False
    ) -> None:
        """Write what a model that tokenizes is told; see `TokenizerSettings`."""
        settings = TokenizerSettings(
            list(self.layout.token_lengths), pad_id, self.layout.limits.max_rows, token_types
        )
        write_json(directory / SETTINGS, asdict(settings))

    def engine_of(self, target: Target, directory_of: DirectoryOf) -> EngineOf:
        """The engines that `compile` wrote, loaded from where Triton will read them."""
        return lambda spec: target.load(spec, directory_of(spec.name))

    def hold(
        self,
        engine_of: EngineOf,
        compiler: Compiler,
        directory_of: DirectoryOf | None,
        *,
        progress: Progress = silent,
    ) -> Figures:
        """Hold the engines to the gates, and what `write` wrote beside them.

        ``directory_of`` is None where nothing was written but the engines.

        Raises
        ------
        GateError
            A figure is outside its bound.
        """
        raise NotImplementedError

    def golden(self, engine_of: EngineOf, directory_of: DirectoryOf) -> list[GoldenRequest]:
        """What each model that services ask is asked while it is served, and has to answer."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What else the manifest tells of the version."""
        return {}
