"""Engines that are other models of the same server."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_repository.core import contract
from model_repository.core.contract import ENCODER
from model_repository.core.errors import Overloaded, Unavailable
from model_repository.core.users import EventBatch
from model_repository.engines.tokenizer import TextTokenizer
from tests.shared import reached
from tests.unit.model_repository.backend import Backend, Refusal, TritonError
from tests.unit.model_repository.conftest import MAX_LENGTH, Parts

Tensors = Mapping[str, NDArray[Any]]


@pytest.fixture
def engines(backend: Backend) -> Any:  # noqa: ARG001  (it cannot be imported without one)
    return import_module("model_repository.engines.triton")


def test_a_model_is_asked_for_its_outputs_in_the_version_of_who_asks(
    engines: Any, backend: Backend
) -> None:
    backend.models["encoder"] = lambda inputs: {"VECTOR": inputs["INPUT_IDS"] * 2.0}
    tokens = np.ones((2, 3), np.int32)
    found = engines.TritonModel(ENCODER, 7).run({"INPUT_IDS": tokens})
    assert found["VECTOR"].tolist() == [[2] * 3] * 2
    ((name, version, inputs, outputs),) = backend.asked
    assert (name, version, outputs) == ("encoder", 7, ["VECTOR"])
    np.testing.assert_array_equal(inputs["INPUT_IDS"], tokens)


def test_what_a_model_fails_with_is_handed_on(engines: Any, backend: Backend) -> None:
    def fail(_: Tensors) -> Tensors:
        raise ValueError("out of memory")

    backend.models["encoder"] = fail
    with pytest.raises(RuntimeError, match="encoder failed: out of memory"):
        engines.TritonModel(ENCODER, 1).run({"INPUT_IDS": np.ones((1, 1), np.int32)})


def test_a_model_that_has_too_much_to_do_says_so(engines: Any, backend: Backend) -> None:
    def refuse(_: Tensors) -> Tensors:
        raise Refusal("encode is overloaded", TritonError.ALREADY_EXISTS)

    backend.models["encoder"] = refuse
    with pytest.raises(Overloaded, match="encode is overloaded"):
        engines.TritonModel(ENCODER, 1).run({"INPUT_IDS": np.ones((1, 1), np.int32)})


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("encode is not ready", TritonError.UNAVAILABLE),
        ("Stub process 'encode_0_0' is not healthy.", TritonError.INTERNAL),
    ],
)
def test_a_model_that_is_not_there_is_unavailable(
    engines: Any, backend: Backend, said: str, code: int
) -> None:
    def refuse(_: Tensors) -> Tensors:
        raise Refusal(said, code)

    backend.models["encode"] = refuse
    with pytest.raises(Unavailable, match=f"^encode is not available \\({said.rstrip('.')}\\)$"):
        engines.EncodeModel(1, 4)(["toy"])


def events(number: int = 1) -> EventBatch:
    return EventBatch(
        np.full((2, 4, 3), number, np.float32),
        np.zeros((2, 4), np.int32),
        np.zeros((2, 4), np.int64),
        np.full((2, 1), 4, np.int32),
    )


@pytest.mark.parametrize("model", ["encode", "user_encoder"])
def test_so_is_a_model_that_does_not_answer(
    engines: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """While one call is under way, the model is asked no more; then it is, and answers."""
    released = threading.Event()

    def hang(_: Tensors) -> Tensors:
        assert released.wait(30)
        return {"VECTOR": np.ones((1, 1)), "TRUNCATED": np.ones((1, 1)), "STATE": np.ones((2, 3))}

    backend.models[model] = hang
    monkeypatch.setattr(engines, "_PATIENCE", 0.05)
    monkeypatch.setattr(engines, "_USER_PATIENCE", 0.05)
    encode = engines.EncodeModel(1, 4) if model == "encode" else engines.TritonUserEncoder(1, [])
    batch = ["toy"] if model == "encode" else [events()]
    try:
        for _ in range(20):
            with pytest.raises(Unavailable, match=rf"{model} .*has not answered for 0\.05 s"):
                encode(batch)
        assert len(backend.asked) == 1
    finally:
        released.set()
    assert reached(lambda: encode._at_once._began, expected={}) == {}
    assert encode(batch)
    assert len(backend.asked) == 2


def test_calls_that_wait_behind_one_that_hangs_are_not_made(
    engines: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(_: Tensors) -> Tensors:
        assert released.wait(30)
        return {"STATE": np.ones((2, 3))}

    backend.models["user_encoder"] = hang
    monkeypatch.setattr(engines, "_USER_PATIENCE", 0.05)
    encode = engines.TritonUserEncoder(1, [])
    with pytest.raises(Unavailable):
        encode([events()] * 9)
    released.set()
    encode._at_once._pool.shutdown()
    assert 0 < len(backend.asked) <= engines._AT_ONCE


def slow(_: Tensors) -> Tensors:
    time.sleep(0.1)
    return {"VECTOR": np.ones((1, 1)), "TRUNCATED": np.ones((1, 1)), "STATE": np.ones((2, 3))}


@pytest.mark.parametrize("model", ["encode", "encoder", "user_encoder"])
def test_a_slow_model_is_there_as_long_as_it_answers_each_call(
    engines: Any, backend: Backend, parts: Parts, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    backend.models[model] = slow
    monkeypatch.setattr(engines, "_PATIENCE", 0.5)
    monkeypatch.setattr(engines, "_USER_PATIENCE", 0.5)
    calls = 7 if model == "encode" else 7 * engines._AT_ONCE
    if model == "user_encoder":
        assert len(engines.TritonUserEncoder(1, [])([events()] * calls)) == calls
        return
    if model == "encode":
        encode = engines.EncodeModel(1, 1)
    else:
        tokenizer = TextTokenizer(parts.directory / "tokenizer.json", MAX_LENGTH)
        encode = engines.EncoderModel(1, 1, tokenizer, [MAX_LENGTH], 0)
    assert len(encode(["toy"] * calls).vectors) == calls
    assert len(backend.asked) == calls


def test_calls_behind_one_of_others_that_hangs_are_given_up_too(
    engines: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, hanging = threading.Event(), threading.Semaphore(0)

    def hang(_: Tensors) -> Tensors:
        hanging.release()
        assert released.wait(30)
        return {"STATE": np.ones((2, 3))}

    backend.models["user_encoder"] = hang
    monkeypatch.setattr(engines, "_USER_PATIENCE", 0.2)
    encode = engines.TritonUserEncoder(1, [])
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(encode, [events()] * engines._AT_ONCE)
        for _ in range(engines._AT_ONCE):
            assert hanging.acquire(timeout=30)
        with pytest.raises(Unavailable):
            encode([events()])
        with pytest.raises(Unavailable):
            others.result(30)
    released.set()
    encode._at_once._pool.shutdown()
    assert len(backend.asked) == engines._AT_ONCE


@pytest.mark.parametrize("batches", [1, 7])
def test_users_are_encoded_in_as_many_calls_as_there_are_batches(
    engines: Any, backend: Backend, batches: int
) -> None:
    backend.models["user_encoder"] = lambda inputs: {
        contract.STATE.name: inputs[contract.EVENT.name].sum(1)
    }
    encode = engines.TritonUserEncoder(3, [4, 8])
    assert encode.lengths == [4, 8]
    made = [events(number) for number in range(batches)]
    states = encode(made)
    assert [each.tolist() for each in states] == [[[4.0 * n] * 3] * 2 for n in range(batches)]
    assert len(backend.asked) == batches
    assert backend.asked[0][2].keys() == {
        contract.EVENT.name,
        contract.EVENT_ACTION.name,
        contract.EVENT_AGE.name,
        contract.EVENT_COUNT.name,
    }


def test_texts_go_to_encode_in_requests_that_it_takes(engines: Any, backend: Backend) -> None:
    def encode(inputs: Tensors) -> Tensors:
        (column,) = inputs.values()
        assert column.shape[1:] == (1,)
        lengths = np.array([[len(text)] for text in column[:, 0]])
        return {"VECTOR": lengths.astype(np.float32), "TRUNCATED": lengths % 2}

    backend.models["encode"] = encode
    texts = ["é" * number for number in range(7)]
    found = engines.EncodeModel(1, max_rows=3)(texts)
    assert found.vectors.tolist() == [[2.0 * number] for number in range(7)]
    assert found.truncated.shape == (7,)
    assert [len(inputs["TEXT"]) for _, _, inputs, _ in backend.asked] == [3, 3, 1]


def test_texts_are_tokenized_and_go_to_the_encoder_in_lengths_that_it_takes(
    engines: Any, backend: Backend, parts: Parts
) -> None:
    """Each text gets its own vector back, whatever it was batched with."""
    pad = 99

    def sums(inputs: Tensors) -> Tensors:
        tokens = inputs["INPUT_IDS"]
        assert tokens.dtype == np.int32
        return {
            "VECTOR": np.where(tokens == pad, 0, tokens).sum(1, keepdims=True, dtype=np.float32)
        }

    backend.models["encoder"] = sums
    tokenizer = TextTokenizer(parts.directory / "tokenizer.json", MAX_LENGTH)
    encode = engines.EncoderModel(1, 2, tokenizer, [4, 8, MAX_LENGTH], pad)
    texts = ["cat " * 99, "a film about the matrix", "toy", "story", "", "toy toy toy"]
    found = encode(texts)
    expected = [sum(row.tokens) for row in tokenizer(texts)]
    assert found.vectors[:, 0].tolist() == expected
    assert found.vectors.dtype == np.float32
    assert found.truncated.tolist() == [1, 0, 0, 0, 0, 0]
    shapes = [inputs["INPUT_IDS"].shape for _, _, inputs, _ in backend.asked]
    assert all(rows <= 2 and length in (4, 8, MAX_LENGTH) for rows, length in shapes)
    assert sum(rows for rows, _ in shapes) == len(texts)
