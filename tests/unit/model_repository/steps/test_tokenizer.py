"""Texts → what the encoder takes: plain ones, and those of a user's events."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repository.core import contract
from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.steps.tokenizer import RequestTokenizer, load
from tests.unit.model_repository.conftest import MAX_LENGTH, MAX_ROWS, Parts, plain, strings

Tokens = dict[str, NDArray[Any]]
Answer = Callable[[Request], Tokens]
LONG = "story " * 99


@pytest.fixture(scope="module")
def tokenize(parts: Parts) -> RequestTokenizer:
    return load(parts.directory, "tokenizer")


@pytest.fixture(scope="module")
def answer(tokenize: RequestTokenizer) -> Answer:
    """Return one request's tensors, or raise what it is refused with."""

    def one(request: Request) -> Tokens:
        (outcome,) = tokenize([request])
        if isinstance(outcome, Exception):
            raise outcome
        return dict(outcome)

    return one


def of_user(history: Sequence[str | bytes], candidates: Sequence[str | bytes]) -> Request:
    return Request({"HISTORY_TEXT": strings(history), "CANDIDATE_TEXT": strings(candidates)})


class TestTexts:
    def test_each_row_in_its_order_without_merging(self, answer: Answer) -> None:
        tensors = answer(plain("toy", "story", "toy", ""))
        assert [row[1] for row in tensors["INPUT_IDS"]] == [4, 5, 4, 3]
        assert tensors["TRUNCATED"].tolist() == [[0], [0], [0], [0]]
        assert tensors.keys() == {"INPUT_IDS", "TRUNCATED"}
        assert tensors["INPUT_IDS"].dtype == tensors["TRUNCATED"].dtype == np.int32

    @pytest.mark.parametrize(
        ("words", "length"), [(2, 4), (3, 8), (6, 8), (7, 16), (14, 16), (15, 16), (500, 16)]
    )
    def test_the_smallest_bucket_that_holds_the_longest(
        self, answer: Answer, words: int, length: int
    ) -> None:
        tensors = answer(plain("toy", "toy " * words))
        assert tensors["INPUT_IDS"].shape == (2, length)
        assert tensors["TRUNCATED"].tolist() == [[0], [int(words > MAX_LENGTH - 2)]]
        assert tensors["INPUT_IDS"][1].max(initial=0) == 4
        assert 3 in tensors["INPUT_IDS"][1]  # the closing special token outlives the cut

    def test_a_megabyte_is_cut_and_said_to_be(self, answer: Answer) -> None:
        tensors = answer(plain("toy " * 250_000, "a" * 1_000_000, "é" * 500_000))
        assert tensors["INPUT_IDS"].shape == (3, MAX_LENGTH)
        assert tensors["TRUNCATED"].tolist() == [[1], [1], [1]]


class TestUsers:
    def test_every_output_of_the_contract_in_its_type_and_shape(self, answer: Answer) -> None:
        tensors = answer(of_user(["toy", "story"], ["the matrix", "toy", "cats"]))
        assert tensors.keys() == {spec.name for spec in contract.TOKENIZER.outputs}
        lengths = {"H": 2, "N": 3, "R": 4, "L": 4}
        for spec in contract.TOKENIZER.outputs:
            assert tensors[spec.name].dtype == np.int32
            expected = tuple(lengths[axis] if isinstance(axis, str) else axis for axis in spec.dims)
            assert tensors[spec.name].shape == expected, spec.name

    def test_a_text_that_occurs_twice_is_one_row(self, answer: Answer) -> None:
        tensors = answer(of_user(["toy", "story", "toy"], ["story", "cats"]))
        assert tensors[contract.HISTORY_ROW.name].tolist() == [[0, 1, 0]]
        assert tensors[contract.CANDIDATE_ROW.name].tolist() == [[1, 2]]
        assert tensors["INPUT_IDS"][:, 1].tolist() == [4, 5, 11]

    def test_a_new_user_has_no_rows(self, answer: Answer) -> None:
        tensors = answer(of_user([], ["toy"]))
        assert tensors[contract.HISTORY_ROW.name].shape == (1, 0)
        assert tensors[contract.CANDIDATE_ROW.name].tolist() == [[0]]

    def test_a_user_learns_how_many_texts_were_cut(self, answer: Answer) -> None:
        tensors = answer(of_user([LONG, "toy"], ["film " * 99, LONG]))
        assert tensors["TRUNCATED"].tolist() == [[2]]


REFUSED = [
    (plain("fine", b"\xc3"), r"TEXT\[1\] is not UTF-8"),
    (plain(*["same"] * 9), "the request has 9 texts to encode, and at most 8 fit in one; split"),
    (
        Request({"TEXT": np.array([[b"a", b"b"]], np.object_)}),
        r"TEXT must have shape \[B, 1\], not \[1, 2\]",
    ),
    (Request({"TEXT": np.zeros((1, 1), np.int32)}), "TEXT must be BYTES, not int32"),
    (Request(plain("toy").tensors, '{"top_q": 1}'), "did you mean top_k"),
    (of_user(["a", b"caf\xe9"], ["b"]), r"HISTORY_TEXT\[1\] is not UTF-8 \(byte 3 is 0xe9\)"),
    (of_user([], [b"\xff"]), r"CANDIDATE_TEXT\[0\] is not UTF-8"),
    (of_user(["toy"], []), "CANDIDATE_TEXT is empty; send at least one item to rank"),
    (of_user(["toy", " "], ["b"]), r"HISTORY_TEXT\[1\] is empty; send a text for each"),
    (of_user(["toy"], ["b", ""]), r"CANDIDATE_TEXT\[1\] is empty; send a text for each"),
    (of_user([], [f"toy {n}" for n in range(9)]), "the request has 9 texts to encode"),
    (Request({"HISTORY_TEXT": strings(["a"])}), "CANDIDATE_TEXT is missing, and so is TEXT"),
    (Request({}), "HISTORY_TEXT is missing, and so is TEXT; send one of them"),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED)
def test_each_is_refused_by_name_and_alone(
    tokenize: RequestTokenizer, request_: Request, message: str
) -> None:
    good = of_user(["the matrix"], ["the matrix"])
    before, refused, after = tokenize([good, request_, plain("toy story")])
    assert isinstance(refused, InvalidRequest)
    with pytest.raises(InvalidRequest, match=message):
        raise refused
    assert not isinstance(before, Exception)
    assert not isinstance(after, Exception)
    assert before["INPUT_IDS"].tolist() == [[2, 6, 7, 3]]
    assert after["INPUT_IDS"].tolist() == [[2, 4, 5, 3]]


@pytest.mark.parametrize("buckets", [[8, 4], [4, 4], []])
def test_settings_that_are_nonsense_fail_at_loading(
    parts: Parts, tmp_path: Path, buckets: list[int]
) -> None:
    shutil.copytree(parts.directory, tmp_path, dirs_exist_ok=True)
    settings = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(settings | {"length_buckets": buckets}))
    with pytest.raises(ValueError, match="must ascend"):
        load(tmp_path, "tokenizer")


texts = st.sampled_from(["", "toy", "story", "cats", "the matrix", "a film " * 9, "Ünknown", "z"])
rows = st.lists(texts, max_size=10)
requests = st.one_of(
    st.builds(of_user, rows, rows),
    st.builds(lambda row: plain(*row), st.lists(texts, min_size=1, max_size=10)),
)


@given(st.lists(requests, max_size=5))
def test_a_batch_is_its_requests_one_at_a_time(
    tokenize: RequestTokenizer, batch: Sequence[Request]
) -> None:
    for together, request in zip(tokenize(batch), batch, strict=True):
        (alone,) = tokenize([request])
        if isinstance(alone, Exception):
            assert isinstance(alone, InvalidRequest)
            assert str(together) == str(alone)
        else:
            assert not isinstance(together, Exception)
            assert together.keys() == alone.keys()
            for name, values in alone.items():
                np.testing.assert_array_equal(together[name], values)


@given(st.lists(st.text(max_size=40).filter(str.strip), min_size=1, max_size=MAX_ROWS))
def test_every_text_is_in_the_row_that_names_it(
    parts: Parts, answer: Answer, batch: Sequence[str]
) -> None:
    tensors = answer(of_user([], batch))
    for text, place in zip(batch, tensors[contract.CANDIDATE_ROW.name][0], strict=True):
        tokens = parts.tokenizer.encode(text).ids
        if len(tokens) > MAX_LENGTH:
            tokens = [*tokens[: MAX_LENGTH - 1], tokens[-1]]
        row = tensors["INPUT_IDS"][place].tolist()
        assert row[: len(tokens)] == tokens
        assert not any(row[len(tokens) :])
