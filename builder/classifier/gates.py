"""The gates of a classifier's export: its probabilities are those of ``transformers``.

A figure is the largest difference of an output from the reference, absolute for probabilities and
relative to the value above 1 for a regression. A gate that fails is an error: nothing is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from builder.classifier.checkpoint import Classifier, Pair
from builder.classifier.graph import activate
from builder.classifier.layout import ClassifierLayout
from builder.errors import GateError
from builder.export.parity import Engine
from builder.progress import Progress, silent
from model_repository.core.contract import PROBABILITY, TEXT, TEXT_PAIR, ModelSpec
from model_repository.core.batch import Request
from model_repository.pair_tokenizer import PairTokenizer

_MOST_TOKENS: Final = 16_384
"""Tokens of the largest batch of the grid: beyond, a larger one repeats what this one does and
takes minutes on a processor."""
_FEW_ROWS: Final = 8
"""Largest batch that is also run one row at a time."""

_SENTENCE: Final = "The Matrix (1999): a hacker learns that the world is a simulation."


def samples(max_length: int) -> list[Pair]:
    """Texts that every classifier is held against: short, long, cut, of many scripts, in pairs."""
    # More than 12 tokens each for any tokenizer: twice what fits, and a bit more than fits.
    longest = " ".join([_SENTENCE] * (max_length // 6 + 1))
    long = " ".join([_SENTENCE] * (max_length // 12 + 1))
    return [
        ("", ""),
        ("a", ""),
        ("Toy Story (1995) Animation Children's Comedy", ""),
        ("Toy Story (1995) Animation Comedy", "GoldenEye (1995) Action Adventure Thriller"),
        ("", "GoldenEye (1995)"),
        (_SENTENCE, ""),
        (_SENTENCE, "Would you watch it again?"),
        ("Le Fabuleux Destin d'Amélie Poulain: «ça m'a plu» 😀 七人の侍", "또 보고 싶어요, हाँ!"),
        ("line one\nline two\ttabbed  spaced", "UPPER lower 12,345.67 %"),
        (long, ""),
        (long, "short"),
        ("short", long),
        (longest, ""),
        (longest, long),
        (long, longest),
    ]


@dataclass(frozen=True)
class Figure:
    """The largest `difference` over that many cases, and what is allowed."""

    check: str
    cases: int
    difference: float
    bound: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_shapes(
    engine: Engine,
    graph: nn.Module,
    spec: ModelSpec,
    classifier: Classifier,
    layout: ClassifierLayout,
    bound: float,
    *,
    progress: Progress = silent,
) -> list[Figure]:
    """Compare with PyTorch over the grid of shapes, and each small batch with its rows alone.

    Raises
    ------
    GateError
        A difference above `bound`, another shape, or NaN.
    """
    grid = list(_grid(classifier, layout, spec))
    shapes, batching = [], []
    for done, inputs in enumerate(grid, 1):
        actual = engine.run(dict(inputs))[PROBABILITY.name]
        with torch.no_grad():
            expected = graph(*(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs))
        shapes.append(difference(actual, expected.numpy()))
        rows = len(actual)
        if 1 < rows <= _FEW_ROWS:
            alone = [
                engine.run({name: value[row : row + 1] for name, value in inputs.items()})
                for row in range(rows)
            ]
            together = np.concatenate([each[PROBABILITY.name] for each in alone])
            batching.append(difference(actual, together))
        progress("parity of classifier", done, len(grid))
    return [
        judged("shapes", shapes, bound),
        *([judged("batched and alone", batching, bound)] if batching else []),
    ]


def check_texts(
    engine: Engine,
    tokenize: PairTokenizer,
    classifier: Classifier,
    pairs: Sequence[Pair],
    bound: float,
    *,
    progress: Progress = silent,
) -> Figure:
    """Compare the answers for real texts with those of ``transformers``.

    One side is the serving code from text to probability, padded to its buckets; the other the
    checkpoint's own tokenizer and network, without any padding.

    Raises
    ------
    GateError
        A difference above `bound`, or a text that serving refuses.
    """
    found = []
    for done, pair in enumerate(pairs, 1):
        found.append(difference(_served(engine, tokenize, pair), reference(classifier, pair)))
        progress("parity on texts", done, len(pairs))
    return judged("texts", found, bound)


@torch.no_grad()
def reference(classifier: Classifier, pair: Pair) -> NDArray[np.float32]:
    """What ``transformers`` answers to one text or pair, FP32 [1, labels]."""
    text, second = pair
    encoded = classifier.tokenizer(
        text, second or None, truncation=True, max_length=classifier.max_length, return_tensors="pt"
    )
    if not classifier.token_types:
        encoded.pop("token_type_ids", None)
    logits = classifier.model(**encoded).logits
    found: NDArray[np.float32] = activate(logits, classifier.activation).numpy()
    return found


def difference(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference; infinite where the shapes differ or something is not finite."""
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    gap = np.abs(actual.astype(np.float64) - expected)
    return float((gap / np.maximum(1, np.abs(expected))).max(initial=0))


def judged(check: str, differences: Sequence[float], bound: float) -> Figure:
    """The figure; GateError if it is above the bound."""
    figure = Figure(check, len(differences), max(differences, default=0.0), bound)
    if not figure.difference <= bound:
        raise GateError(
            f"parity ({check}): classifier.{PROBABILITY.name} differs from PyTorch by "
            f"{figure.difference:.1e}, and {bound:.0e} is allowed; nothing was published"
        )
    return figure


def _served(engine: Engine, tokenize: PairTokenizer, pair: Pair) -> NDArray[np.float32]:
    sent = {
        tensor.name: np.array([[value.encode()]], np.object_)
        for tensor, value in zip((TEXT, TEXT_PAIR), pair, strict=True)
    }
    (outcome,) = tokenize([Request(sent)])
    if isinstance(outcome, Exception):
        raise GateError(f"parity (texts): serving refuses {pair!r:.200}: {outcome}") from outcome
    tokens = {name: value for name, value in outcome.items() if name != "TRUNCATED"}
    found: NDArray[np.float32] = engine.run(tokens)[PROBABILITY.name]
    return found


def _grid(
    classifier: Classifier, layout: ClassifierLayout, spec: ModelSpec
) -> Iterator[dict[str, NDArray[np.int32]]]:
    """Rows at least, typical and at most, for every length; the first row of each is full."""
    random = np.random.default_rng(0)
    special = set(classifier.tokenizer.all_special_ids)
    words = np.array(
        [token for token in range(len(classifier.tokenizer)) if token not in special], np.int32
    )
    for length in layout.length_buckets:
        most = max(1, min(layout.max_rows, _MOST_TOKENS // length))
        for rows in sorted({1, min(3, most), most}):
            lengths = random.integers(1, length + 1, rows)
            lengths[0] = length
            padding = np.arange(length) >= lengths[:, np.newaxis]
            ids = np.where(padding, classifier.pad_id, random.choice(words, (rows, length)))
            second = np.arange(length) >= random.integers(1, lengths + 1)[:, np.newaxis]
            values = {"INPUT_IDS": ids, "TOKEN_TYPE_IDS": second & ~padding}
            yield {tensor.name: values[tensor.name].astype(np.int32) for tensor in spec.inputs}
