"""FP32 ONNX graph → FP16 graph for strongly typed networks: precision is part of the graph.

What is computed where:

* FP16: the networks, that is every node that stems from a submodule (BERT, the adapter's blocks).
  There lie the weights and nearly all of the arithmetic.
* FP32, inside the networks: `SINGLE_OPS`. The mean and the variance of a LayerNormalization are
  sums over the width of BERT of squares of activations, which FP16 holds neither in range (65504)
  nor in precision. On the texts of MovieLens-100K this halves the error of MiniLM's vectors: the
  largest 1 - cosine to FP32 is 2.6e-7, and 7.2e-7 without.
* FP16 at the borders of Softmax. Casts to FP32 there would gain nothing on the same texts (2.8e-7,
  where ONNX Runtime's kernel computes in FP32 inside), and stand in the middle of the pattern that
  TensorRT fuses into one attention kernel. The gate on the GPU judges what that kernel does.
* FP32, around the networks: the graph's own arithmetic, such as the probabilities of a classifier.
  It is a thousandth of the work, and a probability near 1 has no digits to spare.
* FP32 inputs and outputs, as the contract declares them; the casts are inside the graph.

Each border has an explicit Cast, which a strongly typed TensorRT network follows to the letter.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ExportError
from builder.export.graph_files import save_graph
from builder.export.onnx import NAME_SCOPES

SINGLE_OPS: Final = frozenset({"LayerNormalization"})
"""Computed in FP32 wherever they are."""

MASK: Final = -1e4
"""What a mask of -inf or of the lowest FP32 becomes: finite, so that no FP16 sum overflows."""

_MASK_FROM: Final = -1e9
"""A constant as low as this is a mask; above it, what FP16 does not hold is a weight too large."""
_LARGEST: Final = float(np.finfo(np.float16).max)
_SMALLEST: Final = float(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class Precision:
    """Which nodes of a graph compute in which precision.

    Attributes
    ----------
    half
        Number of nodes in FP16.
    single
        Names of the nodes in FP32.
    single_ops
        How many of those there are of each operator.
    """

    half: int
    single: tuple[str, ...]
    single_ops: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"fp16_nodes": self.half, "fp32_nodes": self.single_ops}


def convert_to_fp16(
    source: Path, destination: Path, *, single_ops: Iterable[str] = SINGLE_OPS
) -> Precision:
    """Write the FP32 graph `source` as an FP16 graph with FP32 inputs and outputs.

    Raises
    ------
    ExportError
        A weight exceeds the range of FP16, or the graph has control flow.
    """
    model = onnx.load(str(source))
    converter = _Converter(model.graph, frozenset(single_ops))
    precision = converter.convert()
    save_graph(model, destination)
    return precision


class _Converter:
    def __init__(self, graph: onnx.GraphProto, single_ops: frozenset[str]) -> None:
        self._graph = graph
        self._single_ops = single_ops
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*graph.value_info, *graph.input, *graph.output)
        } | {tensor.name: tensor.data_type for tensor in graph.initializer}
        self._outputs = {output.name for output in graph.output}
        self._nodes: list[onnx.NodeProto] = []
        self._added: dict[str, TensorProto] = {}
        self._casts: dict[tuple[str, int], str] = {}

    def convert(self) -> Precision:
        single: list[onnx.NodeProto] = []
        half = 0
        for node in _without_nan_guards(self._graph):
            if not any(self._is_float(name) for name in (*node.input, *node.output)):
                self._nodes.append(node)
            elif self._stays_single(node):
                self._rewrite(node, TensorProto.FLOAT)
                single.append(node)
            else:
                self._rewrite(node, TensorProto.FLOAT16)
                half += 1
        self._finish()
        return Precision(
            half,
            tuple(node.name for node in single),
            dict(sorted(Counter(node.op_type for node in single).items())),
        )

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16)

    def _stays_single(self, node: onnx.NodeProto) -> bool:
        if node.op_type in self._single_ops or not _inside_a_module(node):
            return True
        return any(
            name in self._constants and not _fits(_array(self._constants[name]))
            for name in node.input
            if self._is_float(name)
        )

    def _rewrite(self, node: onnx.NodeProto, precision: int) -> None:
        """Append `node` with float inputs and outputs of `precision`."""
        for place, name in enumerate(node.input):
            if name and self._is_float(name):
                node.input[place] = self._as(name, precision)
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise ExportError(
                    f"node {node.name!r} ({node.op_type}) holds a graph of its own, which cannot "
                    "be turned into FP16; export with --target onnxruntime or embedded"
                )
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = precision
            if attribute.type == onnx.AttributeProto.TENSOR and (
                attribute.t.data_type == TensorProto.FLOAT
            ):
                attribute.t.CopyFrom(_as_type(attribute.t, attribute.t.name, precision))
        self._nodes.append(node)
        for place, name in enumerate(node.output):
            if not self._is_float(name):
                continue
            if name in self._outputs and precision != TensorProto.FLOAT:
                inner = node.output[place] = f"{name}_half"
                self._types[inner] = precision
                self._cast(inner, name, TensorProto.FLOAT)
                self._casts[name, precision] = inner  # what else reads it in FP16 needs no cast
            else:
                self._types[name] = precision

    def _as(self, name: str, precision: int) -> str:
        """Name of tensor `name` in `precision`; adds a constant or a Cast where there is none."""
        if self._types[name] == precision:
            return name
        key = name, precision
        if key not in self._casts:
            fresh = f"{name}_{'half' if precision == TensorProto.FLOAT16 else 'single'}"
            if name in self._constants:
                self._added[fresh] = _as_type(self._constants[name], fresh, precision)
                self._types[fresh] = precision
            else:
                self._cast(name, fresh, precision)
            self._casts[key] = fresh
        return self._casts[key]

    def _cast(self, name: str, fresh: str, precision: int) -> None:
        self._nodes.append(
            helper.make_node("Cast", [name], [fresh], name=f"cast_{fresh}", to=precision)
        )
        self._types[fresh] = precision

    def _finish(self) -> None:
        """Put nodes, constants and types back into the graph."""
        graph = self._graph
        used = {name for node in self._nodes for name in node.input} | self._outputs
        for value in graph.value_info:
            value.type.tensor_type.elem_type = self._types[value.name]
        constants = [*graph.initializer, *self._added.values()]
        del graph.initializer[:]
        graph.initializer.extend(tensor for tensor in constants if tensor.name in used)
        del graph.node[:]
        graph.node.extend(self._nodes)


def _without_nan_guards(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes, without the guards that PyTorch's exporter puts behind a masked softmax.

    ``Where(IsNaN(p), 0, p)`` is there for rows whose mask is -inf all over. With `MASK` there is no
    such row, and the guard would keep TensorRT from fusing the attention.
    """
    probabilities = {node.output[0] for node in graph.node if node.op_type == "Softmax"}
    tests = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "IsNaN" and node.input[0] in probabilities
    }
    renamed = {
        node.output[0]: node.input[2]
        for node in graph.node
        if node.op_type == "Where" and tests.get(node.input[0]) == node.input[2]
    }
    kept = [
        node for node in graph.node if node.output[0] not in renamed and node.output[0] not in tests
    ]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    return kept


def _inside_a_module(node: onnx.NodeProto) -> bool:
    """Whether the node stems from a submodule of the exported module.

    PyTorch's exporter writes the path: ``['', 'encoder', 'encoder.backbone', …, 'linear']``; the
    first is the exported module itself and the last the operation.
    """
    for entry in node.metadata_props:
        if entry.key == NAME_SCOPES:
            return len(ast.literal_eval(entry.value)) > 2
    return False


def _fits(values: NDArray[Any]) -> bool:
    """Whether FP16 holds a constant for what it is: no small number, such as an ε, becomes 0.

    Of a whole array of weights a few may: they add nothing to a sum.
    """
    return values.size != 1 or values.item() == 0 or abs(values.item()) > _SMALLEST / 2


def _array(tensor: TensorProto) -> NDArray[Any]:
    return numpy_helper.to_array(tensor)


def _as_type(tensor: TensorProto, name: str, precision: int) -> TensorProto:
    values = _array(tensor)
    if precision != TensorProto.FLOAT16:
        return numpy_helper.from_array(values.astype(np.float32), name)
    values = np.where(values <= _MASK_FROM, MASK, values)
    if (farthest := np.abs(values).max(initial=0)) > _LARGEST:
        raise ExportError(
            f"weight {tensor.name!r} reaches {farthest:.3g}, and FP16 ends at {_LARGEST:.0f}; "
            "export with --target embedded, or onnxruntime on the CPU, which compute in FP32"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)
