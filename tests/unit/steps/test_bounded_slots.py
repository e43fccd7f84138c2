"""The tokenizer for engines that take neither empty tensors nor tensors of any length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.request_tokenizer import RequestTokenizer
from model_repository.slots import NO_ITEM
from tests.unit.steps.conftest import Parts


@pytest.fixture(scope="module")
def tokenizer(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> RequestTokenizer:
    directory = tmp_path_factory.mktemp("bounded")
    shutil.copytree(parts.directory, directory, dirs_exist_ok=True)
    file: Path = directory / "settings.json"
    settings = json.loads(file.read_text()) | {"min_slots": 1, "max_candidates": 2}
    file.write_text(json.dumps(settings))
    return RequestTokenizer(directory)


def ask(tokenizer: RequestTokenizer, **tensors: list[str]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    request = Request(
        {
            name: np.array([[value.encode() for value in values]], object).reshape(1, -1)
            for name, values in tensors.items()
        },
        {},
    )
    (answer,) = tokenizer([request])
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)


def test_a_new_user_has_one_slot_of_no_item(tokenizer: RequestTokenizer) -> None:
    answer = ask(tokenizer, HISTORY=[])
    assert answer["HISTORY_SLOT"].tolist() == [[NO_ITEM]]
    assert answer["HISTORY_ACTION_ID"].tolist() == answer["HISTORY_GAP"].tolist() == [[0]]
    assert answer["EXCLUDE_SLOT"].tolist() == [[NO_ITEM]]


def test_what_is_not_empty_stays_as_it_is(tokenizer: RequestTokenizer) -> None:
    answer = ask(tokenizer, HISTORY=["i3", "i4"])
    assert answer["HISTORY_SLOT"].tolist() == answer["EXCLUDE_SLOT"].tolist() == [[3, 4]]


def test_no_candidates_and_too_many_are_refused(tokenizer: RequestTokenizer) -> None:
    assert ask(tokenizer, HISTORY=[], CANDIDATE=["i1", "i2"])["CANDIDATE_SLOT"].tolist() == [[1, 2]]
    with pytest.raises(InvalidRequest, match="CANDIDATE is empty"):
        ask(tokenizer, HISTORY=["i1"], CANDIDATE=[])
    with pytest.raises(InvalidRequest, match="3 candidates, and the engines rank at most 2"):
        ask(tokenizer, HISTORY=["i1"], CANDIDATE=["i1", "i2", "i3"])
