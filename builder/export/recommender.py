"""The export of a recommender, in both layouts.

In the *ensemble* layout the networks are models of their own, and ``rank`` and ``recommend`` ask
them through Triton. In the *fused* layout each of ``rank``, ``recommend`` and ``encode`` has its
network in its own process: where the networks run in the Python backend anyway, a hop between
models costs more than the work itself. The code around the networks is the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from builder.data.splits import Holdout
from builder.export import golden
from builder.export.alike_indexes import AlikeFigure, write_alike_indexes
from builder.export.attributes import read_attributes
from builder.export.encoder_engine import (
    GRAPH,
    REDUCED_BOUNDS,
    PaddedEncoder,
    encode_rows,
    write_encoder,
)
from builder.export.exportable import DirectoryOf, EngineOf, Exportable, Figures
from builder.export.graphs import EncoderGraph
from builder.export.harmful_texts import DETAIL as HARMFUL_TEXTS
from builder.export.harmful_texts import HARMFUL, harmful_items
from builder.export.index_gate import IndexFigure, takes_index, write_index
from builder.export.layout import Layout, Limits
from builder.export.onnx import export_onnx
from builder.export.parity import check_parity, in_deviations
from builder.export.parity_inputs import encoder_inputs, user_encoder_inputs
from builder.export.policy_file import POLICY, check_policy
from builder.export.popularity import with_popularity
from builder.export.ranking_gate import check_ranking
from builder.export.reasons import with_reasons
from builder.export.search import with_texts, words_of_texts
from builder.export.sequence_packing import packed_graph
from builder.export.serving_code import install, write_json
from builder.export.targets import Built, Compiler, FusedOptions, Target
from builder.export.text_gate import check_texts
from builder.model.checkpoint import load_checkpoint, load_validation
from builder.model.recommender import Recommender, with_text_vectors
from builder.model.scoring import UserEncoderGraph, catalogue_of, histories_of
from builder.model.uncertainty import uncertainties
from builder.progress import Progress, silent
from builder.repository import Staging, link_file
from builder.repository.golden import GoldenRequest
from model_repository.core.attributes import Attributes
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import (
    ADAPTER,
    ENCODE,
    ENCODE_STEPS,
    ENCODER,
    INPUT_IDS,
    OBSERVE,
    PACKED_ENCODER,
    RANK,
    RANK_TEXTS_STEPS,
    RECOMMEND,
    TEXT_VECTOR,
    TOKENIZER,
    TREND_UNTIL,
    USER_ENCODER,
    ModelSpec,
)
from model_repository.core.options import NO_POLICY, RepositoryPolicy
from model_repository.core.requests import ReaderSettings
from model_repository.core.scoring import Scorer
from model_repository.engines.engine import Engine
from model_repository.engines.onnx import OnnxEngine
from model_repository.engines.settings import SETTINGS, read_settings
from model_repository.engines.user_encoder import EngineUserEncoder
from model_repository.steps.catalogue_files import TREND_FILES, save_catalogue
from model_repository.steps.user_models import (
    POLICY_FILE,
    USER_ENCODER_FILE,
    load_scorer,
    load_user_encoder,
)

_TOKENIZER_FILE: Final = "tokenizer.json"


def recommender(
    checkpoint: Path,
    compiler: Compiler,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    model: Recommender | None = None,
    trained: int | None = None,
    attributes: Sequence[str] = (),
    policy: RepositoryPolicy = NO_POLICY,
    harmful_texts: str = "",
) -> RecommenderExport:
    """The export of a checkpoint; of its ``model`` with new items, where that is given.

    The first ``trained`` items of such a model are the checkpoint's.

    ``attributes`` are columns of the item file, see `read_attributes`. ``harmful_texts`` says what
    judges the texts, see `harmful_items`; nothing where it is empty.

    Raises
    ------
    CheckpointError
        `checkpoint` is not a finished training run.
    ConfigError
        The item file had none of the ``attributes``, or their values are of another kind; or the
        ``policy`` asks for what the catalogue does not have; or nothing judges texts so.
    """
    model = model or load_checkpoint(checkpoint)
    found = read_attributes(model.catalogue, attributes, trained)
    if harmful_texts:
        judged = harmful_items(model.catalogue.texts, harmful_texts)
        found = Attributes({**found.columns, HARMFUL: judged})
    rules = _Rules(found, policy, harmful_texts)
    layout = Layout.of_recommender(model, limits)
    validation = load_validation(checkpoint)
    if compiler.fused is None:
        return RecommenderExport(checkpoint, model, validation, layout, rules)
    return FusedExport(checkpoint, model, validation, layout, rules, compiler.fused)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What requests may name of the items, and what is done unless they say otherwise."""

    attributes: Attributes
    policy: RepositoryPolicy
    harmful_texts: str = ""


class RecommenderExport(Exportable):
    """A recommender whose networks are models of their own."""

    family = "recommender"

    def __init__(
        self,
        checkpoint: Path,
        model: Recommender,
        validation: Holdout,
        layout: Layout,
        rules: _Rules,
    ) -> None:
        graphs = {
            ENCODER: EncoderGraph(model.encoder),
            USER_ENCODER: UserEncoderGraph(model.adapter),
        }
        super().__init__(str(checkpoint.resolve()), layout, graphs)
        self._checkpoint = checkpoint
        self._model = self._trained = model
        self._validation = validation
        self._rules = rules
        self._check_policy()
        self._index: IndexFigure | None = None
        self._alike: list[AlikeFigure] = []

    def write(self, target: Target, staging: Staging, *, progress: Progress = silent) -> None:
        settings = {
            **self._user_settings(),
            "lengths": self.layout.event_lengths,
            "texts": {
                "lengths": self.layout.token_lengths,
                "pad_id": self._model.encoder.pad_id,
            },
        }
        self._copy_tokenizer(staging.model_dir(RECOMMEND.name))
        self._write_user_models(
            target, staging, (RECOMMEND, RANK, ADAPTER), settings, ["tokenizers"], progress
        )
        tokenizer = staging.model_dir(TOKENIZER.name)
        install(tokenizer, ["tokenizers"])
        self.write_tokenizer_settings(tokenizer, self._model.encoder.pad_id)
        self._copy_tokenizer(tokenizer)
        self.configure(staging, TOKENIZER, ragged=True)
        for spec in self.graphs:
            staging.write_config(target.config(spec, self.layout, staging.version))
        for ensemble in (ENCODE_STEPS, RANK_TEXTS_STEPS):
            self.configure_ensemble(staging, ensemble)

    def hold(
        self,
        engine_of: EngineOf,
        compiler: Compiler,
        directory_of: DirectoryOf | None,
        *,
        progress: Progress = silent,
    ) -> Figures:
        grids = {
            ENCODER: encoder_inputs(self._model, self.layout),
            USER_ENCODER: user_encoder_inputs(self._model, self.layout),
        }
        parity = []
        for spec, graph in self.graphs.items():
            parity += check_parity(
                engine_of(spec),
                graph,
                spec,
                list(grids[spec]),
                in_deviations,
                self._bound(spec, compiler),
                progress=progress,
            )
        scorer = self._scorer(engine_of(USER_ENCODER), directory_of)
        ranking = check_ranking(
            scorer,
            self._trained,
            self._validation,
            bound=compiler.ranking_loss,
            max_users=self.layout.limits.max_users,
            progress=progress,
        )
        return Figures(parity, ranking, index=self._index, alike=self._alike)

    def golden(self, engine_of: EngineOf, directory_of: DirectoryOf) -> list[GoldenRequest]:
        scorer = self._scorer(engine_of(USER_ENCODER), directory_of)
        return [
            *golden.of_users(scorer, self._user_settings()["reader"], self._rules.policy),
            *([golden.of_no_events()] if scorer.catalogue.trend else []),
            golden.of_text(ENCODE.name, TEXT_VECTOR, self.layout.sizes["h"]),
            *self._golden_of_steps(),
        ]

    def _golden_of_steps(self) -> list[GoldenRequest]:
        return [golden.of_texts_alone()]

    def details(self) -> dict[str, Any]:
        columns = dict(self._rules.attributes.columns)
        if self._rules.harmful_texts:
            del columns[HARMFUL]
        found: dict[str, Any] = {
            "attributes": {name: column.kind for name, column in columns.items()}
        }
        if self._rules.policy != NO_POLICY:
            found[POLICY] = asdict(self._rules.policy)
        if self._rules.harmful_texts:
            found[HARMFUL_TEXTS] = self._rules.harmful_texts
        return found

    def _check_policy(self) -> None:
        settings = ReaderSettings(**self._user_settings()["reader"])
        check_policy(self._rules.policy, self._catalogue(), settings)

    def _catalogue(self) -> Catalogue:
        """What is served, without what only reasons and searches need."""
        histories = self._validation.histories
        catalogue = with_popularity(catalogue_of(self._model), histories)
        return replace(
            catalogue,
            uncertainty=uncertainties(self._model.popularity, histories, len(catalogue)),
            attributes=self._rules.attributes,
        )

    def _scorer(self, user_encoder: Engine, directory_of: DirectoryOf | None) -> Scorer:
        """What ranks: the files that are published, or the model where nothing is."""
        encode_users = EngineUserEncoder(user_encoder, self.layout.event_lengths)
        if directory_of is None:
            return Scorer(catalogue_of(self._model), encode_users)
        return load_scorer(directory_of(RECOMMEND.name), encode_users)

    def _bound(self, spec: ModelSpec, compiler: Compiler) -> float:  # noqa: ARG002
        return compiler.parity

    def _user_settings(self) -> dict[str, Any]:
        limits = self.layout.limits
        return {
            "reader": {
                "max_rows": limits.max_rows,
                "max_history": self.layout.max_history,
                "actions": list(self._model.actions),
                "max_top_k": limits.max_top_k,
                "profile": [column.to_dict() for column in self._model.profile],
            }
        }

    def _write_user_models(
        self,
        target: Target,
        staging: Staging,
        specs: tuple[ModelSpec, ...],
        settings: dict[str, Any],
        libraries: list[str],
        progress: Progress,
    ) -> None:
        """Models that read users, with the very same files: processes that map them share them."""
        first, *others = (staging.model_dir(spec.name) for spec in specs)
        write_json(first / SETTINGS, settings)
        served = with_texts(with_reasons(self._catalogue(), self._model), self._model)
        save_catalogue(first, served)
        libraries = [*libraries, "lark"]
        if takes_index(target.index, len(self._model.catalogue)):
            libraries.append("faiss-cpu")
            engine = self.engine_of(target, staging.model_dir)(USER_ENCODER)
            scorer = self._scorer(engine, staging.model_dir)
            states = [
                scorer.users(
                    histories_of(part.histories, self.layout.max_history),
                    profiles=part.histories.profiles,
                ).states
                for part in self._validation.chunks(self.layout.limits.max_users)
            ]
            self._index = write_index(first, np.concatenate(states), progress=progress)
            words = words_of_texts(self._model)
            self._alike = write_alike_indexes(first, served, words, progress=progress)
        for directory in others:
            for file in first.iterdir():
                link_file(file, directory / file.name)
        if self._rules.policy != NO_POLICY:
            write_json(staging.model_dir(RECOMMEND.name) / POLICY_FILE, asdict(self._rules.policy))
        told = {TREND_UNTIL: str(served.trend.until)} if served.trend else {}
        for spec in specs:
            of_policy = ["pyversity"] if spec is RECOMMEND else []
            install(staging.model_dir(spec.name), [*libraries, *of_policy])
            self.configure(staging, spec, told, ragged=True)  # histories differ in length
        if served.trend:
            observe = staging.model_dir(OBSERVE.name)
            for name in TREND_FILES:
                link_file(first / name, observe / name)
            install(observe, [])
            self.configure(staging, OBSERVE, told, ragged=True)

    def _copy_tokenizer(self, directory: Path) -> None:
        source = self._checkpoint / "encoder" / _TOKENIZER_FILE
        (directory / _TOKENIZER_FILE).write_bytes(source.read_bytes())


class FusedExport(RecommenderExport):
    """A recommender whose networks run in the processes of ``rank``, ``recommend`` and ``encode``.

    With an engine of reduced precision the text vectors that are served are the engine's own, so
    that neighbours of live texts are sought among vectors of one kind; the item vectors stay the
    checkpoint's.
    """

    def __init__(
        self,
        checkpoint: Path,
        model: Recommender,
        validation: Holdout,
        layout: Layout,
        rules: _Rules,
        options: FusedOptions,
    ) -> None:
        super().__init__(checkpoint, model, validation, layout, rules)
        self._options = options

    def compile(
        self,
        compiler: Compiler,  # noqa: ARG002
        directory_of: DirectoryOf,
        *,
        progress: Progress = silent,
    ) -> dict[str, Built]:
        model, encode, recommend = (
            self._model,
            directory_of(ENCODE.name),
            directory_of(RECOMMEND.name),
        )
        progress("export graphs", 0, 2)
        rows = [row.tokens for row in model.tokenizer(model.catalogue.texts)]
        judged = (each[INPUT_IDS.name] for each in encoder_inputs(model, self.layout))
        packed = packed_graph(model.encoder, rows, judged)
        with tempfile.TemporaryDirectory() as scratch:
            graph = Path(scratch) / GRAPH
            if packed is None:
                export_onnx(self.graphs[ENCODER], ENCODER, self.layout.sizes, graph)
            else:
                export_onnx(packed, PACKED_ENCODER, self.layout.sizes, graph)
            settings = {
                "pad_id": model.encoder.pad_id,
                "max_length": self.layout.token_lengths[-1],
                "cached_texts": self.layout.limits.cached_texts,
                "packed": packed is not None,
            }
            chosen = write_encoder(graph, encode, settings, rows, self._options)
        if self._options.precision != "fp32":
            vectors = torch.from_numpy(encode_rows(encode, rows))
            self._model = with_text_vectors(model, vectors)
        progress("export graphs", 1, 2)
        user_encoder = recommend / USER_ENCODER_FILE
        export_onnx(self.graphs[USER_ENCODER], USER_ENCODER, self.layout.sizes, user_encoder)
        progress("export graphs", 2, 2)
        return {
            ENCODE.name: Built(encode / GRAPH, details=chosen.to_dict()),
            RECOMMEND.name: Built(user_encoder),
        }

    def write(self, target: Target, staging: Staging, *, progress: Progress = silent) -> None:
        encode = staging.model_dir(ENCODE.name)
        engine = read_settings(encode)["engine"]
        install(encode, ["tokenizers", engine])
        self._copy_tokenizer(encode)
        self.configure(staging, ENCODE)
        settings = self._user_settings()
        self._write_user_models(
            target, staging, (RECOMMEND, RANK), settings, ["onnxruntime"], progress
        )

    def engine_of(self, target: Target, directory_of: DirectoryOf) -> EngineOf:  # noqa: ARG002
        def engine(spec: ModelSpec) -> Engine:
            if spec is ENCODER:
                return PaddedEncoder(directory_of(ENCODE.name))
            return OnnxEngine(directory_of(RECOMMEND.name) / USER_ENCODER_FILE, 1)

        return engine

    def hold(
        self,
        engine_of: EngineOf,
        compiler: Compiler,
        directory_of: DirectoryOf | None,
        *,
        progress: Progress = silent,
    ) -> Figures:
        figures = super().hold(engine_of, compiler, directory_of, progress=progress)
        texts = None
        if self._options.precision != "fp32":
            texts = check_texts(
                self._trained, self._model, self._validation, bound=compiler.ranking_loss
            )
        return replace(figures, texts=texts)

    def _golden_of_steps(self) -> list[GoldenRequest]:
        return []

    def _scorer(self, user_encoder: Engine, directory_of: DirectoryOf | None) -> Scorer:
        if directory_of is None:
            return super()._scorer(user_encoder, directory_of)
        directory = directory_of(RECOMMEND.name)
        return load_scorer(directory, load_user_encoder(directory))

    def _bound(self, spec: ModelSpec, compiler: Compiler) -> float:
        if spec is ENCODER:
            return REDUCED_BOUNDS.get(self._options.precision, compiler.parity)
        return compiler.parity
