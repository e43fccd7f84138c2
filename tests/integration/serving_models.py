"""Repositories of small Python models, for a real tritonserver."""

from __future__ import annotations

import textwrap
from pathlib import Path

from builder.repository import DynamicBatching, Staging, ensemble_config, stage, step_config
from model_repository.core import contract
from tests.unit.builder.repository.repositories import ENSEMBLES, SOLO, STEPS

WIDTH = 4
RECOMMENDED = 3
SIZES = {"h": WIDTH, "d": WIDTH}
MAX_ROWS = 16

# One file for every model of the contract: it does no work, but shows what reaches it. TRUNCATED
# is the number of rows, plus a thousand times the parameter `top_k` as the tokenizer saw it. VECTOR
# carries the one that the encoder saw, and INTEREST hands it on; LOGIT carries the one that the
# last step saw, of `recommend` it is the number of events. A TEXT, CANDIDATE or CANDIDATE_TEXT
# "refuse" is an error of that request alone.
STEPS_MODEL = """
import json

import numpy as np
import triton_python_backend_utils as pb_utils

SCALE = {scale}
LONGER = set()  # what config.pbtxt shows with an axis more


def read(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    return tensor.as_numpy()[:, 0] if name in LONGER else tensor.as_numpy()


def respond(**tensors):
    return pb_utils.InferenceResponse([pb_utils.Tensor(k, v) for k, v in tensors.items()])


def refuse(given):
    if given is not None and b"refuse" in given:
        raise ValueError("unknown candidate 'refuse'")


class TritonPythonModel:
    def initialize(self, args):
        self.step = getattr(self, args["model_name"])
        config = json.loads(args["model_config"])
        LONGER.update(each["name"] for each in config["input"] if "reshape" in each)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        top_k = json.loads(request.parameters() or "{{}}").get("top_k", 0)
        try:
            return self.step(request, top_k)
        except ValueError as error:
            fault = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=fault)

    def tokenizer(self, request, top_k):
        text, candidate = read(request, "TEXT"), read(request, "CANDIDATE_TEXT")
        refuse(text)
        refuse(candidate)
        rows = len(text) if text is not None else max(1, candidate.size)
        tensors = dict(
            INPUT_IDS=np.ones((rows, 8), np.int32),
            TRUNCATED=np.full((1 if text is None else rows, 1), rows + 1000 * top_k, np.int32),
        )
        if text is None:
            history = read(request, "HISTORY_TEXT")
            tensors["HISTORY_ROW"] = np.zeros(history.shape, np.int32)
            tensors["CANDIDATE_ROW"] = np.zeros(candidate.shape, np.int32)
        return respond(**{{k: tensors[k] for k in request.requested_output_names()}})

    def encoder(self, request, top_k):
        rows = len(read(request, "INPUT_IDS"))
        return respond(VECTOR=np.full((rows, {width}), SCALE * top_k, np.float32))

    def user_encoder(self, request, top_k):
        return respond(STATE=np.zeros((len(read(request, "EVENT")), {width}), np.float32))

    def adapter(self, request, top_k):
        vector, rows = read(request, "VECTOR"), read(request, "CANDIDATE_ROW")
        assert len(vector) >= 1
        return respond(
            INTEREST=np.full(rows.shape, vector[0, 0], np.float32),
            LOGIT=np.full(rows.shape, top_k, np.float32),
        )

    def rank(self, request, top_k):
        candidate = read(request, "CANDIDATE")
        refuse(candidate)
        return respond(
            INTEREST=np.full(candidate.shape, SCALE * top_k, np.float32),
            LOGIT=np.full(candidate.shape, top_k, np.float32),
            SKIPPED=np.zeros((1, 1), np.int32),
            TRUNCATED=np.zeros((1, 1), np.int32),
        )

    def recommend(self, request, top_k):
        items = [str(item).encode() for item in range(min(top_k, {recommended}))]
        events = read(request, "HISTORY").shape[1]
        return respond(
            ITEM=np.array([items], np.object_).reshape(1, -1),
            INTEREST=np.full((1, len(items)), top_k, np.float32),
            LOGIT=np.full((1, len(items)), events, np.float32),
            SKIPPED=np.zeros((1, 1), np.int32),
            TRUNCATED=np.zeros((1, 1), np.int32),
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
    """Fill a version with every model; VECTOR is ``scale`` times ``top_k``."""
    source = STEPS_MODEL.format(width=WIDTH, recommended=RECOMMENDED, scale=scale)
    for step in STEPS:
        networks = (contract.ENCODER, contract.USER_ENCODER)
        batching = DynamicBatching(500, ragged=step not in networks)
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
    for ensemble in ENSEMBLES:
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
    with stage(repository) as staging:
        staging.write_config(step_config(SOLO, backend="python", version=staging.version, sizes={}))
        (staging.model_dir("solo") / "model.py").write_text(
            SOLO_MODEL.format(initialize=textwrap.indent(textwrap.dedent(initialize), " " * 8))
        )
