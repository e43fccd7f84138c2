from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import Phase, given, seed, settings
from tritonclient.grpc import service_pb2

from perf.odd_requests import STREAM, Call, calls, harms_others, read_line
from perf.wire_requests import INFER, Input, Model, Tensor, framed, message

MODEL = Model(
    "rank",
    batched=True,
    inputs=(
        Input("HISTORY", "BYTES", (-1,), optional=False),
        Input("HISTORY_TIME", "INT64", (-1,), optional=True),
    ),
)
CALLS = calls([MODEL], [b"i7"])


@pytest.fixture(scope="module")
def drawn() -> list[Call]:
    found = []

    @seed(0)
    @settings(max_examples=600, database=None, phases=[Phase.generate])
    @given(CALLS)
    def draw(call: Call) -> None:
        found.append(call)

    draw()
    return found


def test_a_call_is_read_back_from_its_line(drawn: list[Call]) -> None:
    for call in drawn:
        assert read_line(call.line + "\n") == call
        assert "\n" not in call.line


@pytest.mark.parametrize("line", ["", "ModelInfer", "ModelInfer !", "ModelInfer YQ=="])
def test_no_other_line_is_a_call(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_line(line)


def _parses(call: Call) -> bool:
    try:
        service_pb2.ModelInferRequest.FromString(call.body)
    except DecodeError:
        return False
    return True


def test_calls_of_many_kinds_are_drawn(drawn: list[Call]) -> None:
    requests = [call for call in drawn if call.method == INFER]
    assert any(b"i7" in call.body for call in requests)
    assert any(b"HISTORY_TIME" in call.body for call in requests)
    assert not all(map(_parses, requests))
    assert {call.method for call in drawn} - {INFER, STREAM}
    assert STREAM in {call.method for call in drawn}


def test_none_of_them_harms_others(drawn: list[Call]) -> None:
    assert not any(harms_others(call.body) for call in drawn)


@pytest.mark.parametrize(
    ("name", "tensor", "harms"),
    [
        ("HISTORY_TIME", Tensor("INT64", (1, 2**61), b""), True),
        ("HISTORY_TIME", Tensor("INT32", (1, 2**62), b""), True),
        ("HISTORY_TIME", Tensor("INT64", (1, 2**61 + 1), b"\0" * 8), True),
        ("HISTORY_TIME", Tensor("INT64", (1, 2**60 - 1), b""), False),
        ("HISTORY_TIME", Tensor("INT64", (1, 1), b"\xff" * 7), False),
        ("HISTORY", Tensor("BYTES", (1, 2), framed(b"i7", b"i2")), False),
        ("HISTORY", Tensor("BYTES", (1, 2), framed(b"i7", b"i2")[:-1]), True),
        ("HISTORY", Tensor("BYTES", (1, 2), framed(b"i7", b"i2") + b"\0"), False),
    ],
)
def test_what_harms_others(name: str, tensor: Tensor, harms: bool) -> None:
    assert harms_others(message("rank", {name: tensor}).SerializeToString()) is harms
