"""Repositories of small Python models, for a real tritonserver."""

from __future__ import annotations

import textwrap
from pathlib import Path

from builder.repository import DynamicBatching, Staging, ensemble_config, stage, step_config
from model_repository.core import contract

WIDTH = 4
RETRIEVED = 3
SIZES = {"h": WIDTH, "M": RETRIEVED}
MAX_ROWS = 16

# One file for every step of the contract: it does no work, but shows what reaches it. VECTOR
# carries the parameter `top_k` as the encoder saw it and INTEREST hands it on; LOGIT carries the
# one that the last step saw. A TEXT or CANDIDATE "refuse" is an error of that request alone.
STEPS_MODEL = """
import json

import numpy as np
import triton_python_backend_utils as pb_utils

SCALE = {scale}


def read(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def respond(**tensors):
    return pb_utils.InferenceResponse([pb_utils.Tensor(k, v) for k, v in tensors.items()])


class TritonPythonModel:
    def initialize(self, args):
        self.step = getattr(self, args["model_name"])

    def execute(self, requests):
        return [self.answer(request, len(requests)) for request in requests]

    def answer(self, request, together):
        top_k = json.loads(request.parameters() or "{{}}").get("top_k", 0)
        try:
            return self.step(request, top_k, together)
        except ValueError as error:
            fault = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=fault)

    def tokenizer(self, request, top_k, together):
        history, candidate = read(request, "HISTORY"), read(request, "CANDIDATE")
        exclude, text = read(request, "EXCLUDE"), read(request, "TEXT")
        for given in (candidate, text):
            if given is not None and b"refuse" in given:
                raise ValueError("unknown candidate 'refuse'")
        texts = read(request, "CANDIDATE_TEXT")
        rows = len(text) if text is not None else max(1, texts.size if texts is not None else 1)
        length = lambda ids: 0 if ids is None else ids.shape[1]
        H, N, E = length(history), length(candidate), length(exclude)
        tensors = dict(
            INPUT_IDS=np.ones((rows, 8), np.int32),
            HISTORY_SLOT=np.zeros((1, H), np.int32),
            HISTORY_ACTION_ID=np.zeros((1, H), np.int32),
            HISTORY_GAP=np.zeros((1, H), np.int32),
            CANDIDATE_SLOT=np.zeros((1, N), np.int32),
            EXCLUDE_SLOT=np.zeros((1, E), np.int32),
            SKIPPED=np.full((1, 1), top_k, np.int32),
            TRUNCATED=np.full((1 if text is None else rows, 1), rows, np.int32),
        )
        return respond(**{{k: tensors[k] for k in request.requested_output_names()}})

    def encoder(self, request, top_k, together):
        rows = len(read(request, "INPUT_IDS"))
        return respond(VECTOR=np.full((rows, {width}), SCALE * top_k, np.float32))

    def adapter(self, request, top_k, together):
        vector, slots = read(request, "VECTOR"), read(request, "CANDIDATE_SLOT")
        assert len(vector) >= 1
        return respond(
            INTEREST=np.full(slots.shape, vector[0, 0], np.float32),
            LOGIT=np.full(slots.shape, top_k, np.float32),
        )

    def retriever(self, request, top_k, together):
        vector, slots = read(request, "VECTOR"), read(request, "HISTORY_SLOT")
        return respond(
            INDEX=np.arange({retrieved}, dtype=np.int32)[None],
            INDEX_INTEREST=np.full((1, {retrieved}), vector[0, 0], np.float32),
            INDEX_LOGIT=np.full((1, {retrieved}), slots.shape[1], np.float32),
        )

    def policy(self, request, top_k, together):
        index = read(request, "INDEX")[0, :top_k]
        return respond(
            ITEM=np.array([[str(i).encode() for i in index]], np.object_).reshape(1, -1),
            INTEREST=read(request, "INDEX_INTEREST")[:, : len(index)],
            LOGIT=read(request, "INDEX_LOGIT")[:, : len(index)],
        )
"""

# Dies of an empty request.
SOLO_MODEL = """
import os, sys, time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
{initialize}

    def execute(self, requests):
        given = [pb_utils.get_input_tensor_by_name(r, "IN").as_numpy() for r in requests]
        if any(array.size == 0 for array in given):
            os._exit(3)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in given]
"""


def write_contract_models(staging: Staging, *, scale: int = 1) -> None:
    """Fill a version with every step and ensemble; VECTOR is ``scale`` times ``top_k``."""
    source = STEPS_MODEL.format(width=WIDTH, retrieved=RETRIEVED, scale=scale)
    for step in contract.STEPS:
        batching = DynamicBatching(500, ragged=step is contract.TOKENIZER)
        staging.write_config(
            step_config(
                step,
                backend="python",
                version=staging.version,
                sizes=SIZES,
                max_batch_size=MAX_ROWS if step.batched else 0,
                batching=batching if step.batched else None,
            )
        )
        (staging.model_dir(step.name) / "model.py").write_text(source)
    for ensemble in contract.ENSEMBLES:
        staging.write_config(
            ensemble_config(
                ensemble,
                version=staging.version,
                sizes=SIZES,
                max_batch_size=MAX_ROWS if ensemble.model.batched else 0,
            )
        )


def publish_contract_models(repository: Path, *, scale: int = 1) -> None:
    with stage(repository) as staging:
        staging.target, staging.checkpoint = "embedded", "none"
        write_contract_models(staging, scale=scale)


def publish_one_model(repository: Path, initialize: str) -> None:
    """Publish one model ``solo`` whose ``initialize`` is the given code."""
    spec = contract.ModelSpec(
        "solo",
        (contract.TensorSpec("IN", "INT32", ("n",)),),
        (contract.TensorSpec("OUT", "INT32", ("n",)),),
    )
    with stage(repository) as staging:
        staging.write_config(step_config(spec, backend="python", version=staging.version, sizes={}))
        (staging.model_dir("solo") / "model.py").write_text(
            SOLO_MODEL.format(initialize=textwrap.indent(textwrap.dedent(initialize), " " * 8))
        )
