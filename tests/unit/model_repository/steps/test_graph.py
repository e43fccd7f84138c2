from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.engines.onnx import OnnxEngine
from model_repository.steps.graph import Graph, load

# Row r → its number of tokens and their sum, through a table of eight entries: tokens 8 and 9
# make the run fail. MARK tells how many rows went through at once.
ENCODER = """<ir_version: 10, opset_import: ["": 20]>
encoder (int32[R, L] INPUT_IDS) => (float[R, h] VECTOR, int64[R, one] MARK)
<float[8] table = {0, 1, 2, 3, 4, 5, 6, 7}, int64[1] last = {1}, int64[1] first = {0},
 int64[1] single = {1}> {
    values = Gather <axis = 0> (table, INPUT_IDS)
    total = ReduceSum <keepdims = 1> (values, last)
    signs = Sign (values)
    count = ReduceSum <keepdims = 1> (signs, last)
    VECTOR = Concat <axis = 1> (count, total)
    shape = Shape (INPUT_IDS)
    rows = Slice (shape, first, single)
    target = Concat <axis = 0> (rows, single)
    MARK = Expand (rows, target)
}"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph")
    onnx.save(onnx.parser.parse_model(ENCODER), path / "model.onnx")
    (path / "settings.json").write_text(
        json.dumps({"threads": 1, "largest": {"INPUT_IDS": 9}, "longest": 8})
    )
    return path


@pytest.fixture(scope="module")
def encode(directory: Path) -> Graph:
    found = load(directory, "encoder")
    assert isinstance(found, Graph)
    return found


def tokens(rows: int, length: int, value: int = 1) -> Request:
    return Request({"INPUT_IDS": np.full((rows, length), value, np.int32)})


def test_one_run_answers_the_requests_of_a_batch(encode: Graph) -> None:
    first, second = encode([tokens(2, 4), tokens(1, 4, 3)])
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert first["VECTOR"].tolist() == [[4, 4], [4, 4]]
    assert second["VECTOR"].tolist() == [[4, 12]]
    assert second["MARK"].tolist() == [[3]]


def test_lengths_are_not_mixed(encode: Graph) -> None:
    outcomes = encode([tokens(1, 4), tokens(2, 8), tokens(3, 4)])
    marks = [outcome["MARK"][0, 0] for outcome in outcomes if not isinstance(outcome, Exception)]
    assert marks == [4, 2, 4]


def test_a_request_that_fails_does_not_take_its_batch_along(encode: Graph) -> None:
    good, bad, also_good = encode([tokens(1, 4), tokens(1, 4, 9), tokens(2, 4)])
    assert isinstance(bad, Exception)
    assert not isinstance(bad, InvalidRequest)
    assert not isinstance(good, Exception)
    assert not isinstance(also_good, Exception)
    assert good["VECTOR"].tolist() == [[4, 4]]
    assert also_good["VECTOR"].tolist() == [[4, 4], [4, 4]]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (tokens(2, 4, 10), r"INPUT_IDS\[0, 0\] is 10; send 0 to 9"),
        (tokens(1, 4, -1), r"INPUT_IDS\[0, 0\] is -1; send 0 to 9"),
        (tokens(1, 9), "INPUT_IDS has rows of 9, and the model reads up to 8"),
        (tokens(1, 0), "INPUT_IDS has rows of 0, and .* at least one token"),
    ],
)
def test_what_the_tables_do_not_hold_is_refused_for_its_own_request(
    encode: Graph, bad: Request, reason: str
) -> None:
    good, refused, also_good = encode([tokens(1, 4), bad, tokens(2, 4)])
    assert isinstance(refused, InvalidRequest)
    assert re.match(reason, str(refused))
    assert isinstance(good, dict)
    assert isinstance(also_good, dict)
    assert good["MARK"].tolist() == [[3]]


def events(*, actions: Sequence[int] = (0,), count: int = 1, length: int = 1) -> Request:
    return Request(
        {
            "EVENT": np.zeros((1, length, 2), np.float32),
            "EVENT_ACTION": np.array([actions], np.int32).reshape(1, -1),
            "EVENT_AGE": np.full((1, length), -(2**62), np.int64),
            "EVENT_COUNT": np.array([[count]], np.int32),
        }
    )


class Engine:
    """Answers whatever gets to it."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"STATE": np.zeros((len(inputs["EVENT"]), 1), np.float32)}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (events(), ""),
        (events(actions=(), count=0, length=0), ""),
        (events(actions=(3,)), "EVENT_ACTION[0, 0] is 3; send 0 to 2"),
        (events(actions=(0, -1), count=2, length=2), "EVENT_ACTION[0, 1] is -1; send 0 to 2"),
        (events(count=2), "EVENT_COUNT[0, 0] is 2; send 0 to 1"),
        (events(count=-1), "EVENT_COUNT[0, 0] is -1; send 0 to 1"),
        (
            events(actions=(0, 0)),
            (
                "the rows are not of one length: EVENT 1 and EVENT_ACTION 2 and EVENT_AGE 1; "
                "pad them to the same"
            ),
        ),
    ],
)
def test_so_are_events(request_: Request, reason: str) -> None:
    (outcome,) = Graph(Engine(), {"EVENT_ACTION": 2}, 8)([request_])
    if reason:
        assert isinstance(outcome, InvalidRequest)
        assert str(outcome) == reason
    else:
        assert isinstance(outcome, dict)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.sampled_from([4, 8, 9]), st.sampled_from([-1, 0, 1, 7, 8, 10])
        ),
        max_size=6,
    )
)
def test_a_batch_is_its_requests_one_at_a_time(
    encode: Graph, batch: list[tuple[int, int, int]]
) -> None:
    requests = [tokens(*shape) for shape in batch]
    for together, request in zip(encode(requests), requests, strict=True):
        (alone,) = encode([request])
        if isinstance(alone, Exception):
            assert isinstance(together, Exception)
        else:
            assert not isinstance(together, Exception)
            np.testing.assert_array_equal(together["VECTOR"], alone["VECTOR"])


def test_the_engine_names_what_it_takes_and_was_given(directory: Path) -> None:
    engine = OnnxEngine(directory / "model.onnx", threads=None)
    assert engine.inputs == {"INPUT_IDS"}
    assert engine.outputs == ("VECTOR", "MARK")
    wrong: NDArray[np.int32] = np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match=r"takes \['INPUT_IDS'\], and was given \['IDS'\]"):
        engine.run({"IDS": wrong})
