"""Both layouts of a recommender: the answers are the checkpoint's, for whole batches of users."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builder.errors import ConfigError, ExportError
from builder.export.options import ModelLayout
from builder.export.recommender import recommender
from builder.export.targets import TargetOptions
from builder.model.recommender import Recommender, encode_texts
from builder.model.scoring import TorchUserEncoder, catalogue_of
from builder.repository import read_manifest
from model_repository.core.batch import Outcome, Request
from model_repository.core.errors import InvalidRequest
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from model_repository.steps.encode import Encode
from tests.new_text import logit_of_text
from tests.shared import first_of
from tests.unit.builder.export.checkpoints import (
    LIMITS,
    assert_no_path,
    embedded,
    export,
    write_checkpoint,
)
from tests.unit.builder.export.in_process import Server, Tensors
from tests.unit.builder.model.tiny import ITEMS, sequences
from tests.unit.builder.model.tiny import recommender as recommender_of
from tests.unit.model_repository.conftest import plain, strings, user

TEXTS = ["a dog film", "the cats", "matrix matrix", "toy", "a film about the matrix " * 9]
ACTIONS = {"buy": 1, "view": 2}


@pytest.fixture(params=["fused", "ensemble"])
def server(request: pytest.FixtureRequest, repositories: dict[str, Path]) -> Server:
    return Server(repositories[request.param])


@pytest.fixture
def fused(repositories: dict[str, Path]) -> Server:
    return Server(repositories["fused"])


@pytest.fixture
def ensemble(repositories: dict[str, Path]) -> Server:
    return Server(repositories["ensemble"])


def users(model: str, number: int, *, with_texts: bool) -> Iterator[Request]:
    """Users of every kind: new ones, long histories, unknown items with and without a text."""
    random = np.random.default_rng(number)
    ids = [*(f"i{index}" for index in range(ITEMS)), "x", "y"]

    def texts(length: int) -> list[str]:
        return list(random.choice(["", *TEXTS[:2]], length))

    for _ in range(number):
        events, candidates = int(random.integers(0, 10)), int(random.integers(0, 6))
        columns: dict[str, Any] = {"history": list(random.choice(ids, events))}
        if with_texts and random.random() < 0.5:
            columns["history_text"] = texts(events)
        if random.random() < 0.5:
            columns["history_action"] = list(random.choice(["buy", "view", "other"], events))
            columns["times"] = np.cumsum(random.integers(0, 9999, events)).tolist()
        if model == "rank":
            columns["candidate"] = list(random.choice(ids, candidates))
            if with_texts:
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


def checkpoint_answer(model: Recommender, asked: str, request: Request) -> Tensors:
    """What the checkpoint itself answers to a user of known items; the others are unknown."""
    sent, options = request.tensors, json.loads(request.parameters)
    names = {name: [value.decode() for value in sent[name][0]] for name in ("HISTORY",)}
    place = model.catalogue.index
    known = [event for event, item in enumerate(names["HISTORY"]) if item in place]
    items = [place[names["HISTORY"][event]] for event in known]
    told = "HISTORY_ACTION" in sent
    histories = sequences(
        items,
        times=[sent["HISTORY_TIME"][0, known].tolist()] if told else None,
        actions=[[ACTIONS.get(sent["HISTORY_ACTION"][0, event].decode(), 0) for event in known]]
        if told
        else None,
    )
    counted = {
        "SKIPPED": np.array([[len(names["HISTORY"]) - len(known)]], np.int32),
        "TRUNCATED": np.zeros((1, 1), np.int32),
    }
    interest = model.calibration.interest
    if asked == "rank":
        logits = np.append(model.scorer().logits(histories)[0], np.float32(np.nan))
        found = logits[[place.get(item.decode(), -1) for item in sent["CANDIDATE"][0]]][np.newaxis]
        return {"INTEREST": interest(found), "LOGIT": found, **counted}
    scores = model.scorer().scores(histories)[0]
    left_out = [place[item.decode()] for item in sent["EXCLUDE"][0] if item.decode() in place]
    scores[left_out + ([] if options["include_seen"] else items)] = -np.inf
    best = np.argsort(-scores, kind="stable")[: options["top_k"]]
    best = best[np.isfinite(scores[best])]
    return {
        "ITEM": strings([f"i{item}" for item in best]),
        "INTEREST": interest(scores[best])[np.newaxis],
        "LOGIT": scores[best][np.newaxis],
        **counted,
    }


@pytest.mark.parametrize("asked", ["rank", "recommend"])
def test_a_batch_of_users_gets_the_answers_of_the_checkpoint(
    model: Recommender, server: Server, asked: str
) -> None:
    requests = list(users(asked, 60, with_texts=False))
    for request, found in zip(requests, server(asked, *requests), strict=True):
        assert_same(found, checkpoint_answer(model, asked, request))
        assert_same(server.tensors(asked, request), found)
    assert {called for called, _ in server.asked} <= {"user_encoder"}


@pytest.mark.parametrize("asked", ["rank", "recommend"])
def test_users_who_bring_texts_get_the_same_answers_in_both_layouts(
    fused: Server, ensemble: Server, asked: str
) -> None:
    requests = list(users(asked, 60, with_texts=True))
    together = [server(asked, *requests) for server in (fused, ensemble)]
    for request, one, other in zip(requests, *together, strict=True):
        assert_same(one, other)
        assert_same(fused.tensors(asked, request), one)
        assert_same(ensemble.tensors(asked, request), other)
    assert {called for called, _ in fused.asked} == {"encode"}
    assert {called for called, _ in ensemble.asked} == {"encoder", "user_encoder"}


def test_a_text_stands_where_its_neighbours_do(model: Recommender, server: Server) -> None:
    """The score written out: what the network says, and what each event speaks for."""
    candidates = [f"i{item}" for item in range(ITEMS)]
    answer = server.tensors(
        "rank",
        user(
            ["i3", "i8", "new", "i1", "i3"],  # i8 speaks for nothing
            history_text=["", "", "the cats", "", ""],
            candidate=[*candidates, "other"],
            candidate_text=[""] * ITEMS + ["a dog film"],
        ),
    )
    vectors, bias = model.item_vectors()
    text = torch.tensor([logit_of_text(model, "the cats", column.numpy()) for column in vectors.T])
    blank = torch.zeros(1, 5, dtype=torch.int64)
    events = torch.stack([vectors[3], vectors[8], text, vectors[1], vectors[3]])[np.newaxis]
    with torch.no_grad():
        state = model.adapter.states(events, blank, blank)[0, -1]
        logits = (vectors @ state + bias).numpy()
    linear, matrix = model.linear, model.linear.matrix.toarray()
    assert not matrix[8].any()
    for age, item in ((4, 3), (3, 8), (1, 1), (0, 3)):
        logits += linear.weight * linear.decay**age * matrix[item]
    np.testing.assert_allclose(answer["LOGIT"][0, :-1], logits, rtol=1e-4, atol=1e-4)
    of_text = logit_of_text(model, "a dog film", logits)
    assert answer["LOGIT"][0, -1] == pytest.approx(of_text, rel=1e-4, abs=1e-4)


def test_a_text_among_no_neighbours_stands_for_itself(model: Recommender) -> None:
    nobody = catalogue_of(replace(model, warm=np.zeros(ITEMS, bool)))
    scorer = Scorer(nobody, TorchUserEncoder(model.adapter))
    fresh = nobody.neighbourhood.place(model.text_vectors[:2].numpy(), nobody.vectors)
    none = np.zeros(0, np.int32)
    new_user = scorer.users([History(none, none, none.astype(np.int64))], fresh)
    found = scorer.rank(new_user, 0, np.array([-1, -2], np.int32), fresh).logit
    with torch.no_grad():
        vectors = model.adapter.from_text(model.text_vectors[:2])
        blank = torch.zeros(1, 0, dtype=torch.int64)
        start = model.adapter.states(torch.zeros(1, 0, vectors.shape[1]), blank, blank)[0, -1]
    np.testing.assert_allclose(fresh.vectors, vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, vectors @ start, rtol=1e-4, atol=1e-5)


def test_texts_of_all_lengths_get_the_vectors_of_the_checkpoint(
    model: Recommender, server: Server
) -> None:
    asked = [TEXTS[:3], [TEXTS[4], TEXTS[4]], [""], TEXTS[1:4]]
    answers = server("encode", *(plain(*each) for each in asked))
    for texts, answer in zip(asked, answers, strict=True):
        assert not isinstance(answer, Exception)
        expected = encode_texts(model.encoder, model.tokenizer, texts).numpy()
        np.testing.assert_allclose(answer["VECTOR"], expected, rtol=1e-4, atol=1e-5)
        assert answer["TRUNCATED"].tolist() == [[text == TEXTS[4]] for text in texts]


def test_requests_made_of_texts_alone_have_an_ensemble_of_the_same_answers(
    ensemble: Server,
) -> None:
    texts: dict[str, Any] = {"history_text": TEXTS[1:5], "candidate_text": TEXTS[1:4]}
    beside: dict[str, Any] = {"history_action": ["buy", "view", "x", "buy"], "times": [3, 9, 9, 80]}
    request = user(["w", "x", "y", "z"], candidate=["a", "b", "c"], **texts, **beside)
    expected = ensemble.tensors("rank", request)
    found = ensemble.tensors("rank_texts", user(**texts, **beside))
    for name in ("INTEREST", "LOGIT", "TRUNCATED"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    assert expected["TRUNCATED"].tolist() == [[1]]


def test_known_items_encode_nothing(server: Server) -> None:
    server("rank", user(["i1"], candidate=["i2"]), user([], candidate=["i3"]))
    server("recommend", user(["i1", "unknown"]))
    assert {called for called, _ in server.asked} <= {"user_encoder"}


def rank(*texts: str) -> Request:
    return user([], candidate=["x"] * len(texts), candidate_text=texts)


def test_a_batch_encodes_each_text_once(fused: Server) -> None:
    def asked() -> list[list[str]]:
        sent = [inputs["TEXT"][:, 0] for called, inputs in fused.asked if called == "encode"]
        fused.asked.clear()
        return [[text.decode() for text in texts] for texts in sent]

    fused("rank", rank("toy", "story", "toy"), rank("story", "cat"))
    assert asked() == [["toy", "story", "cat"]]
    fused("rank", rank("a", "b", "c"), rank("d", "e"))
    assert asked() == [["a", "b", "c", "d"], ["e"]]  # so many fit into one request


def test_a_batch_of_the_ensemble_encodes_each_text_once(ensemble: Server) -> None:
    ensemble("rank", rank("toy", "story", "toy"), rank("story", "cat"))
    assert ensemble.rows("encoder") == [3]
    ensemble.asked.clear()
    ensemble("rank", rank("a", "b", "c"), rank("d", "e"))
    assert sorted(ensemble.rows("encoder")) == [1, 4]


def test_a_bad_request_and_a_failing_text_harm_no_other(server: Server) -> None:
    unknown = 1  # the token of a word that is not in the vocabulary

    def fail(called: str, inputs: Tensors) -> None:
        if (called == "encode" and b"breaks" in inputs["TEXT"]) or (
            called == "encoder" and unknown in inputs["INPUT_IDS"]
        ):
            raise RuntimeError("no vector for that")

    server.refuse = fail
    good = user(["i1"], candidate=["x"], candidate_text=["toy"])
    bad = user(["i1"], candidate=["x"])
    failing = user([], candidate=["x"], candidate_text=["breaks"])
    known = user(["i1"], candidate=["i2"])
    first, refused, failed, last, beside = server("rank", good, bad, failing, good, known)
    assert isinstance(refused, InvalidRequest)
    assert isinstance(failed, RuntimeError)
    for found, request in ((first, good), (last, good), (beside, known)):
        assert_same(found, server.tensors("rank", request))


def test_text_that_is_none_is_refused_among_others(server: Server) -> None:
    good, refused, option = server(
        "encode",
        plain("toy"),
        plain("toy", b"\xff"),
        Request(plain("toy").tensors, '{"top_q": 1}'),
    )
    assert not isinstance(good, Exception)
    assert "TEXT[1] is not UTF-8" in str(refused)
    assert "did you mean top_k?" in str(option)


def test_a_text_is_encoded_once_while_it_is_remembered(fused: Server) -> None:
    counted: list[tuple[int, int]] = []
    encode = Encode(
        fused.directory("encode"), lambda encoded, known: counted.append((encoded, known))
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
    first_of(
        [
            ({"engine": "openvino"}, "openvino"),
            ({"engine": "onnxruntime"}, "onnxruntime"),
            ({"precision": "int8"}, "onnxruntime"),
        ]
    ),
)
def test_each_engine_answers(
    checkpoint: Path, fused: Server, tmp_path: Path, options: dict[str, Any], engine: str
) -> None:
    done = export(checkpoint, tmp_path / "models", embedded(**options))
    served = Server(tmp_path / "models")
    settings = json.loads((served.directory("encode") / "settings.json").read_text())
    assert settings["engine"] == engine
    assert_no_path(tmp_path / "models", checkpoint)
    request = plain(*TEXTS[:4])
    answer, expected = (each.tensors("encode", request) for each in (served, fused))
    if "precision" not in options:
        assert_same(answer, expected)
        assert done.figures.texts is None
        return
    np.testing.assert_allclose(answer["VECTOR"], expected["VECTOR"], atol=0.1)
    assert not np.allclose(answer["VECTOR"], expected["VECTOR"], atol=1e-5)
    # Neighbours are sought among vectors of the engine, and items stay what they are.
    held, fp32 = (
        {
            name: np.load(each.directory("rank") / f"{name}.npy")
            for name in ("item_vectors", "neighbour_direction")
        }
        for each in (served, fused)
    )
    np.testing.assert_allclose(held["item_vectors"], fp32["item_vectors"], atol=1e-5)
    assert not np.allclose(held["neighbour_direction"], fp32["neighbour_direction"], atol=1e-5)
    figures = read_manifest(tmp_path / "models").versions[1].details
    assert figures["ranking"]["relative_loss"] <= 0.001
    assert figures["texts"]["users"] == figures["ranking"]["users"]


@pytest.mark.sweep
@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_a_text_of_no_tokens_has_the_same_vector_everywhere(
    backbone: Path, tmp_path: Path, layout: ModelLayout
) -> None:
    source = shutil.copytree(backbone, tmp_path / "backbone")
    file = source / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    model = recommender_of(source, "cls")
    checkpoint = write_checkpoint(tmp_path / "run", model, source)
    export(checkpoint, tmp_path / "models", embedded(layout=layout))
    texts = ["\u200b", "toy", "", "."]
    trained = encode_texts(model.encoder, model.tokenizer, texts).numpy()
    found = Server(tmp_path / "models").tensors("encode", plain(*texts))
    assert not isinstance(found, Exception), found
    np.testing.assert_allclose(found["VECTOR"], trained, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trained[[0, 2]], trained[[3, 3]], rtol=1e-4, atol=1e-5)
    assert not np.allclose(trained[1], trained[3], atol=1e-2)


def test_a_backbone_that_cannot_be_packed_is_padded(
    checkpoint: Path,
    repositories: dict[str, Path],
    fused: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builder.export.recommender.packed_graph", lambda *_: None)
    export(checkpoint, tmp_path / "models", embedded())
    told = [
        read_manifest(root).versions[1].details["engine"]["graphs"]["encode"]["packed"]
        for root in (repositories["fused"], tmp_path / "models")
    ]
    assert told == [True, False]
    request = plain(*TEXTS[:4])
    assert_same(
        Server(tmp_path / "models").tensors("encode", request), fused.tensors("encode", request)
    )


def test_the_faster_engine_is_taken_and_the_manifest_tells_why(
    checkpoint: Path, tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "models", embedded(engine="auto"))
    details = read_manifest(tmp_path / "models").versions[1].details
    chosen = details["engine"]["graphs"]["encode"]
    speeds = chosen["texts_per_second"]
    assert speeds.keys() == {"onnxruntime", "openvino"}
    assert chosen["engine"] == max(speeds, key=speeds.get)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "fusion"}, "layout 'fusion': must be one of fused, ensemble"),
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
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = embedded(engine="openvino")
    exportable = recommender(checkpoint, target, LIMITS)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ExportError, match=r"pip install 'tritonrec\[embedded,openvino\]'"):
        exportable.compile(target, lambda _model: tmp_path)
