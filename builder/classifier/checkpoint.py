"""A Hugging Face sequence classifier, read with what serving must know of it."""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from torch import nn
from transformers import AutoModelForSequenceClassification

from builder.errors import CheckpointError
from builder.model.backbone import (
    FILES,
    Weights,
    check_length,
    fit_embeddings,
    load_tokenizer,
    load_weights,
    position_count,
    try_out,
)
from builder.unfinished_run import is_interrupted

log = logging.getLogger(__name__)

Activation = Literal["softmax", "sigmoid", "none"]
Pair = tuple[str, str]
"""A text and its second text, which is empty where there is none."""

EXAMPLES: Final = "examples.jsonl"
"""Texts beside a checkpoint of ours that an export is held against: ``{"text", "text_pair"}``."""

LONGEST: Final = 512
"""Longest row in tokens, where neither tokenizer nor network says less."""


@dataclass(frozen=True)
class Classifier:
    """A classifier ready to export.

    Attributes
    ----------
    source
        Directory or hub name.
    model
        ``AutoModelForSequenceClassification`` in eval mode, FP32.
    tokenizer
        Its fast tokenizer.
    labels
        Names of the outputs, in their order.
    activation
        What turns logits into PROBABILITY, see `activation_of`.
    token_types
        The network tells the two texts of a pair apart by token types.
    max_length
        Longest row in tokens, special tokens included.
    """

    source: str
    model: nn.Module
    tokenizer: Any
    labels: tuple[str, ...]
    activation: Activation
    token_types: bool
    max_length: int

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)


def load_classifier(source: str) -> Classifier:
    """Load a classifier by directory or hub name.

    Raises
    ------
    CheckpointError
        It cannot be loaded, has no trained classification head, no fast tokenizer, or is no
        network that reads right-padded token ids alone.
    """
    where = f"--classifier {source}"
    _refuse_unfinished(source)
    try:
        tokenizer = load_tokenizer(source, where)
        found, labels = _with_labels(source, where)
        fit_embeddings(found.model, tokenizer.backend_tokenizer, where)
        try_out(found.model, tokenizer, where)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a file of somebody else's leads to
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{where}: it cannot be loaded ({reason}); {FILES}") from error
    if missing := found.random:
        raise CheckpointError(
            f"{where}: it has no trained {', '.join(missing[:3])}{' …' if missing[3:] else ''}; "
            "a pretrained BERT becomes a classifier by `python -m builder train-classifier`"
        )
    check_tokenizer(tokenizer, where)
    model, config = found.model, cast("Any", found.model.config)
    longest = min(longest_row(model), int(tokenizer.model_max_length))
    check_length(longest, tokenizer, where, pairs=True)
    return Classifier(
        source=source,
        model=model.eval(),
        tokenizer=tokenizer,
        labels=labels,
        activation=activation_of(config),
        token_types=uses_token_types(model, tokenizer),
        max_length=longest,
    )


def _with_labels(source: str, where: str) -> tuple[Weights, tuple[str, ...]]:
    """The network, and the names of its outputs in their order, however they are numbered."""
    kind = AutoModelForSequenceClassification
    found = load_weights(kind, source, where)
    config: Any = found.model.config
    names = {int(number): str(name) for number, name in config.id2label.items()}
    outputs = config.num_labels
    rows = {shape[0] for shape, asked in found.mismatched.values() if asked[0] == outputs}
    if len(rows) == 1 and set(found.mismatched) == set(found.random):
        (outputs,) = rows
        found = load_weights(kind, source, where, num_labels=outputs)
    if len(names) == outputs:
        labels = tuple(names[number] for number in sorted(names))
        if sorted(names) != list(range(outputs)):
            log.warning(
                "%s: id2label in config.json does not count from 0 without gaps; its names are "
                "taken in the order of their numbers: %s",
                *(where, ", ".join(labels)),
            )
    else:
        labels = tuple(names.get(number, f"LABEL_{number}") for number in range(outputs))
        log.warning(
            "%s: id2label in config.json has %d names and the network %d outputs, which are called "
            "%s",
            *(where, len(names), outputs, ", ".join(labels)),
        )
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        log.warning(
            "%s: several outputs are called %s; they can be told apart by their place alone",
            *(where, ", ".join(twice)),
        )
    return found, labels


def activation_of(config: Any) -> Activation:
    """Choose as Hugging Face's text-classification pipeline does.

    None for ``problem_type`` "regression"; sigmoid for "multi_label_classification" and wherever
    there is one label; softmax for everything else.
    """
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def uses_token_types(model: nn.Module, tokenizer: Any) -> bool:
    """Whether the network tells the two texts of a pair apart by token types."""
    return (
        "token_type_ids" in inspect.signature(model.forward).parameters
        and "token_type_ids" in tokenizer.model_input_names
        and getattr(model.config, "type_vocab_size", 1) > 1
    )


def longest_row(model: nn.Module) -> int:
    """Tokens that the network has positions for, at most `LONGEST`."""
    positions = position_count(model)
    return LONGEST if positions is None else min(LONGEST, positions)


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Raise CheckpointError for a tokenizer that the serving code cannot stand in for."""
    sides = {"pads": tokenizer.padding_side, "truncates": tokenizer.truncation_side}
    if wrong := [verb for verb, side in sides.items() if side != "right"]:
        raise CheckpointError(
            f"{where}: its tokenizer {' and '.join(wrong)} on the left, and serving does so on the "
            "right; if the network was trained on the right, say so in tokenizer_config.json"
        )


def save_examples(directory: Path, pairs: list[Pair]) -> None:
    """Write texts that an export of `directory` is to be held against."""
    lines = [
        json.dumps({"text": text, "text_pair": second}, ensure_ascii=False)
        for text, second in pairs
    ]
    (directory / EXAMPLES).write_text("\n".join(lines) + "\n", "utf-8")


def load_examples(source: str) -> list[Pair]:
    """Texts beside a checkpoint of ours; none for anybody else's.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    file = Path(source) / EXAMPLES
    if not file.is_file():
        return []
    try:
        # Not splitlines, which also breaks where a text has U+0085 or U+2028.
        rows = [json.loads(line) for line in file.read_text("utf-8").strip("\n").split("\n")]
        return [(str(row["text"]), str(row["text_pair"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({type(error).__name__}: {error}); remove it or train again"
        ) from error


def _refuse_unfinished(source: str) -> None:
    directory = Path(source)
    if not directory.exists() and is_interrupted(directory):
        raise CheckpointError(
            f"--classifier {source}: training was interrupted; continue with `python -m builder "
            f"train-classifier --resume --output {source} …`"
        )
