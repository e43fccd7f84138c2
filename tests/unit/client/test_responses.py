"""Answers that break the contract: each becomes MalformedResponse and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from client import MalformedResponse, RecommenderClient
from client._decoding import decode_response
from client._responses import (
    parse_encode_response,
    parse_rank_response,
    parse_recommend_response,
)
from client.results import PropensityKind
from tests.unit.client.conftest import Triton

F, I = np.float32, np.int32  # noqa: E741
ONE = np.ones((1, 1), I)
RANK = {
    "INTEREST": np.ones((1, 3), F),
    "LOGIT": np.ones((1, 3), F),
    "SKIPPED": ONE,
    "TRUNCATED": ONE,
}
ITEMS = {**RANK, "ITEM": np.array([["a", "b", "c"]], object)}
ENCODE = {"VECTOR": np.ones((3, 4), F), "TRUNCATED": np.ones((3, 1), I)}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"INTEREST": None}, "INTEREST is missing, only .*LOGIT.* are there"),
        ({"LOGIT": None}, "LOGIT is missing"),
        ({"SKIPPED": None}, "SKIPPED is missing"),
        ({"TRUNCATED": None}, "TRUNCATED is missing"),
        ({"LOGIT": np.ones((1, 3), I)}, "LOGIT is INT32, FP32 is due"),
        ({"LOGIT": ("FP16", [1, 3], bytes(6))}, "LOGIT is FP16, FP32 is due"),
        ({"SKIPPED": np.ones((1, 1), F)}, "SKIPPED is FP32, INT32 is due"),
        ({"INTEREST": np.ones((1, 4), F)}, r"INTEREST has shape \[1, 4\], \[1, 3\] is due"),
        ({"LOGIT": np.ones((1, 2), F)}, r"LOGIT has shape \[1, 2\], \[1, 3\] is due"),
        ({"LOGIT": np.ones(3, F)}, r"LOGIT has shape \[3\], \[1, 3\] is due"),
        ({"LOGIT": np.ones((1, 3, 1), F)}, "LOGIT has shape"),
        ({"LOGIT": np.ones((3, 1), F)}, "LOGIT has shape"),
        ({"LOGIT": ("FP32", [], bytes(4))}, r"LOGIT has shape \[\]"),
        ({"SKIPPED": np.ones((1, 0), I)}, "SKIPPED has shape"),
        ({"LOGIT": ("FP32", [1, 3], bytes(8))}, "holds 8 bytes, 12 are due"),
        ({"LOGIT": ("FP32", [1, 3], bytes(13))}, "holds 13 bytes, 12 are due"),
        ({"LOGIT": ("FP32", [1, 3], b"")}, "holds 0 bytes, 12 are due"),
    ],
)
def test_rank(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any], wrong: Any, says: str
) -> None:
    tensors = {name: value for name, value in {**RANK, **wrong}.items() if value is not None}
    triton.answer = lambda _: respond(**tensors)
    with pytest.raises(MalformedResponse, match=f"rank: .*{says}.*same version") as caught:
        client.rank([], ["a", "b", "c"])
    assert caught.value.code is None
    assert caught.value.details


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ITEM": None}, "ITEM is missing"),
        ({"ITEM": np.array([["a", "b"]], object)}, r"INTEREST has shape \[1, 3\], \[1, 2\] is due"),
        ({"LOGIT": np.ones((1, 2), F)}, r"LOGIT has shape \[1, 2\], \[1, 3\] is due"),
        ({"ITEM": ("BYTES", [1, 3], b"\1\0\0\0a")}, "holds 1 elements, 3 are due"),
        ({"ITEM": ("BYTES", [1, 3], b"\1\0\0\0a" * 4)}, "holds 4 elements, 3 are due"),
        ({"ITEM": ("BYTES", [1, 3], b"\xff\xff\xff\xffa")}, "4294967295 bytes announced"),
        ({"ITEM": ("BYTES", [1, 3], b"\1\0\0\0a" * 2 + b"\1\0")}, "too few for a length"),
        ({"ITEM": ("BYTES", [1, 3], b"\1\0\0\0a" * 2 + b"\1\0\0\0\xff")}, "ITEM: .*utf-8"),
        ({"ITEM": ("BYTES", [1, -1], b"")}, r"ITEM has shape \[1, -1\]"),
    ],
)
def test_recommend(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any], wrong: Any, says: str
) -> None:
    tensors = {name: value for name, value in {**ITEMS, **wrong}.items() if value is not None}
    triton.answer = lambda _: respond(**tensors)
    with pytest.raises(MalformedResponse, match=f"recommend: .*{says}"):
        client.recommend([], top_k=3)


@pytest.mark.parametrize(("sent", "fallback"), [(None, False), (0, False), (1, True)])
def test_a_list_that_is_the_same_for_all_is_marked(
    client: RecommenderClient,
    triton: Triton,
    respond: Callable[..., Any],
    sent: int | None,
    fallback: bool,
) -> None:
    marked = {} if sent is None else {"FALLBACK": np.full((1, 1), sent, I)}
    triton.answer = lambda _: respond(**ITEMS, **marked)
    assert client.recommend([], top_k=3).fallback is fallback
    (many,) = client.recommend_many([[]], top_k=3)
    assert many.result is not None
    assert many.result.fallback is fallback


def test_a_mark_of_another_type(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**ITEMS, FALLBACK=np.ones((1, 1), F))
    with pytest.raises(MalformedResponse, match="FALLBACK is FP32, INT32 is due"):
        client.recommend([], top_k=3)


@pytest.mark.parametrize("kind", get_args(PropensityKind))
def test_propensities_of_a_list_that_explores(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any], kind: str
) -> None:
    sent = np.array([[0.5, 0.25, 1.0]], F)
    triton.answer = lambda _: respond(**ITEMS, **explored(sent, kind))
    found = client.recommend([], top_k=3)
    assert found.propensities is not None
    assert found.propensities.tolist() == [0.5, 0.25, 1.0]
    assert found.propensities.dtype == np.float32
    assert not found.propensities.flags.writeable
    assert found.propensity_kind == kind


def test_no_propensities_unless_asked(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**ITEMS)
    found = client.recommend([], top_k=3)
    assert (found.propensities, found.propensity_kind) == (None, None)


@pytest.mark.parametrize(
    ("propensities", "kind", "says"),
    [
        (np.ones((1, 3), F), "certain", "PROPENSITY_KIND is 'certain', one of exact, estimated,"),
        (np.ones((1, 2), F), "exact", r"PROPENSITY has shape \[1, 2\], \[1, 3\] is due"),
    ],
)
def test_propensities_that_are_none(
    client: RecommenderClient,
    triton: Triton,
    respond: Callable[..., Any],
    propensities: Any,
    kind: str,
    says: str,
) -> None:
    triton.answer = lambda _: respond(**ITEMS, **explored(propensities, kind))
    with pytest.raises(MalformedResponse, match=says):
        client.recommend([], top_k=3)


def explored(propensities: Any, kind: str) -> dict[str, Any]:
    return {"PROPENSITY": propensities, "PROPENSITY_KIND": np.array([[kind]], object)}


def test_more_items_than_asked(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    triton.answer = lambda _: respond(**ITEMS)
    with pytest.raises(MalformedResponse, match="3 items came back, 2 were asked for"):
        client.recommend([], top_k=2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"VECTOR": np.ones((2, 4), F)}, r"VECTOR has shape \[2, 4\], \[3, 'h'\] is due"),
        ({"VECTOR": np.ones(3, F)}, r"VECTOR has shape \[3\]"),
        ({"TRUNCATED": np.ones((1, 1), I)}, r"TRUNCATED has shape \[1, 1\], \[3, 1\] is due"),
    ],
)
def test_encode(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any], wrong: Any, says: str
) -> None:
    triton.answer = lambda _: respond(**ENCODE | wrong)
    with pytest.raises(MalformedResponse, match=f"encode: .*{says}"):
        client.encode(["a", "b", "c"])


def test_contents_without_a_declaration(
    client: RecommenderClient, triton: Triton, respond: Callable[..., Any]
) -> None:
    response = respond(**RANK)
    response.raw_output_contents.append(b"")
    triton.answer = lambda _: response
    with pytest.raises(MalformedResponse, match="4 tensors are declared, 5 are there"):
        client.rank([], ["a", "b", "c"])


def test_an_empty_answer(client: RecommenderClient, triton: Triton) -> None:
    triton.answer = lambda _: service_pb2.ModelInferResponse()
    with pytest.raises(MalformedResponse, match=r"INTEREST is missing, only \[\] are there"):
        client.rank([], ["a"])


TENSORS = st.tuples(
    st.sampled_from(["ITEM", "INTEREST", "LOGIT", "SKIPPED", "TRUNCATED", "VECTOR", "OTHER"]),
    st.sampled_from(["BYTES", "FP32", "INT32", ""]),
    st.lists(st.integers(-2, 3) | st.sampled_from([2**62, 1]), max_size=3),
    st.binary(max_size=16) | st.sampled_from([bytes(4), bytes(8), b"\1\0\0\0a"]),
)


@given(st.lists(TENSORS, max_size=6), st.integers(0, 3))
def test_whatever_comes_back_no_other_error_is_raised(
    tensors: list[tuple[str, str, list[int], bytes]], count: int
) -> None:
    response = service_pb2.ModelInferResponse()
    for name, datatype, shape, raw in tensors:
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    response = decode_response(response.SerializeToString())
    with contextlib.suppress(MalformedResponse):
        parse_rank_response(response, ["a"] * count)
    with contextlib.suppress(MalformedResponse):
        parse_recommend_response(response, count)
    with contextlib.suppress(MalformedResponse):
        parse_encode_response(response, count)


@given(st.sampled_from(sorted(ITEMS)), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_wrong_tensor_among_good_ones(
    respond: Callable[..., Any], name: str, data: st.DataObject
) -> None:
    response = respond(**ITEMS)
    position = [output.name for output in response.outputs].index(name)
    raw = response.raw_output_contents[position]
    changed = data.draw(st.binary(max_size=len(raw) + 4).filter(lambda b: len(b) != len(raw)))
    response.raw_output_contents[position] = changed
    if name == "ITEM":  # framed bytes may have any length, so check by their meaning
        response.outputs[position].shape[1] = 7
    with pytest.raises(MalformedResponse):
        parse_recommend_response(decode_response(response.SerializeToString()), 3)
