"""A classifier in the real server: right answers, and bad requests in one batch with good ones."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tritonclient.grpc as grpc
from grpc import RpcError, StatusCode
from numpy.typing import NDArray

from builder.classifier.checkpoint import Classifier, load_classifier
from builder.export.classifier import classifier as classifier_export
from builder.export.classifier_gates import reference
from builder.export.layout import Limits
from builder.export.pipeline import publish, target_named
from builder.repository import from_text, to_text
from builder.serving import TritonServer
from client import RecommenderClient
from client._requests import StableInputs, classify_message
from tests.integration.test_steps import Answer, send, strings
from tests.shared import settled
from tests.unit.builder.classifier.tiny import MAX_LENGTH, write_classifier

BATCH = 4
# A batch leaves as soon as it is full, and every test fills it, so the delay is never waited for.
DELAY_MICROSECONDS = 20_000_000
TIMEOUT = 60
LABELS = ("no", "perhaps", "yes")


def export(source: str, repository: Path) -> None:
    exportable = classifier_export(source, Limits(max_rows=BATCH))
    publish(exportable, repository, target_named("embedded"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    directory = tmp_path_factory.mktemp("classifier")
    return load_classifier(str(write_classifier(directory / "bert", labels=LABELS)))


@pytest.fixture(scope="module")
def repository(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "models"
    export(classifier.source, path)
    return path


@pytest.fixture(scope="module")
def client(repository: Path) -> Iterator[RecommenderClient]:
    with (
        TritonServer(repository) as server,
        RecommenderClient(server.grpc_address, timeout=TIMEOUT) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def films(movielens: Path) -> list[str]:
    table = pd.read_csv(movielens / "ml-100k.item", sep="\t", dtype=str, keep_default_na=False)
    return [" ".join(row) for row in table.iloc[:200, 1:].itertuples(index=False)]


def expected(classifier: Classifier, texts: list[str], pairs: list[str]) -> NDArray[np.float32]:
    rows = [reference(classifier, pair) for pair in zip(texts, pairs, strict=True)]
    return np.concatenate(rows)


def test_real_texts_get_the_probabilities_of_transformers(
    client: RecommenderClient, classifier: Classifier, films: list[str]
) -> None:
    found = client.classify(films)
    right = expected(classifier, films, [""] * len(films))
    np.testing.assert_allclose(found.probabilities, right, rtol=0, atol=1e-5)
    assert len(set(found.probabilities[:, 0].round(4))) > 20  # they are not all alike
    lengths = [len(classifier.tokenizer(film, verbose=False)["input_ids"]) for film in films]
    assert found.truncated.tolist() == [length > MAX_LENGTH for length in lengths]


def test_real_pairs_some_without_a_second_text(
    client: RecommenderClient, classifier: Classifier, films: list[str]
) -> None:
    texts = [film[:25] for film in films[:60]]
    pairs = [film[:20] if place % 3 else "" for place, film in enumerate(films[60:120])]
    found = client.classify(texts, pairs)
    right = expected(classifier, texts, pairs)
    np.testing.assert_allclose(found.probabilities, right, rtol=0, atol=1e-5)
    swapped = client.classify(pairs[1:3], texts[1:3]).probabilities
    assert np.abs(swapped - found.probabilities[1:3]).max() > 1e-3


def test_the_labels_are_those_of_the_checkpoint(
    client: RecommenderClient, classifier: Classifier, films: list[str]
) -> None:
    found = client.classify(films[:20])
    assert found.labels == LABELS
    assert found.activation == "softmax"
    best = expected(classifier, films[:20], [""] * 20).argmax(1)
    config: Any = classifier.model.config
    assert found.predicted() == [(config.id2label[label],) for label in best]


def test_an_export_with_other_labels_is_read_with_them(repository: Path, tmp_path: Path) -> None:
    """A client outlives versions: the names are those of the version that answered."""
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    other = write_classifier(
        tmp_path / "bert", labels=("news", "sport"), problem_type="multi_label_classification"
    )
    with TritonServer(models) as server:
        address = server.grpc_address
        lasting = RecommenderClient(address, timeout=TIMEOUT)
        assert lasting.classify(["Toy Story"]).labels == LABELS
    export(str(other), models)
    with TritonServer(models, grpc_port=int(address.rpartition(":")[2])), lasting:
        found = lasting.classify(["Toy Story", "GoldenEye"])
        assert found.labels == ("news", "sport")
        assert found.activation == "sigmoid"
        applies = found.probabilities >= 0.5
        assert found.predicted() == [
            tuple(name for name, yes in zip(found.labels, row, strict=True) if yes)
            for row in applies
        ]


@pytest.fixture(scope="module")
def triton(
    classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.InferenceServerClient]:
    """A server whose tokenizer waits until its batch is full."""
    path = tmp_path_factory.mktemp("waiting") / "models"
    export(classifier.source, path)
    file = path / "pair_tokenizer" / "config.pbtxt"
    config = from_text(file.read_text("utf-8"), "pair_tokenizer")
    config.dynamic_batching.max_queue_delay_microseconds = DELAY_MICROSECONDS
    file.write_text(to_text(config), "utf-8")
    with TritonServer(path) as server, grpc.InferenceServerClient(server.grpc_address) as raw:
        yield raw


def executions(triton: grpc.InferenceServerClient, model: str) -> Counter[int]:
    """How often a model ran, by the size of the batch."""

    def counted() -> Counter[int]:
        statistics = triton.get_inference_statistics(model).model_stats[0].batch_stats
        return Counter({one.batch_size: one.compute_infer.count for one in statistics})

    return settled(counted)


GOOD = {"TEXT": strings("Toy Story"), "TEXT_PAIR": strings("GoldenEye")}


def among_good_ones(
    triton: grpc.InferenceServerClient,
    classifier: Classifier,
    tensors: dict[str, NDArray[Any]],
    *,
    reaches_the_tokenizer: bool = True,
) -> Answer:
    """Send a request in one batch with good ones, whose answers must be as always."""
    good = [send(triton, "classify", GOOD, {}) for _ in range(2)]
    answer = send(triton, "classify", {**GOOD, **tensors}, {})
    good += [send(triton, "classify", GOOD, {}) for _ in range(1 if reaches_the_tokenizer else 2)]
    right = expected(classifier, ["Toy Story"], ["GoldenEye"])
    for each in good:
        np.testing.assert_allclose(each.result(TIMEOUT)["PROBABILITY"], right, atol=1e-5)
    return answer.result(TIMEOUT)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"TEXT": strings(b"\xff\xfe")}, r"TEXT\[0\] is not UTF-8 \(byte 0 is 0xff\)"),
        ({"TEXT_PAIR": strings(b"a\xc3\x28")}, r"TEXT_PAIR\[0\] is not UTF-8"),
    ],
    ids=["text", "pair"],
)
def test_invalid_utf8_is_refused_alone(
    triton: grpc.InferenceServerClient,
    classifier: Classifier,
    tensors: dict[str, NDArray[Any]],
    message: str,
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, classifier, tensors)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"TEXT": np.ones((1, 1), np.float32)}, "data-type is 'FP32', but .* expects 'BYTES'"),
        ({"TEXT_PAIR": strings("a", "b").T}, "batch size does not match"),
        ({"TEXT": strings("a", "b")}, "unexpected shape"),
    ],
    ids=["wrong dtype", "pairs of another length", "wrong shape"],
)
def test_what_triton_itself_refuses(
    triton: grpc.InferenceServerClient,
    classifier: Classifier,
    tensors: dict[str, NDArray[Any]],
    message: str,
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, classifier, tensors, reaches_the_tokenizer=False)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_megabyte_of_text_is_truncated_and_said_to_be(
    triton: grpc.InferenceServerClient, classifier: Classifier
) -> None:
    before = executions(triton, "pair_tokenizer")
    long = {"TEXT": strings("toy " * 250_000), "TEXT_PAIR": strings("")}
    answer = among_good_ones(triton, classifier, long)
    assert answer["TRUNCATED"].tolist() == [[1]]
    right = expected(classifier, ["toy " * 100], [""])
    np.testing.assert_allclose(answer["PROBABILITY"], right, atol=1e-5)
    assert executions(triton, "pair_tokenizer")[BATCH] > before[BATCH]  # they were one batch


def test_an_empty_text_is_a_text(
    triton: grpc.InferenceServerClient, classifier: Classifier
) -> None:
    answer = among_good_ones(triton, classifier, {"TEXT": strings(""), "TEXT_PAIR": strings("")})
    right = expected(classifier, [""], [""])
    np.testing.assert_allclose(answer["PROBABILITY"], right, atol=1e-5)
    assert answer["TRUNCATED"].tolist() == [[0]]


def test_what_nobody_waits_for_goes_no_further(triton: grpc.InferenceServerClient) -> None:
    """Its deadline ends in the tokenizer's queue, which hands it over with the next full batch."""
    before = executions(triton, "classifier")
    message = classify_message(["Toy Story"], None, StableInputs())
    infer = triton._channel.unary_unary(message.procedure.path)
    with pytest.raises(RpcError) as late:
        infer(message.body, timeout=0.2)
    assert late.value.code() is StatusCode.DEADLINE_EXCEEDED
    send(triton, "classify", {"TEXT": strings(*"abcd").T}, {})  # a full batch of its own
    assert executions(triton, "classifier") - before == {BATCH: 1}


def test_more_texts_than_fit(triton: grpc.InferenceServerClient) -> None:
    answer = send(triton, "classify", {"TEXT": strings(*"abcde").T}, {})
    with pytest.raises(grpc.InferenceServerException, match="batch-size must be <= 4"):
        answer.result(TIMEOUT)
