"""The fused layout: the answers of the steps that it stands for, for whole batches of users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.data.splits import Holdout
from builder.errors import ConfigError, ExportError
from builder.export.pipeline import Limits, export
from builder.export.targets import TargetOptions
from builder.export.targets.embedded import Embedded
from builder.model.checkpoint import save_checkpoint
from builder.model.recommender import Recommender
from builder.repository import read_manifest
from model_repository.core import contract
from model_repository.core.batch import Handler, Outcome, Request
from model_repository.core.errors import InvalidRequest
from model_repository.graph import Graph
from model_repository.interest_requests import EncodedTexts, RankRequests, RecommendRequests
from model_repository.policy import Policy
from model_repository.request_tokenizer import RequestTokenizer
from model_repository.text_encoder import EncodeRequests
from tests.unit.model.tiny import ITEMS, sequences
from tests.unit.steps.conftest import plain, user

VALIDATION = Holdout(sequences([0, 1], [3, 4, 5]), np.array([2, 6], np.int32))
LIMITS = Limits(max_top_k=6, max_rows=4, cached_texts=3)
TEXTS = ["a dog film", "the cats", "matrix matrix", "toy", "a film about the matrix " * 9]


@pytest.fixture(scope="module")
def repositories(
    model: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What one checkpoint becomes in either layout."""
    root = tmp_path_factory.mktemp("fused")
    (root / "checkpoint").mkdir()
    save_checkpoint(root / "checkpoint", model, VALIDATION, config={}, metrics={})
    tokenizer = (backbone / "tokenizer.json").read_bytes()
    (root / "checkpoint/encoder/tokenizer.json").write_bytes(tokenizer)
    for layout in ("fused", "ensemble"):
        target = Embedded(TargetOptions(layout=layout))  # type: ignore[arg-type]
        export(root / "checkpoint", root / layout, target, LIMITS)
    return {layout: root / layout for layout in ("fused", "ensemble")}


class Encoding:
    """Encodes as the server's own model does, and counts how often it is asked for what."""

    def __init__(self, directory: Path) -> None:
        self._requests = EncodeRequests(directory)
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        self.asked.append(list(texts))
        if any("breaks" in text for text in texts):
            raise RuntimeError("no vector for that")
        (answer,) = self._requests([plain(*texts)])
        assert not isinstance(answer, Exception)
        return EncodedTexts(answer["VECTOR"], answer["TRUNCATED"][:, 0])


@pytest.fixture
def encoding(repositories: dict[str, Path]) -> Encoding:
    return Encoding(repositories["fused"] / "encode/1")


@pytest.fixture
def fused(repositories: dict[str, Path], encoding: Encoding) -> dict[str, Handler]:
    root = repositories["fused"]
    return {
        "rank": RankRequests(root / "rank/1", encoding),
        "recommend": RecommendRequests(root / "recommend/1", encoding),
        "encode": EncodeRequests(root / "encode/1"),
    }


class Ensemble:
    """The steps of the other layout, one after another."""

    def __init__(self, root: Path) -> None:
        self._steps: dict[str, Handler] = {
            "tokenizer": RequestTokenizer(root / "tokenizer/1"),
            "policy": Policy(root / "policy/1"),
            **{
                spec.name: Graph(root / spec.name / "1", batched=spec.batched)
                for spec in (contract.ENCODER, contract.ADAPTER, contract.RETRIEVER)
            },
        }

    def __call__(self, model: str, request: Request) -> Outcome:
        (ensemble,) = (each for each in contract.ENSEMBLES if each.model.name == model)
        tensors = dict(request.tensors)
        for step in ensemble.steps:
            given = {spec.name: tensors[spec.name] for spec in step.inputs if spec.name in tensors}
            (outcome,) = self._steps[step.name]([Request(given, request.parameters)])
            if isinstance(outcome, Exception):
                return outcome
            tensors |= outcome
        return {spec.name: tensors[spec.name] for spec in ensemble.model.outputs}


@pytest.fixture(scope="module")
def ensemble(repositories: dict[str, Path]) -> Ensemble:
    return Ensemble(repositories["ensemble"])


def users(model: str, number: int) -> Iterator[Request]:
    """Users of every kind: new ones, long histories, unknown items with and without a text."""
    random = np.random.default_rng(number)
    ids = [*(f"i{index}" for index in range(ITEMS)), "x", "y"]

    def texts(length: int) -> list[str]:
        return list(random.choice(["", *TEXTS[:2]], length))

    for _ in range(number):
        events, candidates = int(random.integers(0, 10)), int(random.integers(0, 6))
        columns: dict[str, Any] = {"history": list(random.choice(ids, events))}
        if random.random() < 0.5:
            columns["history_text"] = texts(events)
        if random.random() < 0.5:
            columns["history_action"] = list(random.choice(["buy", "view", "other"], events))
            columns["times"] = np.cumsum(random.integers(0, 9999, events)).tolist()
        if model == "rank":
            columns["candidate"] = list(random.choice(ids, candidates))
            columns["candidate_text"] = texts(candidates)
            yield user(**columns, parameters={"on_unknown": "skip"})
        else:
            columns["exclude"] = list(random.choice(ids, candidates))
            top_k, seen = int(random.integers(1, 7)), bool(random.integers(2))
            yield user(**columns, parameters={"top_k": top_k, "include_seen": seen})


def assert_same(found: Outcome, expected: Outcome) -> None:
    assert not isinstance(found, Exception), found
    assert not isinstance(expected, Exception), expected
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        if values.dtype == np.float32:
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("asked", ["rank", "recommend"])
def test_a_batch_of_users_gets_the_answers_of_the_ensemble(
    fused: dict[str, Handler], ensemble: Ensemble, asked: str
) -> None:
    requests = list(users(asked, 60))
    together = fused[asked](requests)
    for request, answer in zip(requests, together, strict=True):
        assert_same(answer, ensemble(asked, request))
        (alone,) = fused[asked]([request])
        assert_same(alone, answer)


def test_texts_of_all_lengths_get_the_vectors_of_the_ensemble(
    fused: dict[str, Handler], ensemble: Ensemble
) -> None:
    requests = [plain(*TEXTS[:3]), plain(TEXTS[4], TEXTS[4]), plain(""), plain(*TEXTS[1:4])]
    answers = fused["encode"](requests)
    for request, answer in zip(requests, answers, strict=True):
        assert_same(answer, ensemble("encode", request))
    assert not isinstance(answers[1], Exception)
    assert answers[1]["TRUNCATED"].tolist() == [[1], [1]]


def test_known_items_encode_nothing(fused: dict[str, Handler], encoding: Encoding) -> None:
    fused["rank"]([user(["i1"], candidate=["i2"]), user([], candidate=["i3"])])
    fused["recommend"]([user(["i1", "unknown"])])
    assert encoding.asked == []


def test_a_batch_encodes_each_text_once(fused: dict[str, Handler], encoding: Encoding) -> None:
    def rank(*texts: str) -> Request:
        return user([], candidate=["x"] * len(texts), candidate_text=texts)

    fused["rank"]([rank("toy", "story", "toy"), rank("story", "cat")])
    assert encoding.asked == [["toy", "story", "cat"]]
    encoding.asked.clear()
    fused["rank"]([rank("a", "b", "c"), rank("d", "e")])
    assert encoding.asked == [["a", "b", "c", "d"], ["e"]]  # so many fit into one request


def test_a_bad_request_and_a_failing_text_harm_no_other(fused: dict[str, Handler]) -> None:
    good = user(["i1"], candidate=["x"], candidate_text=["toy"])
    bad = user(["i1"], candidate=["x"])
    failing = user([], candidate=["x"], candidate_text=["breaks"])
    first, refused, failed, last = fused["rank"]([good, bad, failing, good])
    assert isinstance(refused, InvalidRequest)
    assert isinstance(failed, RuntimeError)
    (alone,) = fused["rank"]([good])
    assert_same(first, alone)
    assert_same(last, alone)


def test_text_that_is_none_is_refused_among_others(fused: dict[str, Handler]) -> None:
    good, refused, option = fused["encode"](
        [plain("toy"), plain("toy", b"\xff"), Request(plain("toy").tensors, {"top_q": 1})]
    )
    assert not isinstance(good, Exception)
    assert "TEXT[1] is not UTF-8" in str(refused)
    assert "did you mean top_k?" in str(option)


def test_a_text_is_encoded_once_while_it_is_remembered(repositories: dict[str, Path]) -> None:
    counted: list[tuple[int, int]] = []
    encode = EncodeRequests(
        repositories["fused"] / "encode/1", lambda encoded, known: counted.append((encoded, known))
    )
    (first, _) = encode([plain("toy", "story", "toy"), plain("story")])
    (again,) = encode([plain("toy", "story", "toy")])
    assert_same(again, first)
    assert counted == [(2, 2), (0, 3)]
    encode([plain("a"), plain("toy"), plain("cats")])  # the least recent one, "story", makes room
    counted.clear()
    encode([plain("toy")])
    encode([plain("story")])
    assert counted == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        ({"engine": "onnxruntime"}, "onnxruntime"),
        ({"engine": "openvino"}, "openvino"),
        ({"precision": "int8"}, "onnxruntime"),
    ],
)
def test_each_engine_answers(
    repositories: dict[str, Path],
    ensemble: Ensemble,
    tmp_path: Path,
    options: dict[str, Any],
    engine: str,
) -> None:
    checkpoint = repositories["fused"].parent / "checkpoint"
    export(checkpoint, tmp_path / "models", Embedded(TargetOptions(**options)), LIMITS)
    settings = json.loads((tmp_path / "models/encode/1/settings.json").read_text())
    assert settings["engine"] == engine
    request = plain(*TEXTS[:4])
    (answer,) = EncodeRequests(tmp_path / "models/encode/1")([request])
    expected = ensemble("encode", request)
    if "precision" not in options:
        assert_same(answer, expected)
        return
    assert not isinstance(answer, Exception)
    assert not isinstance(expected, Exception)
    np.testing.assert_allclose(answer["VECTOR"], expected["VECTOR"], atol=0.1)
    assert not np.allclose(answer["VECTOR"], expected["VECTOR"], atol=1e-5)
    # Neighbours are sought among vectors of the engine, and items stay what they are.
    held, fp32 = (
        {
            name: np.load(root / f"rank/1/{name}.npy")
            for name in ("item_vectors", "neighbour_direction")
        }
        for root in (tmp_path / "models", repositories["fused"])
    )
    np.testing.assert_allclose(held["item_vectors"], fp32["item_vectors"], atol=1e-5)
    assert not np.allclose(held["neighbour_direction"], fp32["neighbour_direction"], atol=1e-5)
    figures = read_manifest(tmp_path / "models").versions[1].details
    assert figures["ranking"]["relative_loss"] <= 0.001
    assert figures["texts"]["users"] == figures["ranking"]["users"]


def test_a_backbone_that_cannot_be_packed_is_padded(
    repositories: dict[str, Path],
    ensemble: Ensemble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builder.export.fused.packed_graph", lambda _encoder, _rows: None)
    checkpoint = repositories["fused"].parent / "checkpoint"
    export(checkpoint, tmp_path / "models", Embedded(TargetOptions()), LIMITS)
    told = [
        read_manifest(root).versions[1].details["engine"]["graphs"]["encode"]["packed"]
        for root in (repositories["fused"], tmp_path / "models")
    ]
    assert told == [True, False]
    request = plain(*TEXTS[:4])
    (answer,) = EncodeRequests(tmp_path / "models/encode/1")([request])
    assert_same(answer, ensemble("encode", request))


def test_the_faster_engine_is_taken_and_the_manifest_tells_why(
    repositories: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = repositories["fused"].parent / "checkpoint"
    export(checkpoint, tmp_path / "models", Embedded(TargetOptions(engine="auto")), LIMITS)
    details = read_manifest(tmp_path / "models").versions[1].details
    chosen = details["engine"]["graphs"]["encode"]
    speeds = chosen["texts_per_second"]
    assert speeds.keys() == {"onnxruntime", "openvino"}
    assert chosen["engine"] == max(speeds, key=speeds.get)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "fusion"}, "--layout fusion: choose one of fused, ensemble"),
        (
            {"precision": "int8", "engine": "openvino"},
            "--precision int8 takes --engine onnxruntime",
        ),
        ({"layout": "ensemble", "precision": "int8"}, "are for --layout fused"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TargetOptions(**options)


def test_a_missing_engine_is_named(
    repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    checkpoint = repositories["fused"].parent / "checkpoint"
    with pytest.raises(ExportError, match=r"pip install 'tritonrec\[embedded,openvino\]'"):
        export(checkpoint, tmp_path / "models", Embedded(TargetOptions(engine="openvino")), LIMITS)
