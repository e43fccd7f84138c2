from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import contract
from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.policy import Policy
from model_repository.slots import EXCLUDED_LOGIT

CATALOGUE = 30


def load(directory: Path, max_top_k: int) -> Policy:
    (directory / "items.json").write_text(json.dumps([f"ï{i}" for i in range(CATALOGUE)]))
    (directory / "settings.json").write_text(json.dumps({"max_top_k": max_top_k}))
    return Policy(directory)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load(tmp_path_factory.mktemp("policy"), max_top_k=20)


def retrieved(index: Sequence[int], *, excluded: int = 0, **parameters: object) -> Request:
    """The retriever's answer: ``index`` best first, its last ``excluded`` ones masked."""
    logit = np.linspace(3, -3, len(index), dtype=np.float32)
    logit[len(index) - excluded :] = EXCLUDED_LOGIT
    tensors = {
        contract.INDEX.name: np.array([index], np.int32).reshape(1, -1),
        contract.INDEX_INTEREST.name: 1 / (1 + np.exp(-logit[np.newaxis].clip(-50))),
        contract.INDEX_LOGIT.name: logit[np.newaxis],
    }
    return Request(tensors, parameters)


def items(policy: Policy, request: Request) -> list[bytes]:
    (outcome,) = policy([request])
    if isinstance(outcome, Exception):
        raise outcome
    return list(outcome["ITEM"][0])


def test_the_outputs_are_those_of_the_contract(policy: Policy) -> None:
    (outcome,) = policy([retrieved([7, 3, 9], top_k=2)])
    assert not isinstance(outcome, Exception)
    dtypes = {"BYTES": np.object_, "FP32": np.float32}
    assert outcome.keys() == {spec.name for spec in contract.POLICY.outputs}
    for spec in contract.POLICY.outputs:
        assert outcome[spec.name].dtype == dtypes[spec.dtype]
        assert outcome[spec.name].shape == (1, 2)
    assert outcome["ITEM"].tolist() == [["ï7".encode(), "ï3".encode()]]
    assert outcome["LOGIT"].tolist() == [[3, 0]]


def test_ten_unless_told_otherwise(policy: Policy) -> None:
    assert len(items(policy, retrieved(range(20)))) == 10


def test_excluded_items_never_fill_up(policy: Policy) -> None:
    assert len(items(policy, retrieved(range(20), excluded=15, top_k=20))) == 5
    assert items(policy, retrieved(range(20), excluded=20)) == []


@given(st.permutations(range(20)), st.integers(0, 20), st.integers(1, 20))
def test_k_whenever_k_exist(
    policy: Policy, index: Sequence[int], excluded: int, top_k: int
) -> None:
    exist = [f"ï{i}".encode() for i in index][: 20 - excluded]
    assert items(policy, retrieved(index, excluded=excluded, top_k=top_k)) == exist[:top_k]


def test_more_than_the_retriever_ranks_is_refused(policy: Policy) -> None:
    with pytest.raises(InvalidRequest, match=r"at most 20 items.*builder export --max-top-k 21"):
        items(policy, retrieved(range(20), top_k=21))


def test_more_than_there_are_is_everything_where_the_catalogue_is_ranked(tmp_path: Path) -> None:
    policy = load(tmp_path, max_top_k=CATALOGUE)
    assert len(items(policy, retrieved(range(CATALOGUE), top_k=10**6))) == CATALOGUE


def test_one_bad_request_is_refused_alone(policy: Policy) -> None:
    outcomes = policy([retrieved([1]), retrieved([1], top_k=0), retrieved([2])])
    assert [isinstance(outcome, InvalidRequest) for outcome in outcomes] == [False, True, False]


def test_nan_is_a_fault_and_not_an_empty_answer(policy: Policy) -> None:
    request = retrieved([1, 2])
    request.tensors["INDEX_LOGIT"][0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        items(policy, request)
