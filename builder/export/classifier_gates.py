"""The text gate of a classifier: its probabilities are those of ``transformers``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from builder.classifier.checkpoint import Classifier, Pair
from builder.errors import GateError
from builder.export.graphs import activate
from builder.export.parity import ParityFigure, in_values, judged
from builder.progress import Progress, silent
from model_repository.core.batch import Request
from model_repository.core.contract import PROBABILITY, TEXT, TEXT_PAIR, TRUNCATED
from model_repository.engines.engine import Engine
from model_repository.engines.tokenizer import STAND_IN
from model_repository.steps.tokenizer import RequestTokenizer

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


def check_texts(
    engine: Engine,
    tokenize: RequestTokenizer,
    classifier: Classifier,
    pairs: Sequence[Pair],
    bound: float,
    *,
    progress: Progress = silent,
) -> ParityFigure:
    """Compare the answers for real texts with those of ``transformers``.

    One side is the serving code from text to probability, padded to its buckets; the other the
    checkpoint's own tokenizer and network, without any padding.

    Raises
    ------
    GateError
        A difference above `bound`, or a text that serving refuses.
    """
    farthest = 0.0
    for done, pair in enumerate(pairs, 1):
        served, expected = _served(engine, tokenize, pair), reference(classifier, pair)
        if served.shape != expected.shape:
            raise GateError(
                f"parity (texts): {served.shape[1]} probabilities where the checkpoint has "
                f"{expected.shape[1]}; nothing was published"
            )
        apart = in_values(served.astype(np.float64), expected.astype(np.float64))
        farthest = max(farthest, judged("classifier", "texts", apart, 1, bound).difference)
        progress("parity on texts", done, len(pairs))
    return judged("classifier", "texts", farthest, len(pairs), bound)


@torch.no_grad()
def reference(classifier: Classifier, pair: Pair) -> NDArray[np.float32]:
    """What ``transformers`` answers to one text or pair, FP32 [1, labels]."""
    text, second = pair
    if not classifier.tokenizer(text, second or None)["input_ids"]:
        text, second = STAND_IN, ""
    encoded = classifier.tokenizer(
        text, second or None, truncation=True, max_length=classifier.max_length, return_tensors="pt"
    )
    if not classifier.token_types:
        encoded.pop("token_type_ids", None)
    logits = classifier.model(**encoded).logits
    found: NDArray[np.float32] = activate(logits, classifier.activation).numpy()
    return found


def _served(engine: Engine, tokenize: RequestTokenizer, pair: Pair) -> NDArray[np.float32]:
    sent = {
        tensor.name: np.array([[value.encode()]], np.object_)
        for tensor, value in zip((TEXT, TEXT_PAIR), pair, strict=True)
    }
    (outcome,) = tokenize([Request(sent)])
    if isinstance(outcome, Exception):
        raise GateError(f"parity (texts): serving refuses {pair!r:.200}: {outcome}") from outcome
    tokens = {name: value for name, value in outcome.items() if name != TRUNCATED.name}
    found: NDArray[np.float32] = engine.run(tokens)[PROBABILITY.name]
    return found
