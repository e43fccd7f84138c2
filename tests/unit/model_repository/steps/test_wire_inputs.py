"""What Triton was told to show of a request, and what the service sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf import json_format

from builder.repository import step_config
from model_repository.core import contract
from model_repository.core.batch import Tensors
from model_repository.core.errors import InvalidRequest
from model_repository.steps.wire_inputs import WireInputs


def inputs(spec: contract.ModelSpec) -> WireInputs:
    config = step_config(
        spec,
        backend="python",
        version=1,
        sizes={"d": 2},
        max_batch_size=8 if spec.batched else 0,
    )
    text = json_format.MessageToJson(config, preserving_proto_field_name=True)
    # As Triton writes it: numbers of 64 bits are numbers.
    read = json.loads(text)
    for each in read["input"]:
        each["dims"] = [int(axis) for axis in each["dims"]]
    return WireInputs(read)


def test_tensors_have_the_shapes_of_the_wire_again() -> None:
    sent: Tensors = {
        "EVENT": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
        "EVENT_ACTION": np.arange(6, dtype=np.int32).reshape(2, 3),
        "EVENT_AGE": np.arange(6, dtype=np.int64).reshape(2, 3),
        "EVENT_COUNT": np.array([[3], [2]], np.int32),
    }
    shown = {
        name: values if name == "EVENT_COUNT" else values[:, np.newaxis]
        for name, values in sent.items()
    }
    found = inputs(contract.USER_ENCODER).restored(shown)
    assert found.keys() == sent.keys()
    for name, values in sent.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("events", [0, 1, 3])
def test_a_request_of_no_rows_is_refused(events: int) -> None:
    shown = {"HISTORY": np.empty((1, events), np.object_)}
    with pytest.raises(InvalidRequest, match=r"HISTORY has no rows: .*; send at least one"):
        inputs(contract.RANK).restored(shown)
    with pytest.raises(InvalidRequest, match="TEXT has no rows"):
        inputs(contract.ENCODE).restored({"TEXT": np.empty(1, np.object_)})


def test_a_missing_tensor_is_named() -> None:
    for spec in (contract.RECOMMEND, contract.RANK_TEXTS):
        with pytest.raises(InvalidRequest, match=r"HISTORY\w* is missing; the model needs"):
            inputs(spec).restored({})
    assert inputs(contract.TOKENIZER).restored({}) == {}  # each of its inputs may be left out


def test_a_model_that_is_not_batched_gets_what_was_sent() -> None:
    sent = {
        "VECTOR": np.zeros((0, 2)),
        "HISTORY_ROW": np.zeros((1, 0)),
        "CANDIDATE_ROW": np.zeros((1, 0)),
        "unheard of": np.zeros(()),
    }
    assert inputs(contract.ADAPTER).restored(sent) == sent
