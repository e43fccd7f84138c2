from __future__ import annotations

from collections.abc import Callable

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelEnsembling, ModelInput, ModelOutput

from builder.errors import RepositoryError
from builder.repository import check_graph, ensemble_config, step_config
from model_repository.core import contract
from tests.unit.builder.repository.repositories import ENSEMBLES, STEPS

Configs = dict[str, ModelConfig]


def whole_contract() -> Configs:
    sizes = {"h": 8, "d": 5}
    configs = [
        step_config(
            spec,
            backend="python",
            version=2,
            sizes=sizes,
            max_batch_size=16 if spec.batched else 0,
        )
        for spec in STEPS
    ]
    configs += [
        ensemble_config(
            spec, version=2, sizes=sizes, max_batch_size=16 if spec.model.batched else 0
        )
        for spec in ENSEMBLES
    ]
    return {config.name: config for config in configs}


def rank_step(configs: Configs, name: str) -> ModelEnsembling.Step:
    steps = configs["rank_texts"].ensemble_scheduling.step
    return next(part for part in steps if part.model_name == name)


def tensor(configs: Configs, model: str, name: str) -> ModelInput | ModelOutput:
    config = configs[model]
    return next(found for found in (*config.input, *config.output) if found.name == name)


def misspelled_step(configs: Configs) -> None:
    rank_step(configs, "adapter").model_name = "adaptor"


def other_version(configs: Configs) -> None:
    rank_step(configs, "encoder").model_version = 1


def unknown_input(configs: Configs) -> None:
    rank_step(configs, "encoder").input_map["IDS"] = "INPUT_IDS"


def unknown_output(configs: Configs) -> None:
    rank_step(configs, "encoder").output_map["VECTORS"] = "X"


def unmapped_input(configs: Configs) -> None:
    del rank_step(configs, "adapter").input_map[contract.HISTORY_ROW.name]


def wrong_type(configs: Configs) -> None:
    tensor(configs, "adapter", "VECTOR").data_type = 10


def wrong_width(configs: Configs) -> None:
    tensor(configs, "adapter", "VECTOR").dims[1] = 9


def wrong_rank(configs: Configs) -> None:
    tensor(configs, "encoder", "VECTOR").dims.append(8)


def second_producer(configs: Configs) -> None:
    rank_step(configs, "tokenizer").output_map[contract.CANDIDATE_ROW.name] = "VECTOR"


def output_nobody_makes(configs: Configs) -> None:
    del rank_step(configs, "adapter").output_map["LOGIT"]


def input_nobody_reads(configs: Configs) -> None:
    del rank_step(configs, "adapter").input_map["HISTORY_TIME"]


def optional_into_required(configs: Configs) -> None:
    tensor(configs, "adapter", "HISTORY_TIME").optional = False


def small_step(configs: Configs) -> None:
    configs["encoder"].max_batch_size = 8


def cycle(configs: Configs) -> None:
    rank_step(configs, "tokenizer").input_map["TEXT"] = "INTEREST"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (misspelled_step, "step 'adaptor': no such model"),
        (other_version, r"step 'encoder': asks for version 1, the model is pinned to \[2\]"),
        (unknown_input, "step 'encoder': has no input 'IDS'"),
        (unknown_output, "step 'encoder': has no output 'VECTORS'"),
        (unmapped_input, "step 'adapter': nothing is mapped to its required input 'HISTORY_ROW'"),
        (wrong_type, r"'VECTOR': encoder.VECTOR TYPE_FP32\[-1, 8\] does not fit adapter.VECTOR"),
        (wrong_width, r"does not fit adapter.VECTOR TYPE_FP32\[-1, 9\]"),
        (wrong_rank, r"encoder.VECTOR TYPE_FP32\[-1, 8, 8\] does not fit"),
        (second_producer, "'VECTOR': more than one producer: tokenizer, encoder"),
        (output_nobody_makes, "'LOGIT': nothing produces it, needed by rank_texts"),
        (input_nobody_reads, "'HISTORY_TIME': an input that no step reads"),
        (optional_into_required, "'HISTORY_TIME': may be left out of a request, adapter requires"),
        (small_step, "'encode': step 'encoder': takes 8 rows at most, the ensemble offers 16"),
        (cycle, "'rank_texts': steps wait for one another: tokenizer, encoder, adapter"),
    ],
)
def test_each_fault_is_named(spoil: Callable[[Configs], None], words: str) -> None:
    configs = whole_contract()
    spoil(configs)
    with pytest.raises(RepositoryError, match=words):
        check_graph(configs.values())


def test_all_faults_are_reported_together() -> None:
    configs = whole_contract()
    for spoil in (other_version, wrong_width, input_nobody_reads):
        spoil(configs)
    with pytest.raises(RepositoryError) as caught:
        check_graph(configs.values())
    message = str(caught.value)
    assert "version 1" in message
    assert "[-1, 9]" in message
    assert "HISTORY_TIME" in message


def test_two_models_of_one_name() -> None:
    configs = whole_contract()
    with pytest.raises(RepositoryError, match="'recommend': configured 2 times"):
        check_graph([*configs.values(), configs["recommend"]])
