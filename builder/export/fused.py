"""The fused layout: ``rank``, ``recommend`` and ``encode`` are one Python model each.

Between the steps of an ensemble Triton copies tensors and schedules anew; where every step is
Python anyway, that costs more than the work itself. Here one process reads a batch of users, scores
it as one, and asks ``encode`` once for the texts that the catalogue does not know, or not at all.
The answers are those of the ensemble, and so are the gates.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.encoder_engine import GRAPH, encode_rows, write_encoder
from builder.export.graphs import EncoderGraph, StateGraph
from builder.export.layout import Layout
from builder.export.onnx import export_onnx
from builder.export.packing import packed_graph
from builder.export.parity import Engine
from builder.export.targets.base import Built
from builder.export.targets.options import FusedOptions
from builder.model.neighbourhood import Neighbourhood
from builder.model.recommender import Recommender, with_text_vectors
from builder.progress import Progress, silent
from builder.repository import DynamicBatching, Staging, step_config
from model_repository.core.contract import (
    ENCODE,
    ENCODER,
    FUSED,
    PACKED_ENCODER,
    RANK,
    RECOMMEND,
    STATE,
    ModelSpec,
)
from model_repository.interest import ARRAYS, History, InterestModel
from model_repository.steps import install_step
from model_repository.engines.packed_encoder import TokenEncoder

_STATE_GRAPH: Final = "state.onnx"


@dataclass(frozen=True)
class FusedModels:
    """What was written.

    Attributes
    ----------
    model
        The recommender that is served. With an engine of reduced precision the text vectors are the
        engine's own, so that neighbours of live texts are sought among vectors of one kind; the
        item vectors stay the checkpoint's.
    built
        The graphs, by the name of the model.
    """

    model: Recommender
    built: dict[str, Built]


def build_fused(
    model: Recommender,
    layout: Layout,
    checkpoint: Path,
    staging: Staging,
    options: FusedOptions,
    *,
    progress: Progress = silent,
) -> FusedModels:
    """Write the three models.

    Raises
    ------
    ExportError
        A graph does not export, or BERT cannot be run as wanted on this machine.
    """
    directories = {spec.name: staging.model_dir(spec.name) for spec in FUSED}
    progress("export graphs", 0, 2)
    encode = directories[ENCODE.model.name]
    (encode / "tokenizer.json").write_bytes((checkpoint / "encoder/tokenizer.json").read_bytes())
    settings: dict[str, Any] = {
        "pad_id": model.encoder.pad_id,
        "max_length": layout.length_buckets[-1],
        "cached_texts": layout.cached_texts,
    }
    rows = [row.tokens for row in model.tokenizer(model.catalogue.texts)]
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / GRAPH
        packed = packed_graph(model.encoder, rows)
        if packed is None:
            export_onnx(EncoderGraph(model.encoder), ENCODER, layout.sizes, graph)
        else:
            export_onnx(packed, PACKED_ENCODER, layout.sizes, graph)
        settings["packed"] = packed is not None
        chosen = write_encoder(graph, encode, settings, rows, options)
    if options.precision != "fp32":
        model = with_text_vectors(model, torch.from_numpy(encode_rows(encode, rows)))
    progress("export graphs", 1, 2)
    recommend = directories[RECOMMEND.model.name]
    sizes = {**layout.sizes, "d": model.adapter.config.width}
    export_onnx(StateGraph(model.adapter), STATE, sizes, recommend / _STATE_GRAPH)
    _write_interest(model, layout, recommend)
    # The very same files: what one process has mapped, the other has too.
    for file in list(recommend.iterdir()):
        os.link(file, directories[RANK.model.name] / file.name)
    progress("export graphs", 2, 2)
    for spec in FUSED:
        install_step(spec.name, directories[spec.name])
        staging.write_config(_config(spec, layout, staging.version))
    built = {
        ENCODE.model.name: Built(encode / GRAPH, details=chosen.to_dict()),
        RECOMMEND.model.name: Built(recommend / _STATE_GRAPH),
    }
    return FusedModels(model, built)


def load_fused(spec: ModelSpec, staging: Staging, layout: Layout, *, exact: bool) -> Engine:
    """What the fused models compute, as the step `spec` of the ensemble does, for the gates.

    ``exact`` leaves an index over the catalogue alone.
    """
    if spec is ENCODER:
        return _Encoder(staging.model_dir(ENCODE.model.name))
    return _Interest(staging.model_dir(RECOMMEND.model.name), layout, exact=exact)


class _Encoder:
    """INPUT_IDS [R, L] → VECTOR [R, h], by way of rows without their padding."""

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._pad_id: int = settings["pad_id"]
        self._encode = TokenEncoder(directory)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = [np.trim_zeros(row != self._pad_id, "b").size for row in inputs["INPUT_IDS"]]
        return {
            "VECTOR": self._encode(
                [row[:length] for row, length in zip(inputs["INPUT_IDS"], rows, strict=True)]
            )
        }


class _Interest:
    """The inputs and outputs of adapter and retriever.

    Each user is scored in the company of one with the longest history, so that the gates hold the
    batch, too.
    """

    def __init__(self, directory: Path, layout: Layout, *, exact: bool) -> None:
        self._model = InterestModel(directory, exact=exact)
        blank = np.zeros(layout.max_history, np.int32)
        self._companion = History(blank, blank, blank)
        self._retrieved = layout.retrieved

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        fresh = self._model.from_text(inputs["VECTOR"])
        history = History(
            inputs["HISTORY_SLOT"][0], inputs["HISTORY_ACTION_ID"][0], inputs["HISTORY_GAP"][0]
        )
        both = [history, self._companion]
        profiles = inputs["PROFILE_ID"].repeat(2, axis=0) if "PROFILE_ID" in inputs else None
        states = self._model.user_states(both, fresh, profiles)
        if "CANDIDATE_SLOT" in inputs:
            candidates = inputs["CANDIDATE_SLOT"][0]
            found = self._model.score(states[0], history, candidates, fresh)
            return {"INTEREST": found.interest[np.newaxis], "LOGIT": found.logit[np.newaxis]}
        excluded = [inputs["EXCLUDE_SLOT"][0], np.zeros(0, np.int32)]
        wanted = [self._retrieved, self._retrieved]
        index, found = self._model.best(states, both, excluded, wanted)[0]
        return {
            "INDEX": index[np.newaxis],
            "INDEX_INTEREST": found.interest[np.newaxis],
            "INDEX_LOGIT": found.logit[np.newaxis],
        }


@torch.no_grad()
def _write_interest(model: Recommender, layout: Layout, directory: Path) -> None:
    adapter, linear = model.adapter, model.linear
    vectors, bias = model.item_vectors()
    # An item adds nothing where the term is switched off, and nothing is then looked up.
    kept = slice(None) if linear.weight else slice(0)
    ages = np.arange(adapter.config.max_history, dtype=np.float32)
    neighbourhood = Neighbourhood.served(model)
    tables = [table.numpy() for table in adapter.profile]
    profile = np.zeros((len(tables), max(map(len, tables), default=0), vectors.shape[1]), "f4")
    for rows, table in zip(profile, tables, strict=True):
        rows[: len(table)] = table
    arrays = {
        "item_vectors": vectors.numpy(),
        "item_bias": bias.numpy(),
        "cold": np.flatnonzero(~model.met).astype(np.int32),
        "linear_index": linear.index[:, kept],
        "linear_value": linear.value[:, kept] * np.float32(linear.weight),
        "decay": np.float32(linear.decay) ** ages,
        "text_mean": neighbourhood.text_mean,
        "text_weight": neighbourhood.text_weight,
        "text_bias": neighbourhood.text_bias,
        "neighbour": neighbourhood.items,
        "neighbour_direction": neighbourhood.directions,
        "profile": profile,
    }
    for name in ARRAYS:
        np.save(directory / f"{name}.npy", np.ascontiguousarray(arrays[name]))
    settings = {
        "scale": model.calibration.scale,
        "shift": model.calibration.shift,
        "ceiling": model.calibration.ceiling,
        "cold_place": model.cold_place,
        "reader": {
            "max_rows": layout.max_rows,
            "max_history": layout.max_history,
            "actions": list(model.actions),
            "max_top_k": layout.retrieved,
            "profile": [column.to_dict() for column in model.profile],
        },
    }
    items = [str(item) for item in model.catalogue.item_ids]
    (directory / "settings.json").write_text(json.dumps(settings, indent=2), "utf-8")
    (directory / "items.json").write_text(json.dumps(items, ensure_ascii=False), "utf-8")


def _config(spec: ModelSpec, layout: Layout, version: int) -> ModelConfig:
    texts = spec.name == ENCODE.model.name
    return step_config(
        spec,
        backend="python",
        version=version,
        sizes=layout.sizes,
        max_batch_size=layout.max_rows if texts else layout.max_users,
        # Histories differ in length; texts do not, before they are tokenized.
        batching=DynamicBatching(ragged=not texts),
    )
