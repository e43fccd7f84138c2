"""Runs one ONNX graph on the processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from .cpu_cores import available_cores


class OnnxEngine:
    """An ONNX Runtime session.

    Parameters
    ----------
    path
        The graph; its external data, if any, lies beside it.
    threads
        Threads that one run may use; None for as many as this process has cores.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = available_cores() if threads is None else threads
        # Several steps share the cores of one machine: idle threads must not burn them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = frozenset(tensor.name for tensor in self._session.get_inputs())
        self.outputs = tuple(tensor.name for tensor in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output of the graph by name.

        Raises
        ------
        ValueError
            ``inputs`` are not exactly those of the graph.
        """
        if inputs.keys() != self.inputs:
            raise ValueError(
                f"the graph takes {sorted(self.inputs)}, and was given {sorted(inputs)}"
            )
        return dict(zip(self.outputs, self._session.run(None, dict(inputs)), strict=True))
