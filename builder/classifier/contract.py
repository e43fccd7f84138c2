"""The inside of ``classify``: its steps, and where its configuration tells the labels.

The public tensors are ``client._contract.CLASSIFY``.
"""

from __future__ import annotations

from typing import Final

from client._contract import (
    CLASSIFY,
    INPUT_IDS,
    PROBABILITY,
    TEXT,
    TEXT_PAIR,
    TEXT_TRUNCATED,
    EnsembleSpec,
    ModelSpec,
    TensorSpec,
)

TOKEN_TYPE_IDS: Final = TensorSpec("TOKEN_TYPE_IDS", "INT32", INPUT_IDS.dims)

LABELS: Final = "labels"
"""Parameter of ``classify``'s configuration: the labels as a JSON list, in PROBABILITY's order."""

ACTIVATION: Final = "activation"
"""Parameter of ``classify``'s configuration: ``softmax`` (one label applies, a row sums to 1),
``sigmoid`` (each label applies or not by itself) or ``none`` (a regression, no probability)."""


def classify_ensemble(*, token_types: bool) -> EnsembleSpec:
    """Data flow of ``classify``; ``token_types`` if the network tells the texts of a pair apart."""
    tokens = (INPUT_IDS, TOKEN_TYPE_IDS) if token_types else (INPUT_IDS,)
    tokenizer = ModelSpec(
        "pair_tokenizer",
        inputs=(TEXT, TEXT_PAIR),
        outputs=(*tokens, TEXT_TRUNCATED),
        batched=True,
    )
    classifier = ModelSpec("classifier", inputs=tokens, outputs=(PROBABILITY,), batched=True)
    return EnsembleSpec(CLASSIFY, steps=(tokenizer, classifier))
