"""The step against the tokenizer of ``transformers``, and a bad request among good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.classifier.checkpoint import Classifier, load_classifier
from builder.export.classifier import ClassifierExport
from builder.export.layout import Layout, Limits
from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.steps.tokenizer import RequestTokenizer, TokenizerSettings, load
from tests.unit.builder.classifier.conftest import tiny
from tests.unit.builder.classifier.tiny import ARCHITECTURES, MAX_LENGTH

__all__ = ["tiny"]


def column(*values: str | bytes) -> NDArray[Any]:
    row = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array(row, np.object_).reshape(-1, 1)


Step = tuple[RequestTokenizer, Classifier]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def step(
    request: pytest.FixtureRequest,
    tiny: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Step:
    return make_step(tiny(request.param), tmp_path_factory.mktemp("step"))


@pytest.fixture(scope="module")
def tokenize(
    tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> RequestTokenizer:
    return make_step(tiny("bert"), tmp_path_factory.mktemp("step"))[0]


def make_step(source: Path, directory: Path) -> Step:
    classifier = load_classifier(str(source))
    layout = Layout.of_classifier(classifier, Limits(max_rows=4))
    ClassifierExport(classifier, layout)._write_tokenizer(directory)
    return load(directory, "pair_tokenizer"), classifier


WORDS = st.sampled_from(["toy", "story", "the Matrix", "1999", "é😀", "七人", " ", "\n", "cat!"])
TEXTS = st.lists(WORDS, max_size=30).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_rows_are_those_of_transformers(step: Step, pairs: list[tuple[str, str]]) -> None:
    tokenize, classifier = step
    firsts, seconds = zip(*pairs, strict=True)
    (outcome,) = tokenize([Request({"TEXT": column(*firsts), "TEXT_PAIR": column(*seconds)})])
    assert isinstance(outcome, dict)
    assert outcome["INPUT_IDS"].shape[1] in (8, 16, MAX_LENGTH)
    assert ("TOKEN_TYPE_IDS" in outcome) is classifier.token_types
    for place, (text, second) in enumerate(pairs):
        whole = classifier.tokenizer(text, second or None, verbose=False)["input_ids"]
        cut = classifier.tokenizer(text, second or None, truncation=True, max_length=MAX_LENGTH)
        length = len(cut["input_ids"])
        row = outcome["INPUT_IDS"][place]
        assert row[:length].tolist() == cut["input_ids"]
        assert set(row[length:].tolist()) <= {classifier.pad_id}
        if classifier.token_types:
            types = outcome["TOKEN_TYPE_IDS"][place]
            assert types[:length].tolist() == cut["token_type_ids"]
            assert not types[length:].any()
        assert outcome["TRUNCATED"][place].tolist() == [len(whole) > MAX_LENGTH]


def test_an_empty_second_text_is_none(tokenize: RequestTokenizer) -> None:
    with_none, without = tokenize(
        [
            Request({"TEXT": column("toy", "story"), "TEXT_PAIR": column("", "")}),
            Request({"TEXT": column("toy", "story")}),
        ]
    )
    assert isinstance(with_none, dict)
    assert isinstance(without, dict)
    for name, values in without.items():
        np.testing.assert_array_equal(with_none[name], values)


def test_a_megabyte_is_cut_and_said_to_be(tokenize: RequestTokenizer) -> None:
    (outcome,) = tokenize([Request({"TEXT": column("toy " * 250_000), "TEXT_PAIR": column("a")})])
    assert isinstance(outcome, dict)
    assert outcome["INPUT_IDS"].shape == (1, MAX_LENGTH)
    assert outcome["TRUNCATED"].tolist() == [[1]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request({"TEXT": column("a", b"\xff")}), r"TEXT\[1\] is not UTF-8"),
        (
            Request({"TEXT": column("a"), "TEXT_PAIR": column(b"\xc3\x28")}),
            r"TEXT_PAIR\[0\] is not UTF-8",
        ),
        (
            Request({"TEXT": column("a", "b"), "TEXT_PAIR": column("c")}),
            "TEXT_PAIR has 1 values and TEXT has 2",
        ),
        (Request({"TEXT": column("a").T.reshape(1, 1, 1)}), r"shape \[B, 1\]"),
        (Request({"TEXT": np.ones((1, 1), np.float32)}), "TEXT must be BYTES"),
        (Request({"TEXT": column("a")}, '{"top_k": 1}'), "no option 'top_k'; classify has none"),
        (Request({"TEXT": column("a")}, '{"top": 1}'), "no option 'top'; classify has none"),
    ],
)
def test_a_bad_request_is_refused_alone(
    tokenize: RequestTokenizer, request_: Request, message: str
) -> None:
    good = Request({"TEXT": column("toy story")})
    (alone,) = tokenize([good])
    before, bad, after = tokenize([good, request_, good])
    assert isinstance(bad, InvalidRequest)
    with pytest.raises(InvalidRequest, match=message):
        raise bad
    assert isinstance(alone, dict)
    for outcome in (before, after):
        assert isinstance(outcome, dict)
        for name, values in alone.items():
            np.testing.assert_array_equal(outcome[name], values)


@pytest.mark.parametrize("buckets", [[], [16, 8], [8, 8]])
def test_buckets_ascend(buckets: list[int]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        TokenizerSettings(buckets, 0, 4, token_types=True)
