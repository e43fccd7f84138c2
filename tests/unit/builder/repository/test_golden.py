from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from builder.errors import RepositoryError
from builder.repository import VersionRecord
from builder.repository.golden import (
    DETAIL,
    GoldenOutput,
    GoldenRequest,
    golden_of,
    golden_to_json,
)

LOGITS = np.array([[1.5, -200.0]], np.float32)
GOLDEN = GoldenRequest(
    "recommend",
    {"HISTORY": [["a", "b"]]},
    {"LOGIT": GoldenOutput.like(LOGITS, values=True), "VECTOR": GoldenOutput((1, 3))},
    {"top_k": 2},
)
GOOD = {"LOGIT": LOGITS, "VECTOR": np.zeros((1, 3), np.float32)}


def record(golden: Any) -> VersionRecord:
    return VersionRecord("", "", "", (), json.loads(json.dumps({DETAIL: golden})))


def test_what_is_stored_is_read_back() -> None:
    assert golden_of(record(golden_to_json([GOLDEN]))) == (GOLDEN,)
    assert golden_of(VersionRecord("", "", "", ())) == ()


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({}, None),
        ({"LOGIT": LOGITS + np.float32(0.009)}, None),
        ({"LOGIT": LOGITS + np.array([0.03, 0], np.float32)}, "LOGIT is 1.53 instead of 1.5"),
        ({"LOGIT": LOGITS + np.array([0, 1.9], np.float32)}, None),  # relative to its size
        ({"LOGIT": LOGITS + np.array([0, 2.1], np.float32)}, "LOGIT is -197.9 instead of -200"),
        ({"LOGIT": LOGITS[:, ::-1]}, "LOGIT is -200 instead of 1.5"),
        ({"LOGIT": LOGITS[0]}, "LOGIT has shape [2] instead of [1, 2]"),
        ({"LOGIT": np.array([[1.5, np.nan]], np.float32)}, "LOGIT is not finite"),
        ({"VECTOR": np.full((1, 3), np.inf, np.float32)}, "VECTOR is not finite"),
        ({"VECTOR": np.full((1, 3), 9.0, np.float32)}, None),  # any finite numbers will do
        ({"VECTOR": np.zeros((1, 4), np.float32)}, "VECTOR has shape [1, 4] instead of [1, 3]"),
    ],
)
def test_an_answer_is_held_to_the_golden_one(found: dict[str, Any], problem: str | None) -> None:
    assert GOLDEN.problem({**GOOD, **found}) == problem


def test_an_output_that_is_missing() -> None:
    assert GOLDEN.problem({"LOGIT": LOGITS}) == "VECTOR is missing"


@pytest.mark.parametrize(
    "broken",
    [
        7,
        [{}],
        [{**golden_to_json([GOLDEN])[0], "inputs": [1]}],
        [{**golden_to_json([GOLDEN])[0], "outputs": {"LOGIT": {"shape": [2], "values": [1]}}}],
    ],
)
def test_what_cannot_be_read_is_refused(broken: Any) -> None:
    with pytest.raises(RepositoryError, match="golden requests in the manifest cannot be read"):
        golden_of(record(broken))
