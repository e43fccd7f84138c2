"""What stands between Triton and a handler."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_repository.core import contract
from model_repository.core.batch import Later, Outcome, Request
from model_repository.core.errors import InvalidRequest, Unavailable
from model_repository.steps.libraries import LIBRARIES_FILE
from tests.unit.model_repository.backend import Backend, IncomingRequest
from tests.unit.model_repository.conftest import Parts, plain

INVALID_ARG, INTERNAL, CANCELLED, OVERLOADED, UNAVAILABLE = 1, 2, 3, 4, 5
OUTPUTS = ["NUMBER", "OTHER"]


class Numbers:
    """Answers its id, or its parameters: a number; "bad", "broken" or "later" and a number."""

    def __init__(self) -> None:
        self.may_finish = threading.Event()
        self.begun = threading.Semaphore(0)
        self.broken: Exception | None = None
        self.finished: list[str] = []
        self.closed = False

    def __call__(self, requests: Sequence[Request]) -> list[Outcome | Later]:
        return [self._answer(request) for request in requests]

    def finish(self, waiting: Sequence[Later]) -> list[Outcome]:
        self.begun.release()
        assert self.may_finish.wait(10)
        if self.broken:
            raise self.broken
        self.finished += [each.request for each in waiting]
        return [_number(each.request) for each in waiting]

    def close(self) -> None:
        self.closed = True

    def _answer(self, request: Request) -> Outcome | Later:
        word, _, number = (request.id or request.parameters).partition(" ")
        if word == "bad":
            return InvalidRequest("send a number")
        if word == "broken":
            return KeyError("the engine's secrets")
        if word == "large":
            raise MemoryError
        if word == "unavailable":
            return Unavailable("encode is not available; call again")
        return Later(number) if word == "later" else _number(word)


class Odd(dict[str, Any]):
    """Outputs of which no tensors can be made."""

    def items(self) -> Any:
        raise RuntimeError("a fault of ours")


def _number(text: str) -> Outcome:
    if text == "bad":
        return InvalidRequest("send a number")
    if text == "odd":
        return Odd()
    return {"NUMBER": np.array([[int(text)]]), "OTHER": np.array([[0]])}


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def model(
    backend: Backend, numbers: Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """An instance of a model whose handler is ``numbers``."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / LIBRARIES_FILE).write_text("{}")
    loaded: list[tuple[Path, str]] = []

    def load(directory: Path, name: str) -> Numbers:
        loaded.append((directory, name))
        return numbers

    monkeypatch.setattr("model_repository.steps.tokenizer.load", load)
    made = new_model("tokenizer", tmp_path, "7")
    assert loaded == [(tmp_path / "7", "tokenizer")]
    assert backend.warnings == []
    yield made
    numbers.may_finish.set()
    made.finalize()


def new_model(name: str, directory: Path, version: str, **config: Any) -> Any:
    made = import_module("model_repository.steps.triton_model").TritonPythonModel()
    made.initialize(
        {
            "model_config": json.dumps({"name": name, **config}),
            "model_repository": str(directory),
            "model_version": version,
        }
    )
    return made


def asked(*parameters: str, outputs: Sequence[str] = OUTPUTS) -> list[IncomingRequest]:
    return [IncomingRequest({}, outputs, each) for each in parameters]


def number(response: Any) -> int:
    assert not response.has_error()
    return int(response.tensors["NUMBER"].item())


def test_a_handler_is_told_the_id_of_a_request(model: Any) -> None:
    (response,) = model.execute([IncomingRequest({}, OUTPUTS, "", "81")])
    assert number(response) == 81


@pytest.mark.usefixtures("backend")
def test_each_model_of_the_contract_has_a_handler() -> None:
    loaders = import_module("model_repository.steps.triton_model").LOADERS
    steps = (
        *contract.ENCODE_STEPS.steps,
        *contract.RANK_TEXTS_STEPS.steps,
        *contract.classify_steps(token_types=True).steps,
        contract.USER_ENCODER,
        contract.RANK,
        contract.RECOMMEND,
        contract.OBSERVE,
        contract.ENCODE,
    )
    assert loaders.keys() == {step.name for step in steps}
    for module, function in loaders.values():
        assert callable(getattr(import_module(f"model_repository.steps.{module}"), function))


def test_each_gets_its_answer_and_no_output_that_it_did_not_ask_for(model: Any) -> None:
    first, second = model.execute([*asked("5"), *asked("6", outputs=["NUMBER"])])
    assert (number(first), number(second)) == (5, 6)
    assert list(first.tensors) == OUTPUTS
    assert list(second.tensors) == ["NUMBER"]


def test_who_is_at_fault_is_told_and_who_is_not_only_that(model: Any, backend: Backend) -> None:
    good, bad, broken = model.execute(asked("5", "bad", "broken"))
    assert number(good) == 5
    assert (bad.error().message(), bad.error().code()) == ("send a number", INVALID_ARG)
    assert broken.error().code() == INTERNAL
    assert broken.error().message() == (
        "tokenizer failed (KeyError); the server's log has the traceback"
    )
    model.finalize()
    assert backend.counted == {"tritonrec_requests_invalid": 1, "tritonrec_requests_failed": 1}
    (logged,) = backend.errors
    assert "the engine's secrets" in logged


def test_what_is_no_text_fails_its_own_request_alone(model: Any, backend: Backend) -> None:
    good, name, parameter = model.execute(
        [
            *asked("5"),
            IncomingRequest({}, OUTPUTS, "", b"\xff"),
            IncomingRequest({}, OUTPUTS, b'{"x":"\xff"}'),
        ]
    )
    assert number(good) == 5
    for each in (name, parameter):
        assert each.error().code() == INVALID_ARG
        assert each.error().message().endswith("is no UTF-8 text; send it as UTF-8")
    assert backend.errors == []


def test_what_another_model_lacks_is_no_fault_of_this_one(model: Any, backend: Backend) -> None:
    good, gone = model.execute(asked("5", "unavailable"))
    assert number(good) == 5
    assert gone.error().message() == "encode is not available; call again"
    assert gone.error().code() == UNAVAILABLE
    assert backend.errors == ["tokenizer: encode is not available; call again"]


def test_nobody_waits_for_those_that_are_answered_later(model: Any, numbers: Numbers) -> None:
    requests = asked("later 5", "6", "later bad", "later 7")
    found = model.execute(requests)
    assert [each is None for each in found] == [True, False, True, True]
    assert number(found[1]) == 6
    assert number(model.execute(asked("8"))[0]) == 8  # nor does the next batch
    assert all(not each.sender.sent for each in requests)
    numbers.may_finish.set()
    model.finalize()  # waits for them
    (first,), (refused,), (last,) = (requests[place].sender.sent for place in (0, 2, 3))
    assert (number(first[0]), number(last[0])) == (5, 7)
    assert list(first[0].tensors) == OUTPUTS
    assert refused[0].error().code() == INVALID_ARG
    assert {flags for _, flags in (first, refused, last)} == {"final"}
    assert requests[1].sender.sent == []


def test_a_fault_of_the_handler_still_answers_all_that_wait(
    model: Any, numbers: Numbers, backend: Backend
) -> None:
    numbers.broken = RuntimeError("the engine's secrets")
    requests = asked("later 5", "later 6")
    model.execute(requests)
    numbers.may_finish.set()
    model.finalize()
    for request in requests:
        ((response, flags),) = request.sender.sent
        assert (response.error().code(), flags) == (INTERNAL, "final")
        assert "secrets" not in response.error().message()
    assert len(backend.errors) == 2


def test_a_process_that_gets_no_memory_ends(
    model: Any, numbers: Numbers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    with pytest.raises(MemoryError):  # which a process that ended does not hear of
        model.execute(asked("5", "large"))
    assert ended == [1]
    numbers.broken = MemoryError()
    model.execute(asked("later 5"))
    numbers.may_finish.set()
    model.finalize()  # waits for it
    assert ended == [1, 1]
    assert capfd.readouterr().err == 2 * "tokenizer gets no memory, so its process ends\n"


def test_texts_of_callers_that_have_gone_are_not_encoded(
    model: Any, numbers: Numbers, backend: Backend
) -> None:
    requests = asked("later 5", "later 6", "later 7")
    requests[1].sender.gone = True
    model.execute(requests)
    numbers.may_finish.set()
    model.finalize()
    assert numbers.finished == ["5", "7"]
    (first,), (gone,), (last,) = (each.sender.sent for each in requests)
    assert (number(first[0]), number(last[0])) == (5, 7)
    assert backend.counted == {"tritonrec_requests_dropped": 1}
    assert gone[0].error().code() == CANCELLED
    assert gone[1] == "final"


def test_an_answer_that_cannot_be_made_or_sent_keeps_no_other_back(
    model: Any, backend: Backend, numbers: Numbers
) -> None:
    requests = asked("later 5", "later odd", "later 6", "later 7", "later 8")

    def fail(*_: object) -> Any:
        raise RuntimeError("the connection is gone")

    vars(requests[0].sender).update(send=fail)
    vars(requests[2].sender).update(is_cancelled=fail)
    model.execute(requests)
    numbers.may_finish.set()
    model.finalize()
    odd, *others = (each.sender.sent for each in requests[1:])
    assert [number(response) for ((response, _),) in others] == [6, 7, 8]
    ((response, flags),) = odd
    assert (response.error().code(), flags) == (INTERNAL, "final")
    assert backend.counted == {"tritonrec_requests_failed": 2}
    assert len(backend.errors) == 2
    assert any("the connection is gone" in each for each in backend.errors)


def test_each_request_has_a_line_in_the_access_log_that_says_how_it_ended(
    backend: Backend, numbers: Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    monkeypatch.setenv("TRITONREC_ACCESS_LOG", str(log))
    monkeypatch.setenv("TRITONREC_ACCESS_LOG_SHARE", "1")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / LIBRARIES_FILE).write_text("{}")
    monkeypatch.setattr("model_repository.steps.tokenizer.load", lambda *_: numbers)
    model = new_model("tokenizer", tmp_path, "7")
    words = ("5", "bad", "broken", "later 6", "later bad", "later 7")
    tensors = {"TEXT": np.array([[b"toy"]], np.object_)}
    requests = [IncomingRequest(tensors, OUTPUTS, each, each) for each in words]
    requests[-1].sender.gone = True
    monkeypatch.setattr("model_repository.steps.access_log._options", lambda _: {})
    model._note_refused(requests[:1], [])
    model.execute(requests)
    numbers.may_finish.set()
    model.finalize()
    assert numbers.closed
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(each["id"], each["code"]) for each in lines] == [
        ("5", "ALREADY_EXISTS"), ("5", "OK"), ("bad", "INVALID_ARG"), ("broken", "INTERNAL"),
        ("later 6", "OK"), ("later bad", "INVALID_ARG"), ("later 7", "CANCELLED"),
    ]  # fmt: skip
    assert backend.counted == {
        "tritonrec_requests_refused": 1,
        "tritonrec_requests_invalid": 2,
        "tritonrec_requests_failed": 1,
        "tritonrec_requests_dropped": 1,
    }


@pytest.mark.parametrize(
    ("waited", "refused"),
    [(0.09, []), (0.11, ["3"]), (0.16, ["3", "4"]), (0.41, ["2", "3", "4"])],
)
def test_what_was_put_off_is_refused_once_it_has_waited_for_too_long(
    backend: Backend,
    numbers: Numbers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    refused: list[str],
) -> None:
    """Before any of it is encoded, background work after a quarter of the time."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / LIBRARIES_FILE).write_text("{}")
    monkeypatch.setattr("model_repository.steps.tokenizer.load", lambda *_: numbers)
    shell = import_module("model_repository.steps.triton_model")
    now = [100.0]
    monkeypatch.setattr(shell, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(shell, "_LATER_AT_ONCE", 1)
    limit = {contract.MAX_WAIT: {"string_value": "400"}}
    model = new_model("tokenizer", tmp_path, "7", parameters=limit, output=[{"name": "NUMBER"}])
    model.execute([IncomingRequest({}, OUTPUTS, "", "later 1")])
    assert numbers.begun.acquire(timeout=10)
    requests = [
        IncomingRequest({}, OUTPUTS, "", "later 2"),
        IncomingRequest({}, OUTPUTS, '{"background":true}', "later 3"),
        IncomingRequest({}, OUTPUTS, "", "later 4", timeout=300_000),  # half of it is 0.15 s
    ]
    assert model.execute(requests) == [None] * 3
    now[0] += waited
    numbers.may_finish.set()
    model.finalize()
    assert numbers.finished == [each for each in "1234" if each not in refused]
    for each, name in zip(requests, "234", strict=True):
        ((response, flags),) = each.sender.sent
        assert flags == "final"
        if name not in refused:
            assert number(response) == int(name)
            continue
        assert response.error().code() == OVERLOADED
        assert "tokenizer is overloaded: requests wait for more than 400 ms" in (
            response.error().message()
        )
    assert backend.counted["tritonrec_requests_refused"] == len(refused)


@pytest.fixture
def tokenizer(parts: Parts, tmp_path: Path) -> Callable[..., Path]:
    """A repository with version 1 of the tokenizer, exported with these libraries."""

    def make(**libraries: str) -> Path:
        shutil.copytree(parts.directory, tmp_path / "1")
        (tmp_path / "1" / LIBRARIES_FILE).write_text(json.dumps(libraries))
        return tmp_path

    return make


def test_a_real_model_loads_and_answers(backend: Backend, tokenizer: Callable[..., Path]) -> None:
    model = new_model("tokenizer", tokenizer(numpy="0.0"), "1")
    (warning,) = backend.warnings
    assert "tokenizer: numpy is " in warning
    request = IncomingRequest(plain("toy").tensors, ["INPUT_IDS", "TRUNCATED"])
    (response,) = model.execute([request])
    assert response.tensors["INPUT_IDS"].tolist() == [[2, 4, 3, 0]]
    option = IncomingRequest(plain("toy").tensors, ["INPUT_IDS"], '{"top_q": 1}')
    (refused,) = model.execute([option])
    assert refused.error().code() == INVALID_ARG
    model.finalize()


@pytest.mark.usefixtures("backend")
def test_a_missing_library_is_named_before_anything_is_loaded(
    tokenizer: Callable[..., Path],
) -> None:
    with pytest.raises(RuntimeError, match="pip install no-such-thing==1"):
        new_model("tokenizer", tokenizer(**{"no-such-thing": "1"}), "1")


@pytest.mark.usefixtures("backend")
def test_bytes_are_read_by_the_fast_reader() -> None:
    shell = import_module("model_repository.steps.triton_model")
    assert shell.pb_utils.deserialize_bytes_tensor.__module__.endswith(".bytes_reader")


@pytest.mark.usefixtures("backend")
def test_there_is_no_limit_where_requests_wait_longer_for_company() -> None:
    gate_of = import_module("model_repository.steps.triton_model")._gate
    limit = {"parameters": {contract.MAX_WAIT: {"string_value": "50"}}}
    for delay in (60_000, 20_000_000):
        config = limit | {"dynamic_batching": {"max_queue_delay_microseconds": delay}}
        assert gate_of({"name": "rank", **config}, 1, list) is None
    assert gate_of({"name": "rank"}, 1, list) is None
