"""The models inside the real server, each request of a batch standing for itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from numpy.typing import NDArray

from builder.serving import TritonServer
from tests.integration.tiny_repository import BATCH, CATALOGUE, Layout, write_tiny_repository

# A batch leaves as soon as it is full, and every test fills it, so the delay is never waited for.
DELAY_MICROSECONDS = 20_000_000
TIMEOUT = 60


@contextmanager
def served(root: Path, layout: Layout) -> Iterator[grpc.InferenceServerClient]:
    write_tiny_repository(root, layout=layout, delay_microseconds=DELAY_MICROSECONDS)
    with (
        TritonServer(root, grpc_port=0) as server,
        grpc.InferenceServerClient(server.grpc_address) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.InferenceServerClient]:
    with served(tmp_path_factory.mktemp("ensemble"), "ensemble") as client:
        yield client


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.InferenceServerClient]:
    with served(tmp_path_factory.mktemp("fused"), "fused") as client:
        yield client


@pytest.fixture(params=["ensemble", "fused"])
def triton(request: pytest.FixtureRequest) -> grpc.InferenceServerClient:
    """A server of either layout."""
    return request.getfixturevalue(request.param)


Answer = dict[str, NDArray[Any]]


def send(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: Mapping[str, NDArray[Any]],
    parameters: Mapping[str, object],
) -> Future[Answer]:
    answer: Future[Answer] = Future()

    def done(result: Any, error: Exception | None) -> None:
        if error is not None:
            answer.set_exception(error)
        else:
            names = [output.name for output in result.get_response().outputs]
            answer.set_result({name: result.as_numpy(name) for name in names})

    inputs = []
    for name, values in tensors.items():
        dtype = {"O": "BYTES", "i": "INT64", "f": "FP32"}[values.dtype.kind]
        inputs.append(grpc.InferInput(name, values.shape, dtype))
        inputs[-1].set_data_from_numpy(values)
    triton.async_infer(model, inputs, done, parameters=dict(parameters), client_timeout=TIMEOUT)
    return answer


def strings(*values: str | bytes) -> NDArray[Any]:
    row = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array([row], np.object_).reshape(1, len(row))


# Triton batches requests that send the same inputs, so good and bad ones send all.
RANK = {
    "HISTORY": strings("i1", "x"),
    "HISTORY_TEXT": strings("", "toy"),
    "HISTORY_ACTION": strings("buy", "view"),
    "HISTORY_TIME": np.array([[100, 101]], np.int64),
    "CANDIDATE": strings("i7", "y", "i2"),
    "CANDIDATE_TEXT": strings("", "toy story", ""),
    "PROFILE": strings(""),
}
HISTORY_SUM = 2 + 1 + 2 + 1  # actions buy and view, ages of one second and none, each plus 1
RANK_LOGIT = [[7 + HISTORY_SUM, 2 + 4 + 5 + 3 + HISTORY_SUM, 2 + HISTORY_SUM]]
RECOMMEND = {
    "HISTORY": strings("i29", "x"),
    "EXCLUDE": strings("i28", "never heard of"),
}
GOOD = {"rank": (RANK, {}), "recommend": (RECOMMEND, {"top_k": 3})}

NEW_USER = {
    "HISTORY": strings(),
    "HISTORY_TEXT": strings(),
    "HISTORY_ACTION": strings(),
    "HISTORY_TIME": np.zeros((1, 0), np.int64),
}


def check_good(model: str, answer: Answer) -> None:
    if model == "rank":
        np.testing.assert_array_equal(answer["LOGIT"], RANK_LOGIT)
        interest = 1 / (1 + np.exp(-answer["LOGIT"]))
        np.testing.assert_allclose(answer["INTEREST"], interest, rtol=1e-5)
        assert answer["SKIPPED"].tolist() == [[0]]
        assert answer["TRUNCATED"].tolist() == [[0]]
    else:
        assert answer["ITEM"].tolist() == [[b"i27", b"i26", b"i25"]]
        assert answer["LOGIT"].tolist() == [[27, 26, 25]]
        assert answer["SKIPPED"].tolist() == [[1]]


def full_batches(triton: grpc.InferenceServerClient, model: str) -> int:
    """Count the times that a model was handed BATCH requests at once."""
    statistics = triton.get_inference_statistics(model).model_stats[0].batch_stats
    return sum(one.compute_infer.count for one in statistics if one.batch_size == BATCH)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def among_good_ones(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: Mapping[str, NDArray[Any]],
    parameters: Mapping[str, object],
    *,
    reaches_the_model: bool = True,
) -> Answer:
    """Send a request in one batch with good ones, whose answers must be as always."""
    before = full_batches(triton, model)
    good_tensors, good_parameters = GOOD[model]
    before_it, in_all = 2, BATCH - int(reaches_the_model)
    good = [send(triton, model, good_tensors, good_parameters) for _ in range(before_it)]
    answer = send(triton, model, {**good_tensors, **tensors}, parameters)
    good += [send(triton, model, good_tensors, good_parameters) for _ in range(before_it, in_all)]
    for each in good:
        check_good(model, each.result(TIMEOUT))
    # Triton counts a batch after its answers have left.
    assert within(TIMEOUT, lambda: full_batches(triton, model) == before + 1)
    return answer.result(TIMEOUT)


INVALID = {
    "unknown candidate": (
        "rank",
        {"CANDIDATE": strings("i1", "nowhere", "i2")} | {"CANDIDATE_TEXT": strings("", "", "")},
        {},
        r"CANDIDATE\[1\] 'nowhere' is not in the catalogue .* CANDIDATE_TEXT",
    ),
    "an id that is no text": (
        "rank",
        {"CANDIDATE": strings(b"\xff\x00"), "CANDIDATE_TEXT": strings("")},
        {},
        r"CANDIDATE\[0\] '\\xff\\x00' is not in the catalogue",
    ),
    "invalid UTF-8": (
        "rank",
        {"HISTORY_TEXT": strings("", b"\xc3\x28")},
        {},
        r"HISTORY_TEXT\[1\] is not UTF-8",
    ),
    "texts without their candidates": (
        "rank",
        {"CANDIDATE": strings("i1")},
        {},
        "CANDIDATE_TEXT has 3 values and CANDIDATE has 1",
    ),
    "time running backwards": (
        "rank",
        {"HISTORY_TIME": np.array([[9, 8]], np.int64)},
        {},
        r"HISTORY_TIME\[1\] is 8, before",
    ),
    "more texts than fit": (
        "rank",
        {
            "CANDIDATE": strings(*"abcde"),
            "CANDIDATE_TEXT": strings(*(f"toy {letter}" for letter in "abcde")),
        },
        {},
        "6 texts to encode, and at most 4 fit in one; split",
    ),
    "a profile that is no JSON": (
        "rank",
        {"PROFILE": strings('{"age": 24')},
        {},
        r"PROFILE\[0\] '\{\"age\": 24' is no JSON",
    ),
    "a profile column that is not known": (
        "rank",
        {"PROFILE": strings('{"age": 24}')},
        {},
        r"PROFILE\[0\] gives 'age' the value 24, and the model knows no such column",
    ),
    "option of the wrong type": (
        "rank",
        {},
        {"on_unknown": True},
        "parameter on_unknown is True, a bool; it must be a string",
    ),
    "unknown option": ("rank", {}, {"on_unkown": "skip"}, "did you mean on_unknown?"),
    "top_k of 0": ("recommend", {}, {"top_k": 0}, "top_k is 0; it must be at least 1"),
    "top_k of -1": ("recommend", {}, {"top_k": -1}, "top_k is -1; it must be at least 1"),
    "top_k over the limit": ("recommend", {}, {"top_k": 21}, "at most 20 items"),
    "top_k as text": ("recommend", {}, {"top_k": "5"}, "top_k is '5', a str"),
    "top_k as a boolean": ("recommend", {}, {"top_k": True}, "top_k is True, a bool"),
}


@pytest.mark.parametrize(
    ("model", "tensors", "parameters", "message"), INVALID.values(), ids=INVALID
)
def test_a_bad_request_is_refused_alone(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: dict[str, NDArray[Any]],
    parameters: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, model, tensors, parameters)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"HISTORY": np.ones((1, 2), np.float32)}, "data-type is 'FP32', but .* expects 'BYTES'"),
        ({"CANDIDATE": strings("i1", "i2").T}, "'CANDIDATE' batch size does not match"),
    ],
    ids=["wrong dtype", "wrong shape"],
)
def test_what_triton_itself_refuses(
    triton: grpc.InferenceServerClient, tensors: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, "rank", tensors, {}, reaches_the_model=False)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_fault_of_ours_is_internal_and_alone(triton: grpc.InferenceServerClient) -> None:
    with pytest.raises(grpc.InferenceServerException, match="rank failed") as failure:
        among_good_ones(triton, "rank", {"CANDIDATE_TEXT": strings("", "toy bomb", "")}, {})
    assert failure.value.status() == "StatusCode.INTERNAL"


class TestDefinedResults:
    def test_a_new_user(self, triton: grpc.InferenceServerClient) -> None:
        answer = among_good_ones(triton, "rank", NEW_USER, {})
        assert answer["LOGIT"].tolist() == [[7, 14, 2]]

    def test_a_new_user_is_recommended_the_best_of_all(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        nothing = {"HISTORY": strings(), "EXCLUDE": strings()}
        answer = among_good_ones(triton, "recommend", nothing, {})
        assert answer["ITEM"].tolist() == [[f"i{29 - n}".encode() for n in range(10)]]
        assert answer["SKIPPED"].tolist() == [[0]]

    def test_no_candidates(self, triton: grpc.InferenceServerClient) -> None:
        none = {"CANDIDATE": strings(), "CANDIDATE_TEXT": strings()}
        answer = among_good_ones(triton, "rank", none, {})
        assert answer["LOGIT"].shape == answer["INTEREST"].shape == (1, 0)

    def test_ten_thousand_candidates(self, triton: grpc.InferenceServerClient) -> None:
        ids = np.arange(10_000) % CATALOGUE
        many = {
            "CANDIDATE": strings(*(f"i{index}" for index in ids)),
            "CANDIDATE_TEXT": strings(*[""] * len(ids)),
        }
        answer = among_good_ones(triton, "rank", {**NEW_USER, **many}, {})
        np.testing.assert_array_equal(answer["LOGIT"][0], ids)

    @pytest.mark.parametrize("name", ["HISTORY", "CANDIDATE"])
    def test_more_values_than_a_request_may_hold_are_refused_by_name(
        self, triton: grpc.InferenceServerClient, name: str
    ) -> None:
        user = {"HISTORY": strings("i1"), "CANDIDATE": strings("i2")}
        many = user | {name: strings(*["i3"] * 10_001)}
        with pytest.raises(
            grpc.InferenceServerException, match=f"{name} has more than 10000 values"
        ) as refusal:
            among_good_ones(triton, "rank", many, {})
        assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"

    def test_a_text_that_is_longer_than_any_may_be_is_refused_by_name(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        long = {"CANDIDATE_TEXT": strings("", "x" * (2**20 + 1), "")}
        with pytest.raises(
            grpc.InferenceServerException, match="CANDIDATE_TEXT has a value of 1048577 bytes at 1"
        ) as refusal:
            among_good_ones(triton, "rank", {**NEW_USER, **long}, {})
        assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"

    def test_a_megabyte_of_text_is_truncated_and_said_to_be(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        long = {"CANDIDATE_TEXT": strings("", "toy " * 250_000, "")}
        answer = among_good_ones(triton, "rank", {**NEW_USER, **long}, {})
        assert answer["TRUNCATED"].tolist() == [[1]]
        assert answer["LOGIT"].tolist() == [[7, 2 + 14 * 4 + 3, 2]]

    def test_unknown_candidates_can_be_skipped(self, triton: grpc.InferenceServerClient) -> None:
        no_text = {"CANDIDATE_TEXT": strings("", "", "")}
        answer = among_good_ones(triton, "rank", {**NEW_USER, **no_text}, {"on_unknown": "skip"})
        np.testing.assert_array_equal(answer["LOGIT"], [[7, np.nan, 2]])
        assert np.isnan(answer["INTEREST"]).tolist() == [[False, True, False]]

    def test_unknown_history_is_skipped_and_counted(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        no_text = {"HISTORY_TEXT": strings("", "")}
        answer = among_good_ones(triton, "rank", no_text, {})
        assert answer["SKIPPED"].tolist() == [[1]]
        buy = 2 + 0 + 1
        assert answer["LOGIT"].tolist() == [[7 + buy, 14 + buy, 2 + buy]]

    def test_seen_items_on_request(self, triton: grpc.InferenceServerClient) -> None:
        options = {"top_k": 2, "include_seen": True}
        answer = among_good_ones(triton, "recommend", {}, options)
        assert answer["ITEM"].tolist() == [[b"i29", b"i27"]]

    def test_as_many_as_exist(self, triton: grpc.InferenceServerClient) -> None:
        most = {"EXCLUDE": strings(*(f"i{index}" for index in range(5, CATALOGUE)))}
        answer = among_good_ones(triton, "recommend", most, {"top_k": 20})
        assert answer["ITEM"].tolist() == [[b"i4", b"i3", b"i2", b"i1", b"i0"]]


class TestEncode:
    def test_texts_in_their_order(self, triton: grpc.InferenceServerClient) -> None:
        texts = strings("toy", "story " * 99, "", "toy").T
        answer = send(triton, "encode", {"TEXT": texts}, {}).result(TIMEOUT)
        assert answer["VECTOR"].tolist() == [[9], [2 + 14 * 5 + 3], [5], [9]]
        assert answer["TRUNCATED"].tolist() == [[0], [1], [0], [0]]

    def test_invalid_utf8_is_refused_among_users(self, triton: grpc.InferenceServerClient) -> None:
        answer = send(triton, "encode", {"TEXT": strings("a", "b", "c", b"\xff").T}, {})
        check = [send(triton, "rank", RANK, {}) for _ in range(BATCH)]
        with pytest.raises(grpc.InferenceServerException, match=r"TEXT\[3\] is not UTF-8"):
            answer.result(TIMEOUT)
        for each in check:
            check_good("rank", each.result(TIMEOUT))

    def test_invalid_utf8_is_refused_among_texts(
        self, ensemble: grpc.InferenceServerClient
    ) -> None:
        """Their texts share a batch of the tokenizer."""
        before = full_batches(ensemble, "tokenizer")
        good = [send(ensemble, "encode", {"TEXT": strings("toy")}, {}) for _ in range(BATCH - 1)]
        bad = send(ensemble, "encode", {"TEXT": strings(b"\xff")}, {})
        with pytest.raises(grpc.InferenceServerException, match=r"TEXT\[0\] is not UTF-8"):
            bad.result(TIMEOUT)
        for each in good:
            assert each.result(TIMEOUT)["VECTOR"].tolist() == [[9]]
        assert within(TIMEOUT, lambda: full_batches(ensemble, "tokenizer") == before + 1)

    def test_more_than_a_batch_is_refused(self, triton: grpc.InferenceServerClient) -> None:
        answer = send(triton, "encode", {"TEXT": strings(*"abcde").T}, {})
        with pytest.raises(grpc.InferenceServerException, match="batch-size must be <= 4"):
            answer.result(TIMEOUT)
