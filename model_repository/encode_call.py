"""Asks the model ``encode`` of the same server (Triton: business logic scripting)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import triton_python_backend_utils as pb_utils

from .interest_requests import EncodedTexts


class EncodeCall:
    """Encodes texts with the ``encode`` of a version, where other requests' texts join them."""

    def __init__(self, version: int) -> None:
        self._version = version

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        column = np.array([text.encode() for text in texts], np.object_).reshape(-1, 1)
        response = pb_utils.InferenceRequest(
            model_name="encode",
            model_version=self._version,
            requested_output_names=["VECTOR", "TRUNCATED"],
            inputs=[pb_utils.Tensor("TEXT", column)],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        ).exec()
        if response.has_error():
            raise RuntimeError(f"encode failed: {response.error().message()}")
        return EncodedTexts(
            pb_utils.get_output_tensor_by_name(response, "VECTOR").as_numpy(),
            pb_utils.get_output_tensor_by_name(response, "TRUNCATED").as_numpy()[:, 0],
        )
