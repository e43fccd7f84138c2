"""A repository whose model breaks as it is told."""

from __future__ import annotations

from pathlib import Path

from builder.repository import DynamicBatching, stage, step_config
from builder.repository.golden import DETAIL, GoldenOutput, GoldenRequest, golden_to_json
from model_repository.core.contract import CANDIDATE, HISTORY, LOGIT, RANK

# LOGIT is 1 for each candidate. What the first of them says happens before the answer.
BREAKABLE = """
import os, time

import numpy as np
import triton_python_backend_utils as pb_utils

logit = 1.0


class TritonPythonModel:
    def initialize(self, args):
        global logit
        {initialize}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        global logit
        given = pb_utils.get_input_tensor_by_name(request, "CANDIDATE").as_numpy()
        candidates = given.reshape(1, -1)
        first = bytes(candidates[0, 0]) if candidates.size else b""
        if first == b"die":
            os._exit(3)
        if first == b"out of memory":
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
            while True:
                import ctypes
                ctypes.memset(ctypes.CDLL(None).malloc(1 << 30) or 0, 0, 1)
        if first == b"hang":
            time.sleep(3600)
        if first.startswith(b"work "):
            end = time.monotonic() + float(first[5:])
            while time.monotonic() < end:
                pass
        if first == b"wrong":
            logit = 2.0
        tensors = dict(
            INTEREST=np.full(candidates.shape, 0.5, np.float32),
            LOGIT=np.full(candidates.shape, logit, np.float32),
            SKIPPED=np.zeros((1, 1), np.int32),
            TRUNCATED=np.zeros((1, 1), np.int32),
        )
        return pb_utils.InferenceResponse([pb_utils.Tensor(*each) for each in tensors.items()])
"""


def publish_breakable(
    repository: Path, *, initialize: str = "pass", logit: float = 1.0, golden: bool = True
) -> None:
    """Publish ``rank`` as `BREAKABLE`, whose golden answer is ``logit``.

    ``initialize`` is a statement for when the model loads.
    """
    request = GoldenRequest(
        RANK.name,
        {HISTORY.name: [["a"]], CANDIDATE.name: [["b", "c"]]},
        {LOGIT.name: GoldenOutput((1, 2), (logit, logit))},
    )
    with stage(repository) as staging:
        staging.target, staging.checkpoint = "embedded", "none"
        staging.write_config(
            step_config(
                RANK,
                backend="python",
                version=staging.version,
                sizes={},
                max_batch_size=4,
                batching=DynamicBatching(0, ragged=True),
            )
        )
        code = BREAKABLE.format(initialize=initialize)
        (staging.model_dir(RANK.name) / "model.py").write_text(code)
        staging.details = {"sha256": staging.hashes()}
        if golden:
            staging.details[DETAIL] = golden_to_json([request])
