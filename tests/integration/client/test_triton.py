"""Both clients against the real tritonserver."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from builder.serving import TritonServer
from client import (
    AsyncRecommenderClient,
    DeadlineExceeded,
    Event,
    InferenceFailed,
    InvalidInput,
    Item,
    ModelNotFound,
    RecommenderClient,
    Retry,
    Unavailable,
    _inputs,
)
from client._protocol import addressed
from client._requests import StableInputs, rank_message, user_tensors
from tests.integration.tiny_repository import BATCH, CATALOGUE, LABELS
from tests.shared import settled

PATIENT = 60
KNOWN = [f"i{index}" for index in range(CATALOGUE)]


async def check(call: Callable[..., Any]) -> None:
    """Ask everything there is to ask: ``call`` awaits what is awaitable."""
    ranking = await call("rank", ["i1"], ["i7", "i2", "i29"])
    assert ranking.logits.tolist() == [7, 2, 29]
    np.testing.assert_allclose(ranking.interests, 1 / (1 + np.exp(-ranking.logits)), rtol=1e-5)
    assert [item.id for item in ranking.sorted()] == ["i29", "i7", "i2"]

    ranking = await call("rank", [Event("i1", "buy", 100), Event("i2", "view", 101)], ["i7"])
    assert ranking.logits.tolist() == [7 + 2 + 1 + 2 + 1]  # actions, and ages plus 1

    # 2 + 4 + 3: the tokens of "[CLS] toy [SEP]". Ten distinct texts need three requests.
    texts = ["toy " * (1 + number) for number in range(10)]
    candidates = [Item(f"new{number}", text) for number, text in enumerate(texts)]
    ranking = await call("rank", [Item("i1", "story")], ["i7", *candidates, "i8"])
    assert len(texts) > BATCH
    assert ranking.items == ("i7", *(f"new{number}" for number in range(10)), "i8")
    assert ranking.logits.tolist() == [7, *(5 + 4 * (1 + n) for n in range(10)), 8]

    found = await call("recommend", ["i29"], top_k=3, exclude=["i28"])
    assert found.items == ("i27", "i26", "i25")
    assert (await call("recommend", [], top_k=1)).items == ("i29",)

    encoding = await call("encode", texts)
    assert encoding.vectors.tolist() == [[5 + 4 * (1 + n)] for n in range(10)]
    classification = await call("classify", ["a" * 10] * 6, ["", "b" * 10] * 3)
    np.testing.assert_allclose(classification.probabilities[:2, 1], [1 / 2, 2 / 3], rtol=1e-6)
    assert classification.probabilities.shape == (6, 2)
    assert classification.labels == LABELS
    assert classification.activation == "softmax"
    assert (await call("classify", ["a" * 30, "a"])).predicted() == [("long",), ("short",)]

    assert await call("ready") is True
    assert await call("ready", models=["classify"]) is True
    assert await call("live") is True
    metadata = await call("metadata", models=["rank"])
    assert metadata.version.startswith("2.")
    assert metadata.models["rank"].inputs[0].name == "HISTORY"
    (statistics,) = await call("statistics", model="rank")
    assert statistics.success.count >= 5
    assert statistics.compute_infer.mean > 0

    with pytest.raises(InvalidInput, match="'nowhere' is not in the catalogue") as caught:
        await call("rank", [], ["i1", "nowhere"])
    assert (caught.value.field, caught.value.value) == ("candidates[1]", "nowhere")
    many = [*(Item(f"new{number}", text) for number, text in enumerate(texts)), Item("nowhere")]
    with pytest.raises(InvalidInput) as caught:
        await call("rank", [], many)
    assert (caught.value.field, caught.value.value) == ("candidates[10]", "nowhere")
    skipped = await call("rank", [], many, on_unknown="skip")
    assert np.isnan(skipped.logits).tolist() == [False] * 10 + [True]
    with pytest.raises(InvalidInput, match="at most 20"):
        await call("recommend", [], top_k=21)
    with pytest.raises(InferenceFailed, match="rank failed"):
        await call("rank", [], [Item("x", "bomb")])


def test_blocking(triton: TritonServer) -> None:
    with RecommenderClient(triton.grpc_address, timeout=PATIENT) as client:

        async def call(method: str, *args: Any, **options: Any) -> Any:
            return getattr(client, method)(*args, **options)

        asyncio.run(check(call))


def test_asyncio(triton: TritonServer) -> None:
    async def run() -> None:
        async with AsyncRecommenderClient(triton.grpc_address, timeout=PATIENT) as client:

            async def call(method: str, *args: Any, **options: Any) -> Any:
                return await getattr(client, method)(*args, **options)

            await check(call)

    asyncio.run(run())


def test_a_model_that_is_not_there(waiting: TritonServer) -> None:
    with (
        RecommenderClient(waiting.grpc_address, timeout=PATIENT) as client,
        pytest.raises(ModelNotFound, match="classify"),
    ):
        client.classify(["a text"])


def test_the_inputs_become_stable(triton: TritonServer) -> None:
    """Once a column was needed it goes along, empty, and the answers are the same."""
    with RecommenderClient(triton.grpc_address, timeout=PATIENT) as client:
        before = client.rank(["i1"], ["i7", "i2"]).logits
        client.rank([Event(Item("x", "toy"), "buy")], [Item("y", "story")])
        np.testing.assert_array_equal(client.rank(["i1"], ["i7", "i2"]).logits, before)
        assert client.rank(["i1"], []).items == ()
        client.recommend([], exclude=["i29"])
        assert client.recommend([], top_k=1).items == ("i29",)


def metric(server: TritonServer, name: str, **labels: str) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(name + "{")
        and all(f'{key}="{value}"' in line for key, value in labels.items())
    )


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def until(condition: Callable[[], bool]) -> None:
    assert within(PATIENT, condition)


def test_the_queue_drops_what_nobody_waits_for(timed: TritonServer) -> None:
    """Triton counts it as rejected, and never computes it.

    Sent without a deadline of gRPC's own, whose end Triton would see as a cancellation.
    """
    before = metric(timed, "nv_inference_request_failure", model="rank", reason="REJECTED")
    columns = _inputs.read_items(["i1"], "candidates")
    user = user_tensors(_inputs.read_history(["i1"]), None, StableInputs())
    message = rank_message(user, columns, {"on_unknown": "error"}, StableInputs())
    with grpc.insecure_channel(timed.grpc_address) as channel:
        infer = channel.unary_unary(
            message.procedure.path, request_serializer=None, response_deserializer=None
        )
        with pytest.raises(grpc.RpcError) as dropped:
            infer(addressed(message, "late", 0.2), timeout=PATIENT)
    assert dropped.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Request timeout expired" in str(dropped.value.details())
    after = metric(timed, "nv_inference_request_failure", model="rank", reason="REJECTED")
    assert after == before + 1


def test_the_client_ends_in_time_whatever_the_queue_does(waiting: TritonServer) -> None:
    with RecommenderClient(waiting.grpc_address) as client:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            client.rank(["i1"], ["i2"], timeout=0.3)
        assert time.monotonic() - started < PATIENT / 2
    # What is left of the request goes with the next batch.
    until(lambda: not pending(waiting))


def encoded(server: TritonServer) -> float:
    """Count the texts that went through BERT."""
    return settled(lambda: metric(server, "nv_inference_count", model="encoder"))


def pending(server: TritonServer) -> float:
    return metric(server, "nv_inference_pending_request_count", model="rank")


def test_a_cancelled_task_spares_bert_its_texts(waiting: TritonServer) -> None:
    before = encoded(waiting)

    async def run() -> None:
        async with AsyncRecommenderClient(waiting.grpc_address, timeout=PATIENT) as client:
            task = asyncio.create_task(client.rank(["i1"], [Item("x", "toy")]))
            while not pending(waiting):
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    until(lambda: not pending(waiting))
    assert encoded(waiting) == before


def test_a_closed_iterator_spares_bert_its_texts(waiting: TritonServer) -> None:
    with RecommenderClient(waiting.grpc_address, timeout=PATIENT) as client:
        for _ in range(5):  # on a busy machine the two may be gone before anybody looks
            before = encoded(waiting)
            users = [(["i1"], [Item("x", "toy" * number)]) for number in range(1, BATCH + 3)]
            answers = client.rank_many(users, concurrency=BATCH + 2)
            next(answers)  # a batch of four left together; two are waiting for company
            if within(3, lambda: pending(waiting) == 2):
                break
            assert len(list(answers)) == BATCH + 1
        assert isinstance(answers, Generator)
        answers.close()
    until(lambda: not pending(waiting))
    assert encoded(waiting) == before + BATCH


def test_triton_reports_no_times_with_an_answer(triton: TritonServer) -> None:
    """The hook hands on what there is; when this changes, the documentation should too."""
    seen: list[Any] = []
    with RecommenderClient(
        triton.grpc_address, timeout=PATIENT, on_response=seen.append, retry=Retry(attempts=1)
    ) as client:
        client.rank([], ["i1"])
    assert not [name for name in seen[0].parameters if re.search("queue|compute|time", name)]


def test_our_bytes_are_those_of_the_generated_classes(triton: TritonServer) -> None:
    request = service_pb2.ModelInferRequest(model_name="encode", id="x")
    request.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(b"\3\0\0\0toy")
    with grpc.insecure_channel(triton.grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=PATIENT)
    with RecommenderClient(triton.grpc_address, timeout=PATIENT) as client:
        vectors = client.encode(["toy"]).vectors
    position = [output.name for output in answer.outputs].index("VECTOR")
    assert vectors.tobytes() == answer.raw_output_contents[position]
