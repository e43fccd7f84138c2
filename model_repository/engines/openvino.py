"""Runs one ONNX graph on the processor with OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import openvino
from numpy.typing import NDArray

_PRECISIONS: Final = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """A compiled model of OpenVINO; `run` may be called from several threads.

    Parameters
    ----------
    path
        The graph.
    precision
        What it computes in: ``fp32``, or ``bf16`` on processors with instructions for it.
    threads
        Threads of one run.
    at_once
        Runs that may be under way at the same time; further ones wait.
    """

    def __init__(self, path: Path, precision: str, *, threads: int, at_once: int) -> None:
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": str(threads * at_once),
            "NUM_STREAMS": str(at_once),
        }
        model = openvino.Core().compile_model(str(path), "CPU", options)
        self._outputs = [output.get_any_name() for output in model.outputs]
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(at_once):
            self._free.put(model.create_infer_request())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output of the graph by name."""
        request = self._free.get()
        try:
            results = request.infer(dict(inputs))
            # Copies: the next run writes into the same memory.
            return {name: results[name].copy() for name in self._outputs}
        finally:
            self._free.put(request)
