"""``config.pbtxt``: Triton's model configurations, derived from the wire contract.

Axes that vary become -1 and a batched model's first axis is left out, since Triton adds it.
Every model is pinned to one version and every ensemble step names that version, so that the parts
of two exports never serve one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from builder.errors import RepositoryError
from model_repository.core.contract import Dtype, EnsembleSpec, ModelSpec, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPES: Final[Mapping[Dtype, str]] = {
    "BYTES": "TYPE_STRING",
    "FP32": "TYPE_FP32",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
}


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """When a request is refused (UNAVAILABLE) instead of made to wait.

    ``max_requests`` wait at most. Only for a Triton later than 2.71: with a limit of any kind, of
    number or of time, or with priorities, the batcher of earlier ones loses wake-ups, half a second
    each (https://github.com/triton-inference-server/server/issues/8870; with Triton 2.51, 16
    clients had 58 answers a second with a limit of 64 requests and 1,817 without). A request whose
    gRPC deadline ends is cancelled all the same: the step in whose queue it stands may still run,
    the next does not.
    """

    max_requests: int


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """How Triton merges waiting requests into one execution.

    ``max_queue_delay_microseconds`` is the longest a request waits for company. ``ragged`` lets
    requests of different shapes share an execution, each keeping its own tensors: for Python
    models only, an engine needs tensors of equal shape. A ``queue`` of None takes any number of
    requests.
    """

    max_queue_delay_microseconds: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    ragged: bool = False
    queue: QueuePolicy | None = None


@dataclass(frozen=True, slots=True)
class CudaGraph:
    """A shape that the TensorRT backend records as a CUDA graph when it loads the model.

    ``rows`` is the batch of the graph; it also serves batches down to ``min_rows``, which are
    filled up. ``dims`` are the other axes of each input, by its name.
    """

    rows: int
    min_rows: int
    dims: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Another runtime inside the ONNX Runtime backend, such as ``tensorrt``, with its options."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gpu:
    """Runs a model on every GPU of the server.

    ``profiles`` names the optimisation profiles of a TensorRT engine that Triton loads; it loads
    no other.
    """

    profiles: tuple[str, ...] = ()
    graphs: tuple[CudaGraph, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()


def step_config(
    spec: ModelSpec,
    *,
    backend: str,
    version: int,
    sizes: Mapping[str, int],
    max_batch_size: int = 0,
    batching: DynamicBatching | None = None,
    instances: int = 1,
    gpu: Gpu | None = None,
    parameters: Mapping[str, str] | None = None,
    default_model_filename: str = "",
) -> ModelConfig:
    """Configure one step.

    Parameters
    ----------
    backend
        Triton's name of it: ``python``, ``onnxruntime``, ``tensorrt``.
    sizes
        Length of each axis that the checkpoint fixes, by its name in the contract.
    max_batch_size
        Rows of the largest execution: above 0 exactly when ``spec.batched``.
    instances
        Copies of the model, on the CPU or on each GPU.
    gpu
        None: the model runs on the CPU.
    default_model_filename
        Empty: the backend's own default.

    Raises
    ------
    RepositoryError
        The batching options do not fit the specification.
    """
    config = _model_config(spec, version, max_batch_size, sizes, parameters)
    config.backend = backend
    if backend == "python" and spec.batched:
        _show_requests_without_rows(config)
    config.default_model_filename = default_model_filename
    if gpu is None:
        config.instance_group.add(kind=ModelInstanceGroup.KIND_CPU, count=instances)
    else:
        _place_on_gpu(config, gpu, instances)
    if batching is not None:
        if not spec.batched:
            raise RepositoryError(
                f"model {spec.name!r} is not batched in the contract, so Triton cannot merge its "
                "requests; leave the dynamic batching out"
            )
        config.dynamic_batching.max_queue_delay_microseconds = batching.max_queue_delay_microseconds
        config.dynamic_batching.preferred_batch_size.extend(batching.preferred_batch_sizes)
        if batching.queue is not None:
            policy = config.dynamic_batching.default_queue_policy
            policy.timeout_action = ModelQueuePolicy.REJECT
            policy.max_queue_size = batching.queue.max_requests
        for tensor in config.input:
            tensor.allow_ragged_batch = batching.ragged
    return config


def ensemble_config(
    spec: EnsembleSpec,
    *,
    version: int,
    sizes: Mapping[str, int],
    max_batch_size: int = 0,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Configure an ensemble; the maps of its steps follow from the tensors' names.

    A step reads every input of its own that the request or an earlier step provides. Outputs that
    nothing reads stay unmapped, so that the step is not asked for them.

    Raises
    ------
    RepositoryError
        The batch size does not fit the specification.
    """
    config = _model_config(spec.model, version, max_batch_size, sizes, parameters)
    config.platform = "ensemble"
    available = _names(spec.model.inputs)
    for position, step in enumerate(spec.steps):
        wanted = _names(spec.model.outputs).union(
            *(_names(later.inputs) for later in spec.steps[position + 1 :])
        )
        added = config.ensemble_scheduling.step.add(model_name=step.name, model_version=version)
        for name in _ordered(step.inputs, available):
            added.input_map[name] = name
        for name in _ordered(step.outputs, wanted):
            added.output_map[name] = name
        available |= _names(step.outputs)
    return config


def to_text(config: ModelConfig) -> str:
    """Render as ``config.pbtxt``, and make sure that it reads back as the same."""
    text = text_format.MessageToString(config)
    if from_text(text, config.name) != config:
        raise RepositoryError(
            f"the configuration of model {config.name!r} changes when it is written as text; "
            "please report this together with the export command"
        )
    return text


def from_text(text: str, where: str) -> ModelConfig:
    """Parse a ``config.pbtxt``; ``where`` names it in the RepositoryError if that fails."""
    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise RepositoryError(f"{where}: not a Triton model configuration: {error}") from error


def _model_config(
    spec: ModelSpec,
    version: int,
    max_batch_size: int,
    sizes: Mapping[str, int],
    parameters: Mapping[str, str] | None,
) -> ModelConfig:
    if (max_batch_size > 0) != spec.batched:
        wanted = "above 0" if spec.batched else "0"
        raise RepositoryError(
            f"model {spec.name!r}: max_batch_size is {max_batch_size} and must be {wanted}, since "
            f"the contract declares batched={spec.batched}"
        )
    config = ModelConfig(name=spec.name, max_batch_size=max_batch_size)
    config.version_policy.specific.versions.append(version)
    for tensor in spec.inputs:
        config.input.add(
            name=tensor.name,
            data_type=_TYPES[tensor.dtype],
            dims=_dims(tensor, sizes, batched=spec.batched),
            optional=tensor.optional,
        )
    for tensor in spec.outputs:
        config.output.add(
            name=tensor.name,
            data_type=_TYPES[tensor.dtype],
            dims=_dims(tensor, sizes, batched=spec.batched),
        )
    for key, value in (parameters or {}).items():
        config.parameters[key].string_value = value
    return config


def _show_requests_without_rows(config: ModelConfig) -> None:
    """Add an axis of length 1 in front of axes that vary; `steps.wire_inputs` takes it off again.

    Triton leaves the first axis out of a request of no rows (`InferenceRequest::Normalize`), so
    that its backends take the next axis for the number of rows. Where that is 0 they return
    without an answer: the caller waits for ever, and the server cannot stop. Where it is large the
    whole batch fails.
    """
    for tensor in config.input:
        if tensor.dims and tensor.dims[0] == -1:
            tensor.reshape.shape.extend([1, *tensor.dims])


def _place_on_gpu(config: ModelConfig, gpu: Gpu, instances: int) -> None:
    group = config.instance_group.add(kind=ModelInstanceGroup.KIND_GPU, count=instances)
    group.profile.extend(gpu.profiles)
    for graph in gpu.graphs:
        config.optimization.cuda.graphs = True
        spec = config.optimization.cuda.graph_spec.add(batch_size=graph.rows)
        spec.graph_lower_bound.batch_size = graph.min_rows
        for name, dims in graph.dims.items():
            spec.input[name].dim.extend(dims)
            spec.graph_lower_bound.input[name].dim.extend(dims)
    for accelerator in gpu.accelerators:
        config.optimization.execution_accelerators.gpu_execution_accelerator.add(
            name=accelerator.name, parameters=accelerator.parameters
        )


def _dims(tensor: TensorSpec, sizes: Mapping[str, int], *, batched: bool) -> list[int]:
    axes = tensor.dims[1:] if batched else tensor.dims
    return [axis if isinstance(axis, int) else sizes.get(axis, -1) for axis in axes]


def _names(tensors: Sequence[TensorSpec]) -> set[str]:
    return {tensor.name for tensor in tensors}


def _ordered(tensors: Sequence[TensorSpec], chosen: set[str]) -> list[str]:
    return [tensor.name for tensor in tensors if tensor.name in chosen]
