from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from builder.errors import RepositoryError
from builder.repository import (
    Accelerator,
    CudaGraph,
    DynamicBatching,
    Gpu,
    QueuePolicy,
    check_graph,
    ensemble_config,
    from_text,
    step_config,
    to_text,
)
from model_repository.core import contract
from tests.unit.builder.repository.repositories import ENSEMBLES, STEPS

SIZES = {"h": 384, "d": 64}


def step(spec: contract.ModelSpec, **options: object) -> ModelConfig:
    given_options = {
        "backend": "python",
        "version": 3,
        "sizes": SIZES,
        "max_batch_size": 64 if spec.batched else 0,
    }
    return step_config(spec, **(given_options | options))  # type: ignore[arg-type]


def ensemble(spec: contract.EnsembleSpec) -> ModelConfig:
    return ensemble_config(
        spec, version=3, sizes=SIZES, max_batch_size=64 if spec.model.batched else 0
    )


def dims(config: ModelConfig) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in (*config.input, *config.output)}


def test_the_whole_contract_fits_together_and_survives_its_text() -> None:
    classifiers = [contract.classify_steps(token_types=each) for each in (False, True)]
    families = [(STEPS, ENSEMBLES), *((each.steps, (each,)) for each in classifiers)]
    for steps, ensembles in families:
        configs = [*map(step, steps), *map(ensemble, ensembles)]
        check_graph(configs)
        for config in configs:
            assert from_text(to_text(config), config.name) == config
            assert list(config.version_policy.specific.versions) == [3]


def test_a_batched_step_leaves_the_first_axis_out() -> None:
    assert dims(step(contract.ENCODER)) == {"INPUT_IDS": [-1], "VECTOR": [384]}
    assert dims(step(contract.USER_ENCODER)) == {
        contract.EVENT.name: [-1, 64],
        contract.EVENT_ACTION.name: [-1],
        contract.EVENT_AGE.name: [-1],
        contract.EVENT_COUNT.name: [1],
        contract.STATE.name: [64],
    }
    assert dims(step(contract.TOKENIZER))["TEXT"] == [1]


def test_python_models_are_shown_requests_without_rows() -> None:
    """Else Triton neither answers them nor lets them go."""

    def shown(config: ModelConfig) -> dict[str, list[int]]:
        return {each.name: list(each.reshape.shape) for each in config.input if each.reshape.shape}

    assert shown(step(contract.USER_ENCODER)) == {
        "EVENT": [1, -1, 64], "EVENT_ACTION": [1, -1], "EVENT_AGE": [1, -1]
    }  # fmt: skip
    assert shown(step(contract.TOKENIZER)) == {"HISTORY_TEXT": [1, -1], "CANDIDATE_TEXT": [1, -1]}
    # Adapters see every request anyway, and an engine takes tensors as they are.
    assert shown(step(contract.ADAPTER)) == {}
    assert shown(step(contract.ENCODER, backend="onnxruntime")) == {}


def test_an_unbatched_step_keeps_every_axis_and_fixes_the_known_ones() -> None:
    assert dims(step(contract.ADAPTER)) == {
        "VECTOR": [-1, 384],
        contract.HISTORY_ROW.name: [1, -1],
        contract.CANDIDATE_ROW.name: [1, -1],
        "HISTORY_ACTION": [1, -1],
        "HISTORY_TIME": [1, -1],
        "PROFILE": [1, 1],
        "INTEREST": [1, -1],
        "LOGIT": [1, -1],
    }


def test_ensemble_maps_follow_from_the_names() -> None:
    config = ensemble(contract.RANK_TEXTS_STEPS)
    tokenizer, encoder, adapter = config.ensemble_scheduling.step
    assert set(tokenizer.input_map) == {"HISTORY_TEXT", "CANDIDATE_TEXT"}
    assert set(tokenizer.output_map) == {
        "INPUT_IDS",
        contract.HISTORY_ROW.name,
        contract.CANDIDATE_ROW.name,
        "TRUNCATED",
    }
    assert dict(encoder.input_map) == {"INPUT_IDS": "INPUT_IDS"}
    assert set(adapter.input_map) == {
        "VECTOR", contract.HISTORY_ROW.name, contract.CANDIDATE_ROW.name,
        "HISTORY_ACTION", "HISTORY_TIME", "PROFILE",
    }  # fmt: skip
    assert set(adapter.output_map) == {"INTEREST", "LOGIT"}
    assert {part.model_version for part in config.ensemble_scheduling.step} == {3}
    # What a later step does not read, an earlier one is not asked for.
    tokenizer, _ = ensemble(contract.ENCODE_STEPS).ensemble_scheduling.step
    assert set(tokenizer.input_map) == {"TEXT"}
    assert set(tokenizer.output_map) == {"INPUT_IDS", "TRUNCATED"}


def test_optional_inputs_are_optional_in_ensemble_and_step() -> None:
    def optional(config: ModelConfig) -> set[str]:
        return {tensor.name for tensor in config.input if tensor.optional}

    circumstances = {"HISTORY_ACTION", "HISTORY_TIME", "PROFILE"}
    assert optional(ensemble(contract.RANK_TEXTS_STEPS)) == circumstances
    assert optional(step(contract.ADAPTER)) == circumstances
    assert optional(step(contract.RANK)) == {"HISTORY_TEXT", "CANDIDATE_TEXT", *circumstances}
    assert all(tensor.optional for tensor in step(contract.TOKENIZER).input)


def test_batching_instances_and_parameters_are_written() -> None:
    config = step(
        contract.TOKENIZER,
        batching=DynamicBatching(200, (8, 16), ragged=True),
        instances=2,
        parameters={"pad": "0"},
        default_model_filename="other.py",
    )
    assert config.dynamic_batching.max_queue_delay_microseconds == 200
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16]
    assert all(tensor.allow_ragged_batch for tensor in config.input)
    assert config.instance_group[0].count == 2
    assert config.instance_group[0].kind == ModelInstanceGroup.KIND_CPU
    assert config.parameters["pad"].string_value == "0"
    assert config.default_model_filename == "other.py"


def test_an_engine_is_not_given_ragged_requests() -> None:
    config = step(contract.ENCODER, batching=DynamicBatching(200))
    assert config.HasField("dynamic_batching")
    assert not any(tensor.allow_ragged_batch for tensor in config.input)


def test_a_gpu_model_names_its_profiles_and_its_cuda_graphs() -> None:
    config = step(
        contract.ENCODER,
        gpu=Gpu(("0", "1"), (CudaGraph(8, 5, {"INPUT_IDS": (16,)}),)),
    )
    (group,) = config.instance_group
    assert (group.kind, list(group.profile)) == (ModelInstanceGroup.KIND_GPU, ["0", "1"])
    assert config.optimization.cuda.graphs
    (graph,) = config.optimization.cuda.graph_spec
    assert (graph.batch_size, graph.graph_lower_bound.batch_size) == (8, 5)
    assert list(graph.input["INPUT_IDS"].dim) == [16]
    assert list(graph.graph_lower_bound.input["INPUT_IDS"].dim) == [16]
    assert from_text(to_text(config), "encoder") == config


def test_a_gpu_model_without_graphs_asks_for_none() -> None:
    config = step(contract.ADAPTER, gpu=Gpu(accelerators=(Accelerator("tensorrt", {"a": "1"}),)))
    assert not config.optimization.HasField("cuda")
    (found,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (found.name, dict(found.parameters)) == ("tensorrt", {"a": "1"})
    assert from_text(to_text(config), "adapter") == config


def test_a_full_queue_refuses_and_none_has_a_limit_of_time() -> None:
    """With one, Triton's batcher loses wake-ups (see QueuePolicy)."""
    config = step(contract.ENCODER, batching=DynamicBatching(queue=QueuePolicy(64)))
    policy = config.dynamic_batching.default_queue_policy
    assert policy.timeout_action == ModelQueuePolicy.REJECT
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (64, 0)
    config = step(contract.ENCODER, batching=DynamicBatching())
    assert not config.dynamic_batching.HasField("default_queue_policy")


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (contract.ENCODER, {"max_batch_size": 0}, "must be above 0"),
        (contract.ADAPTER, {"max_batch_size": 8}, "must be 0"),
        (contract.ADAPTER, {"batching": DynamicBatching()}, "not batched"),
    ],
)
def test_batching_that_the_contract_does_not_allow(
    spec: contract.ModelSpec, options: dict[str, object], words: str
) -> None:
    with pytest.raises(RepositoryError, match=f"{spec.name}.*{words}"):
        step(spec, **options)


def test_text_that_is_no_configuration_names_the_file() -> None:
    with pytest.raises(RepositoryError, match=r"rank/config\.pbtxt.*no field named"):
        from_text("colour: 3", "rank/config.pbtxt")


axes = st.one_of(st.integers(1, 9), st.sampled_from("HNhM"))
tensors = st.builds(
    contract.TensorSpec,
    name=st.text("ABC_", min_size=1),
    dtype=st.sampled_from(["BYTES", "FP32", "INT32", "INT64"]),
    dims=st.lists(axes, min_size=1, max_size=4).map(tuple),
    optional=st.booleans(),
)


@given(
    spec=st.builds(
        contract.ModelSpec,
        name=st.text(min_size=1).filter(lambda name: name.isprintable()),
        inputs=st.lists(tensors, max_size=4).map(tuple),
        outputs=st.lists(tensors, max_size=4).map(tuple),
        batched=st.booleans(),
    ),
    parameters=st.dictionaries(st.text(), st.text(), max_size=3),
)
def test_any_configuration_survives_its_text(
    spec: contract.ModelSpec, parameters: dict[str, str]
) -> None:
    config = step(spec, parameters=parameters)
    assert from_text(to_text(config), spec.name) == config
    for tensor, written in zip(spec.inputs, config.input, strict=True):
        assert len(written.dims) == len(tensor.dims) - spec.batched
