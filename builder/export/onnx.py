"""PyTorch graph → ONNX file; names, types and axes come from the contract."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from builder.errors import ExportError
from builder.export import graph_files
from model_repository.core.contract import Dtype, ModelSpec

OPSET: Final = 20
NAME_SCOPES: Final = "pkg.torch.onnx.name_scopes"
"""The property of a node that says which submodule it stems from."""

_TORCH: Final[Mapping[Dtype, torch.dtype]] = {
    "FP32": torch.float32,
    "INT32": torch.int32,
    "INT64": torch.int64,
}


def export_onnx(
    module: nn.Module, spec: ModelSpec, sizes: Mapping[str, int], destination: Path
) -> None:
    """Write `module` as ONNX with the inputs and outputs of `spec`; large weights lie beside it.

    See `builder.export.graph_files`.

    Parameters
    ----------
    sizes
        Length of each axis that is fixed, by its name in the contract; the others vary.

    Raises
    ------
    ExportError
        PyTorch cannot export the graph, or fixed an axis that must vary.
    """
    examples, dynamic = [], []
    for tensor in spec.inputs:
        shape = [sizes.get(axis, 3) if isinstance(axis, str) else axis for axis in tensor.dims]
        examples.append(torch.zeros(shape, dtype=_TORCH[tensor.dtype]))
        dynamic.append(
            {
                place: torch.export.Dim.DYNAMIC
                for place, axis in enumerate(tensor.dims)
                if isinstance(axis, str) and axis not in sizes
            }
        )
    try:
        with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(examples),
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=tuple(dynamic),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"model {spec.name!r} does not export to ONNX: {error}") from error
    assert program is not None
    _drop_notes(program.model)
    weights = [value.const_value for value in program.model.graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    program.save(str(destination), external_data=size > graph_files.LARGEST)


def _drop_notes(model: Any) -> None:
    """Drop what PyTorch's exporter notes beside the graph of an ``onnx_ir.Model``, but for scopes.

    With the stack traces of the nodes go the paths of the machine that exports.
    """
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        scopes = node.metadata_props.get(NAME_SCOPES)
        node.metadata_props.clear()
        if scopes is not None:
            node.metadata_props[NAME_SCOPES] = scopes


class _quiet:  # noqa: N801 - reads as a statement
    """Keeps loggers below WARNING silent for a while."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]
        self._levels = [logger.level for logger in self._loggers]

    def __enter__(self) -> None:
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
