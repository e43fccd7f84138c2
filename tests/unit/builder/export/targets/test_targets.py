from __future__ import annotations

import dataclasses

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from builder.errors import ConfigError, ExportError
from builder.export.layout import Layout, Limits
from builder.export.options import DEVICES
from builder.export.pipeline import check_named, target_named
from builder.export.targets import CHECKS, TARGETS, Target, TargetOptions
from builder.export.targets.onnxruntime import OnnxRuntime
from builder.export.targets.tensorrt import TensorRT
from builder.repository import check_graph, ensemble_config, from_text, step_config, to_text
from model_repository.core import contract
from model_repository.core.contract import (
    ADAPTER,
    ENCODE_STEPS,
    ENCODER,
    RANK,
    RANK_TEXTS_STEPS,
    RECOMMEND,
    TOKENIZER,
    USER_ENCODER,
)

GRAPHS = [ENCODER, USER_ENCODER]
MADE: dict[str, Target] = {
    "tensorrt": TensorRT(),
    **{f"onnxruntime {each}": OnnxRuntime(TargetOptions(device=each)) for each in DEVICES},
}


@pytest.mark.parametrize("name", MADE)
def test_the_models_of_a_target_fit_the_rest_of_the_repository(name: str, layout: Layout) -> None:
    configs = [MADE[name].config(spec, layout, 1) for spec in GRAPHS]
    sizes = layout.sizes
    for spec in (RANK, RECOMMEND, TOKENIZER, ADAPTER):
        batch = layout.most(spec)
        configs.append(
            step_config(spec, backend="python", version=1, sizes=sizes, max_batch_size=batch)
        )
    for ensemble in (ENCODE_STEPS, RANK_TEXTS_STEPS):
        batch = layout.most(ensemble.model)
        configs.append(ensemble_config(ensemble, version=1, sizes=sizes, max_batch_size=batch))
    check_graph(configs)
    for config in configs:
        assert from_text(to_text(config), config.name) == config
        # The C++ backends take tensors of equal shape: the batcher must not mix lengths.
        if config.backend in {"tensorrt", "onnxruntime"}:
            assert not any(tensor.allow_ragged_batch for tensor in config.input)


@pytest.fixture(params=GRAPHS, ids=lambda spec: spec.name)
def network(request: pytest.FixtureRequest, layout: Layout) -> ModelConfig:
    """Of two lengths, and at most 6 rows."""
    layout = dataclasses.replace(
        layout,
        token_lengths=(8, 16),
        event_lengths=(8, 16),
        limits=Limits(max_rows=6, max_users=6),
    )
    return TensorRT().config(request.param, layout, 3)


def test_a_tensorrt_model_loads_all_of_its_profiles(network: ModelConfig) -> None:
    assert (network.backend, network.platform) == ("tensorrt", "tensorrt_plan")
    (group,) = network.instance_group
    assert (group.kind, list(group.profile)) == (ModelInstanceGroup.KIND_GPU, ["0", "1"])


def test_cuda_graphs_cover_every_batch_of_every_length(network: ModelConfig) -> None:
    long = contract.EVENT_AGE.name if network.name == USER_ENCODER.name else "INPUT_IDS"
    covered = {
        (rows, length)
        for graph in network.optimization.cuda.graph_spec
        for length in graph.input[long].dim
        for rows in range(graph.graph_lower_bound.batch_size, graph.batch_size + 1)
    }
    assert covered == {(rows, length) for rows in range(1, 7) for length in (8, 16)}
    for graph in network.optimization.cuda.graph_spec:
        assert graph.input.keys() == {tensor.name for tensor in network.input}
        for tensor in network.input:
            dims = list(graph.input[tensor.name].dim)
            assert list(graph.graph_lower_bound.input[tensor.name].dim) == dims
            # As the model declares them, without the batch dimension.
            assert len(dims) == len(tensor.dims)
            assert all(axis in (-1, length) for axis, length in zip(tensor.dims, dims, strict=True))
    batching = network.dynamic_batching
    graphs = {graph.batch_size for graph in network.optimization.cuda.graph_spec}
    assert set(batching.preferred_batch_size) == graphs == {1, 2, 4, 6}
    assert batching.default_queue_policy.max_queue_size > 0


def test_onnxruntime_runs_on_the_chosen_device(layout: Layout) -> None:
    targets = {each: OnnxRuntime(TargetOptions(device=each)) for each in DEVICES}
    found = {each: target.config(ENCODER, layout, 1) for each, target in targets.items()}
    kinds = {each: config.instance_group[0].kind for each, config in found.items()}
    assert kinds == {
        "cpu": ModelInstanceGroup.KIND_CPU,
        "cuda": ModelInstanceGroup.KIND_GPU,
        "cuda+tensorrt": ModelInstanceGroup.KIND_GPU,
    }
    assert not found["cuda"].optimization.HasField("execution_accelerators")
    (accelerator,) = found[
        "cuda+tensorrt"
    ].optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    longest = f"{layout.limits.max_rows}x{layout.token_lengths[-1]}"
    assert accelerator.parameters["trt_profile_max_shapes"] == f"INPUT_IDS:{longest}"
    config = OnnxRuntime(TargetOptions(device="cuda+tensorrt")).config(USER_ENCODER, layout, 1)
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    shapes = zip(USER_ENCODER.inputs, ("2x6x8", "2x6", "2x6", "2x1"), strict=True)
    expected = ",".join(f"{tensor.name}:{shape}" for tensor, shape in shapes)
    assert accelerator.parameters["trt_profile_max_shapes"] == expected


def test_every_target_says_what_it_is_and_what_it_lacks() -> None:
    for name, target in (*TARGETS.items(), *CHECKS.items()):
        assert target().name == name
        assert target.summary


def test_what_cannot_be_chosen_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown; the targets are embedded, onnxruntime"):
        target_named("onnx")
    with pytest.raises(ConfigError, match="tensorrt-rtx builds nothing that Triton can serve"):
        target_named("tensorrt-rtx")
    with pytest.raises(ConfigError, match="embedded is no check"):
        check_named("embedded")
    with pytest.raises(ConfigError, match="--device: --target embedded has no such option"):
        target_named("embedded", TargetOptions(device="cuda"))
    with pytest.raises(ConfigError, match=r"optimization_level 9: must.*\n  workspace_mib 0: must"):
        TargetOptions(optimization_level=9, workspace_mib=0)
    monkeypatch.setattr(TensorRT, "module", "no_such_package")
    with pytest.raises(ExportError, match=r"tensorrt==11\.2\.1\.2.*tensorrt-rtx shows"):
        target_named("tensorrt")


def test_tensorrt_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TensorRT, "module", "json")  # any package that is there
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ExportError, match=r"lacks an NVIDIA GPU.*tensorrt-rtx shows"):
        target_named("tensorrt")
