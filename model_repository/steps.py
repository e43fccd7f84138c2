"""Which of the modules here a model of Triton's Python backend consists of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_GRAPH: Final = (
    "graph_step.py",
    "triton_step.py",
    "bytes_reader.py",
    "graph.py",
    "engine.py",
    "batch.py",
    "errors.py",
)

_INTEREST: Final = (
    "triton_step.py",
    "bytes_reader.py",
    "encode_call.py",
    "interest_requests.py",
    "interest.py",
    "item_index.py",
    "neighbours.py",
    "cold_place.py",
    "top_k.py",
    "length_batches.py",
    "engine.py",
    "request_reader.py",
    "profile.py",
    "wire.py",
    "options.py",
    "policy.py",
    "slots.py",
    "batch.py",
    "errors.py",
)

STEP_FILES: Final[dict[str, tuple[str, ...]]] = {
    "tokenizer": (
        "tokenizer_step.py",
        "triton_step.py",
        "bytes_reader.py",
        "request_tokenizer.py",
        "request_reader.py",
        "profile.py",
        "text_tokenizer.py",
        "wire.py",
        "options.py",
        "slots.py",
        "batch.py",
        "errors.py",
    ),
    "encoder": _GRAPH,
    "adapter": _GRAPH,
    "retriever": _GRAPH,
    "policy": (
        "policy_step.py",
        "triton_step.py",
        "bytes_reader.py",
        "policy.py",
        "options.py",
        "slots.py",
        "batch.py",
        "errors.py",
    ),
    "pair_tokenizer": (
        "pair_tokenizer_step.py",
        "triton_step.py",
        "bytes_reader.py",
        "pair_tokenizer.py",
        "text_tokenizer.py",
        "wire.py",
        "batch.py",
        "errors.py",
    ),
    "classifier": _GRAPH,
    "rank": ("rank_step.py", *_INTEREST),
    "recommend": ("recommend_step.py", *_INTEREST),
    "encode": (
        "encode_step.py",
        "triton_step.py",
        "bytes_reader.py",
        "text_encoder.py",
        "text_cache.py",
        "token_encoder.py",
        "token_packs.py",
        "length_batches.py",
        "text_tokenizer.py",
        "engine.py",
        "openvino_engine.py",
        "wire.py",
        "options.py",
        "batch.py",
        "errors.py",
    ),
}
"""The source files of each model; the first becomes its ``model.py``."""


def install_step(name: str, destination: Path) -> None:
    """Copy the code of model ``name`` into ``destination``, its version directory.

    Beside it the models read, from the same directory: ``tokenizer`` ``settings.json``,
    ``items.json`` and ``tokenizer.json``; ``policy`` ``settings.json`` and ``items.json``;
    ``pair_tokenizer`` ``settings.json`` and ``tokenizer.json``; ``rank``, ``recommend`` and
    ``encode``, of the fused layout, what `InterestModel` and `EncodeRequests` say; the others
    ``settings.json`` and ``model.onnx``.
    """
    model, *others = STEP_FILES[name]
    sources = Path(__file__).parent
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sources / model, destination / "model.py")
    for file in others:
        shutil.copyfile(sources / file, destination / file)
