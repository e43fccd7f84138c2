"""Writes and copies ONNX graphs, whose weights lie in a second file where one would be too large.

An ONNX file is a protobuf message, which cannot exceed 2 GiB. Beyond `LARGEST` the weights are
ONNX's external data: ``model.onnx`` then reads ``model.onnx.data``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto

LARGEST: Final = 1536 << 20
"""Most bytes of weights inside the graph's own file. PyTorch's exporter has the same bound."""


def weights_beside(graph: Path) -> Path:
    """Where the weights of a graph lie, if they are not in its own file."""
    return graph.with_name(f"{graph.name}.data")


def graph_bytes(graph: Path) -> int:
    """Size of a graph on disk, its weights included."""
    weights = weights_beside(graph)
    return graph.stat().st_size + (weights.stat().st_size if weights.is_file() else 0)


def save_graph(model: ModelProto, destination: Path) -> None:
    """Write a graph; afterwards `model` no longer holds weights that were written beside it."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST
    weights = weights_beside(destination)
    weights.unlink(missing_ok=True)  # ONNX would append to it
    onnx.save(model, destination, save_as_external_data=large, location=weights.name)


def copy_graph(source: Path, destination: Path) -> None:
    """Copy a graph, with the weights beside it, to another name."""
    weights = weights_beside(source)
    if not weights.is_file():
        shutil.copyfile(source, destination)
        return
    model = onnx.load(source, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = weights_beside(destination).name
    onnx.save(model, destination)
    shutil.copyfile(weights, weights_beside(destination))
