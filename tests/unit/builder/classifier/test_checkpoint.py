from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from builder import unfinished_run
from builder.classifier.checkpoint import EXAMPLES, load_classifier, load_examples, save_examples
from builder.errors import CheckpointError
from tests.unit.builder.classifier.tiny import ARCHITECTURES, MAX_LENGTH, write_classifier


def edited(directory: Path, file: str, **values: object) -> str:
    path = directory / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return str(directory)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_serving_must_know(architecture: str, tiny: Callable[[str], Path]) -> None:
    classifier = load_classifier(str(tiny(architecture)))
    assert classifier.labels == ("no", "yes")
    assert classifier.activation == "softmax"
    assert classifier.token_types is (architecture in ("bert", "electra"))
    assert classifier.max_length == MAX_LENGTH
    assert not classifier.model.training


@pytest.mark.parametrize(
    ("labels", "problem_type", "activation"),
    [
        (1, None, "sigmoid"),
        (1, "regression", "none"),
        (1, "multi_label_classification", "sigmoid"),
        (2, None, "softmax"),
        (2, "single_label_classification", "softmax"),
        (3, "multi_label_classification", "sigmoid"),
        (3, "regression", "none"),
    ],
)
def test_activation(tmp_path: Path, labels: int, problem_type: str | None, activation: str) -> None:
    names = [f"label {n}" for n in range(labels)]
    write_classifier(tmp_path / "c", labels=names, problem_type=problem_type)
    classifier = load_classifier(str(tmp_path / "c"))
    assert classifier.activation == activation
    assert classifier.labels == tuple(names)


def test_the_tokenizers_own_limit_counts(tmp_path: Path) -> None:
    source = edited(write_classifier(tmp_path / "c"), "tokenizer_config.json", model_max_length=10)
    assert load_classifier(source).max_length == 10


def test_what_is_no_classifier(tmp_path: Path, minilm: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_classifier(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match=r"no trained classifier\.bias.*train-classifier"):
        load_classifier(str(minilm))
    unfinished_run.begin(tmp_path / "run", {})
    with pytest.raises(CheckpointError, match=r"interrupted; continue with .* --resume"):
        load_classifier(str(tmp_path / "run"))
    left = write_classifier(tmp_path / "left")
    source = edited(left, "tokenizer_config.json", padding_side="left", truncation_side="left")
    with pytest.raises(CheckpointError, match="pads and truncates on the left"):
        load_classifier(source)


def test_examples(tmp_path: Path) -> None:
    assert load_examples(str(tmp_path)) == []
    breaks = "".join(chr(code) for code in range(0x2100) if len(f"a{chr(code)}b".splitlines()) > 1)
    assert "\u2028" in breaks
    pairs = [("a\nb", ""), ("é", "second"), (f"a{'b'.join(breaks)}c", breaks)]
    save_examples(tmp_path, pairs)
    assert load_examples(str(tmp_path)) == pairs
    (tmp_path / EXAMPLES).write_text('{"text": 1}\n')
    with pytest.raises(CheckpointError, match="damaged"):
        load_examples(str(tmp_path))


@pytest.mark.parametrize(
    ("numbers", "outputs", "expected", "told"),
    [
        ([0, 1, 2], 3, ("a", "b", "c"), ""),
        ([1, 2, 3], 3, ("a", "b", "c"), "in the order of their numbers: a, b, c"),
        ([-1, 0, 1], 3, ("a", "b", "c"), "in the order of their numbers"),
        ([0, 5, 7], 3, ("a", "b", "c"), "in the order of their numbers"),
        ([2, 1, 0], 3, ("c", "b", "a"), ""),
        ([0, 2], 3, ("a", "LABEL_1", "b"), "has 2 names and the network 3 outputs"),
        ([1, 2], 3, ("LABEL_0", "a", "b"), "has 2 names and the network 3 outputs"),
        ([0, 1, 2], 2, ("a", "b"), "has 3 names and the network 2 outputs"),
    ],
)
def test_labels_however_they_are_numbered(
    numbers: list[int],
    outputs: int,
    expected: tuple[str, ...],
    told: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = write_classifier(tmp_path / "c", labels=[f"label {n}" for n in range(outputs)])
    weights = load_classifier(str(source)).model.state_dict()
    names = dict(zip(map(str, numbers), "abc", strict=False))
    edited(source, "config.json", id2label=names, label2id={})
    caplog.clear()
    found = load_classifier(str(source))
    assert found.labels == expected
    assert found.model.config.num_labels == outputs  # type: ignore[union-attr]
    assert all(torch.equal(weights[name], each) for name, each in found.model.state_dict().items())
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


def test_labels_of_one_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_classifier(tmp_path / "c", labels=["x", "y", "x"])
    assert load_classifier(str(source)).labels == ("x", "y", "x")
    assert "several outputs are called x;" in caplog.text
