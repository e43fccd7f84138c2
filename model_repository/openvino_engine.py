"""Runs one ONNX graph on the processor with OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import openvino
from numpy.typing import NDArray

_PRECISIONS: Final = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """A compiled model of OpenVINO.

    Parameters
    ----------
    path
        The graph.
    threads
        Threads that one run may use; None leaves the choice to OpenVINO.
    precision
        What it computes in: ``fp32``, or ``bf16`` on processors with instructions for it.
    """

    def __init__(self, path: Path, threads: int | None, precision: str) -> None:
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        model = openvino.Core().compile_model(str(path), "CPU", options)
        self._outputs = [output.get_any_name() for output in model.outputs]
        self._request = model.create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output of the graph by name."""
        results = self._request.infer(dict(inputs))
        # Copies: the next run writes into the same memory.
        return {name: results[name].copy() for name in self._outputs}
