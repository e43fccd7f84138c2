"""INT8 for the matrices of a graph, with what they are multiplied by smoothed beforehand.

ONNX Runtime takes one scale for all channels that a matrix is multiplied by. In a BERT a few of
them are ten times as large as the others, of which little is then left. So each channel is
divided by a number that real texts tell, and the rows of the weights multiplied by it, which
changes nothing in FP32 (SmoothQuant, Xiao et al. 2023).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from builder.export.graph_files import save_graph, weights_beside

Inputs = Mapping[str, NDArray[Any]]

_STRENGTH: Final = 0.7
"""How much of the channels' differences goes into the weights. With MiniLM, fine-tuned on
MovieLens, vectors have a cosine to those of FP32 of .9926 without smoothing, and with .5, .65 and
.8 of .9894, .9975 and .9984; docs/performance.md says why it is not .8."""
_SMALLEST: Final = 1e-5


def quantise(source: Path, destination: Path, texts: Iterable[Inputs], *, vnni: bool) -> None:
    """Write the graph with its matrices in INT8, each column with a scale of its own.

    Parameters
    ----------
    texts
        Inputs of the graph that are typical; each is run once.
    vnni
        Whether the processor multiplies 8 bits and adds 32. Without, two products of 8 bits each do
        not fit into the 16 that they are added in, so weights must do with 7.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    smooth(model, texts)
    with tempfile.TemporaryDirectory() as scratch:
        smoothed, quantised = Path(scratch) / "smoothed.onnx", Path(scratch) / "quantised.onnx"
        save_graph(model, smoothed)
        quantize_dynamic(
            smoothed,
            quantised,
            per_channel=True,
            reduce_range=not vnni,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            use_external_data_format=weights_beside(smoothed).is_file(),
        )
        save_graph(onnx.load(quantised), destination)


def smooth(model: ModelProto, texts: Iterable[Inputs]) -> None:
    """Divide what matrices are multiplied by, and multiply these, in place; the results stay."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and len(_dims(weights.get(node.input[1]))) == 2:
            readers.setdefault(node.input[0], []).append(node)
    largest = _largest(model, list(readers), texts)
    for name, nodes in readers.items():
        matrices = {node.input[1]: numpy_helper.to_array(weights[node.input[1]]) for node in nodes}
        heaviest = np.max([np.abs(each).max(axis=1) for each in matrices.values()], axis=0)
        scale = np.maximum(largest[name], _SMALLEST) ** _STRENGTH
        scale /= np.maximum(heaviest, _SMALLEST) ** (1 - _STRENGTH)
        for weight, matrix in matrices.items():
            scaled = (matrix * scale[:, np.newaxis]).astype(np.float32)
            weights[weight].CopyFrom(numpy_helper.from_array(scaled, weight))
        _divide(model, name, nodes, scale)


def _dims(tensor: TensorProto | None) -> tuple[int, ...]:
    return () if tensor is None else tuple(tensor.dims)


def _largest(
    model: ModelProto, names: list[str], texts: Iterable[Inputs]
) -> dict[str, NDArray[np.float64]]:
    """Largest absolute value of each channel of the tensors, FP64 [channels]."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    with tempfile.TemporaryDirectory() as scratch:
        save_graph(watched, Path(scratch) / "watched.onnx")
        session = onnxruntime.InferenceSession(
            Path(scratch) / "watched.onnx", providers=["CPUExecutionProvider"]
        )
    found: dict[str, NDArray[np.float64]] = {}
    for inputs in texts:
        for name, values in zip(names, session.run(names, dict(inputs)), strict=True):
            channels = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0).astype(np.float64)
            found[name] = np.maximum(found.get(name, 0.0), channels)
    return found


def _divide(
    model: ModelProto, name: str, nodes: list[NodeProto], scale: NDArray[np.float64]
) -> None:
    """Let the nodes read `name` divided by its channels' scale."""
    factor, divided = f"{name}.factor", f"{name}.smoothed"
    model.graph.initializer.append(numpy_helper.from_array((1 / scale).astype(np.float32), factor))
    places = [place for place, node in enumerate(model.graph.node) if node in nodes]
    for node in nodes:
        node.input[0] = divided
    model.graph.node.insert(
        min(places), helper.make_node("Mul", [name, factor], [divided], name=divided)
    )
