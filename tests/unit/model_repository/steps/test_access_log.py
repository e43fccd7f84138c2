"""A share of the requests leave a line each, which names nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repository.steps.access_log import AccessLog, from_environment
from tests.unit.model_repository.backend import IncomingRequest

SECRETS = ("i1", "i7", "user-42", "a secret text")


def request(
    name: str | bytes = "r1", parameters: str | bytes = '{"top_k":5,"traceparent":"user-42"}'
) -> Any:
    tensors = {
        "HISTORY": np.array([[b"i1", b"i2", b"i3"]], np.object_),
        "CANDIDATE": np.array([[b"i7"]], np.object_),
        "CANDIDATE_TEXT": np.array([[b"a secret text"]], np.object_),
        "PROFILE": np.array([[b'{"user": "user-42"}']], np.object_),
    }
    return IncomingRequest(tensors, ["LOGIT"], parameters, name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def log(file: Path) -> Iterator[AccessLog]:
    made = AccessLog(str(file), 0.5, "rank", 3, iter([0.4, 0.5, 0.0]).__next__)
    yield made
    made.close()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_how_much_was_asked_and_names_nobody(log: AccessLog, file: Path) -> None:
    log.end(log.begin(request()), "OK")
    (line,) = lines(file)
    assert line.pop("time").endswith("Z")
    assert line.pop("ms") >= 0
    assert line == {
        "model": "rank", "version": 3, "id": "r1", "code": "OK",
        "history": 3, "candidates": 1, "candidate_texts": 1, "top_k": 5,
    }  # fmt: skip
    assert not any(secret in file.read_text() for secret in SECRETS)


def test_a_share_of_the_requests_is_logged(log: AccessLog, file: Path) -> None:
    for name in ("first", "second", "third"):
        log.end(log.begin(request(name)), "OK")
    assert [line["id"] for line in lines(file)] == ["first", "third"]


def test_what_models_ask_a_network_has_no_line(file: Path) -> None:
    log = AccessLog(str(file), 1, "encoder", 1)
    inner = IncomingRequest({"INPUT_IDS": np.zeros((1, 8), np.int32)}, ["VECTOR"])
    assert log.begin(inner) is None
    log.close()


def test_a_wrong_option_and_a_long_name_are_not_repeated(log: AccessLog, file: Path) -> None:
    log.end(log.begin(request("x" * 500, '{"top_k":"user-42"}')), "INVALID_ARG")
    (line,) = lines(file)
    assert line["id"] == "x" * 64
    assert "top_k" not in line


def test_what_is_no_text_is_left_out(log: AccessLog, file: Path) -> None:
    log.end(log.begin(request(b"\xff", b'{"top_k":5,"x":"\xff"}')), "INVALID_ARG")
    (line,) = lines(file)
    assert line["id"] == ""
    assert line["history"] == 3
    assert "top_k" not in line


def test_a_pipe_that_nobody_empties_holds_nobody_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(pipe), 1, "rank", 1)
    for _ in range(2000):  # more than a pipe holds
        log.end(log.begin(request()), "OK")
    first = os.read(reader, 1 << 20).decode().splitlines()[0]
    assert json.loads(first)["code"] == "OK"
    log.close()
    os.close(reader)


def test_the_environment_says_whether_there_is_one(file: Path) -> None:
    assert from_environment("rank", 1, {}) is None
    assert from_environment("rank", 1, {"TRITONREC_ACCESS_LOG": ""}) is None
    made = from_environment(
        "rank", 1, {"TRITONREC_ACCESS_LOG": str(file), "TRITONREC_ACCESS_LOG_SHARE": "1"}
    )
    assert made is not None
    made.end(made.begin(request()), "OK")
    made.close()
    assert len(lines(file)) == 1


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "often"])
def test_a_share_that_is_none_is_named(file: Path, share: str) -> None:
    wrong = {"TRITONREC_ACCESS_LOG": str(file), "TRITONREC_ACCESS_LOG_SHARE": share}
    with pytest.raises(ValueError, match=r"TRITONREC_ACCESS_LOG_SHARE is .* from 0 to 1"):
        from_environment("rank", 1, wrong)
