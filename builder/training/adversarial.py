"""Adversarial examples of texts, for the second stage: FGM (Miyato, Dai & Goodfellow 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

START: Final = 0.25
"""Share of the stage before the first of them: the direction that hurts most means something only
once the loss does."""


@contextmanager
def perturbed(weight: nn.Parameter, length: float) -> Iterator[None]:
    """Move `weight`, the word embeddings FP [v, h], so far along its gradient, and back afterwards.

    That is the direction in which the loss grows most. A word moves alike in all texts of a step.
    """
    if weight.grad is None:
        raise ValueError("no gradient: the clean examples come first")
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.add_(length / weight.grad.norm().clamp(min=1e-12) * weight.grad)
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)
