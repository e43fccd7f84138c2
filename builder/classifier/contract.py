"""The inside of ``classify``: its steps.

The public tensors are ``client._contract.CLASSIFY``.
"""

from __future__ import annotations

from typing import Final

from model_repository.core.contract import (
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
