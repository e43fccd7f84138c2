"""What is written and read by hand is what tritonclient's generated classes write and read."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from client._bytes import decode_strings, encode_bytes, encode_ids, encode_strings
from client._decoding import decode_response, response_parameters
from client._encoding import Tensor, encode_addition, encode_request
from model_repository.core.contract import TensorSpec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
IDS = TEXT.filter(bool)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
SHAPES = st.lists(st.integers(0, 2**40), max_size=3).map(tuple)
TENSORS = st.builds(
    Tensor,
    st.builds(TensorSpec, IDS, st.sampled_from(["BYTES", "FP32"]), st.just(())),
    SHAPES,
    st.binary(max_size=300),
)


FLOATS = st.floats(allow_nan=False)


@given(
    IDS,
    st.lists(TENSORS, max_size=4),
    st.dictionaries(IDS, st.booleans() | NUMBERS | FLOATS | TEXT),
)
def test_requests(
    model: str, tensors: list[Tensor], parameters: dict[str, bool | int | float | str]
) -> None:
    written = service_pb2.ModelInferRequest.FromString(encode_request(model, tensors, parameters))
    assert written.model_name == model
    assert [(each.name, each.datatype, tuple(each.shape)) for each in written.inputs] == [
        (each.spec.name, each.spec.dtype, each.shape) for each in tensors
    ]
    assert list(written.raw_input_contents) == [each.raw for each in tensors]
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    assert {
        name: (kind := value.WhichOneof("parameter_choice"), getattr(value, kind))
        for name, value in written.parameters.items()
    } == {name: (kinds[type(value)], value) for name, value in parameters.items()}


@given(TEXT, st.none() | st.integers(1, 10**12))
def test_additions_complete_a_request(request_id: str, milliseconds: int | None) -> None:
    body = encode_request("rank", [], {"top_k": 3})
    written = service_pb2.ModelInferRequest.FromString(
        body + encode_addition(request_id, milliseconds)
    )
    assert (written.model_name, written.id) == ("rank", request_id)
    assert written.parameters["top_k"].int64_param == 3
    if milliseconds is not None:
        assert written.parameters["timeout"].int64_param == milliseconds * 1000
    else:
        assert list(written.parameters) == ["top_k"]


OUTPUTS = st.tuples(
    TEXT, st.sampled_from(["FP32", "BYTES"]), st.lists(NUMBERS, max_size=3), st.binary(max_size=200)
)


@given(TEXT, st.lists(OUTPUTS, max_size=4), st.dictionaries(IDS, NUMBERS, max_size=3))
def test_responses(
    text: str, outputs: list[tuple[str, str, list[int], bytes]], parameters: dict[str, int]
) -> None:
    response = service_pb2.ModelInferResponse(model_name=text, model_version=text, id=text)
    for name, datatype, shape, raw in outputs:
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    for name, value in parameters.items():
        response.parameters[name].int64_param = value
    raw = response.SerializeToString()
    read = decode_response(raw)
    assert [(*each[:2], list(each.shape)) for each in read.outputs] == [
        (name, datatype, shape) for name, datatype, shape, _ in outputs
    ]
    assert read.contents == [raw for *_, raw in outputs]
    assert read.version == text
    assert response_parameters(raw) == parameters


def test_a_field_of_a_newer_protocol_is_passed_over() -> None:
    response = service_pb2.ModelInferResponse(id="x")
    response.raw_output_contents.append(b"abc")
    newer = b"\xf8\x07\x01" + b"\x3a\x01x" + response.SerializeToString()  # 127: varint, 7: bytes
    assert decode_response(newer).contents == [b"abc"]


@given(st.binary(max_size=60))
def test_what_is_no_message_is_refused_by_both_or_read_alike(raw: bytes) -> None:
    try:
        expected = service_pb2.ModelInferResponse.FromString(raw)
    except DecodeError:
        # The hand looks into tensors' descriptions only; the rest is not used.
        return
    read = decode_response(raw)
    assert read.contents == list(expected.raw_output_contents)
    assert [each.name for each in read.outputs] == [each.name for each in expected.outputs]


@pytest.mark.parametrize("raw", [b"\x32", b"\x32\x05abc", b"\x32\x80", b"\x32" + b"\xff" * 11])
def test_a_cut_response_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_response(raw)


@given(st.lists(TEXT))
def test_strings_and_ids_are_framed_alike(values: list[str]) -> None:
    framed = encode_strings(values)
    assert framed == encode_bytes([value.encode() for value in values])
    assert decode_strings(framed) == values
    if all(values):
        assert encode_ids(values) == encode_ids(values) == framed


@pytest.mark.parametrize("wrong", ["", 1, None, b"a", ["a"], True, "\ud800"])
def test_what_is_no_id_is_not_framed(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_ids(["a", wrong])
