"""The models ``encoder``, ``adapter`` and ``retriever``: one ONNX graph each."""

from __future__ import annotations

from pathlib import Path

from .batch import Handler
from .graph import Graph
from .triton_step import TritonStep


class TritonPythonModel(TritonStep):
    def make_handler(self, directory: Path, *, batched: bool) -> Handler:
        return Graph(directory, batched=batched)
