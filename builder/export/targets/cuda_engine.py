"""Runs a TensorRT engine on the GPU of this machine, for the gates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from builder.errors import ExportError
from builder.export.profiles import Bounds


class CudaEngine:
    """An engine as it was published, read back from its file.

    Tensors are kept in PyTorch's GPU memory, which a builder has anyhow.

    Parameters
    ----------
    trt
        The package ``tensorrt``.
    plan
        The serialised engine.

    Raises
    ------
    ExportError
        TensorRT does not load it.
    """

    def __init__(self, trt: Any, plan: Path) -> None:
        self._trt = trt
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        # A version-compatible engine brings its own runtime along, as code. It is ours.
        self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise ExportError(
                f"TensorRT {trt.__version__} does not load {plan}, which it just built"
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self._inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        self._profiles = [
            {name: Bounds(*self._shapes(name, at)) for name in self._inputs}
            for at in range(self._engine.num_optimization_profiles)
        ]
        self._stream = torch.cuda.Stream()

    def _shapes(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, profile)]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name.

        Raises
        ------
        ExportError
            No optimisation profile holds the shapes, or the execution fails.
        """
        stream = self._stream.cuda_stream
        context = self._context
        context.set_optimization_profile_async(self._profile_of(inputs), stream)
        with torch.cuda.stream(self._stream):
            given = {
                name: torch.from_numpy(np.ascontiguousarray(inputs[name])).cuda()
                for name in self._inputs
            }
            for name, tensor in given.items():
                context.set_input_shape(name, tuple(tensor.shape))
                context.set_tensor_address(name, tensor.data_ptr())
            results = {name: self._empty(name) for name in self._outputs}
            for name, tensor in results.items():
                context.set_tensor_address(name, tensor.data_ptr())
            if not context.execute_async_v3(stream):
                raise ExportError(f"the engine fails with {_shapes_of(inputs)}")
        self._stream.synchronize()
        return {name: tensor.cpu().numpy() for name, tensor in results.items()}

    def report(self) -> str:
        """The engine inspector's description of every layer, as JSON."""
        inspector = self._engine.create_engine_inspector()
        text: str = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return text

    def _empty(self, name: str) -> torch.Tensor:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        shape = tuple(self._context.get_tensor_shape(name))
        return torch.from_numpy(np.empty(shape, dtype)).cuda()

    def _profile_of(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        for number, profile in enumerate(self._profiles):
            if all(bounds.holds(inputs[name].shape) for name, bounds in profile.items()):
                return number
        raise ExportError(f"no optimisation profile of the engine holds {_shapes_of(inputs)}")


def _shapes_of(inputs: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
