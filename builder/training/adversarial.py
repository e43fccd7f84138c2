"""Adversarial examples of texts, for the second stage (FGM, Miyato, Dai & Goodfellow 2017)."""

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
def perturbed(weight: nn.Parameter, epsilon: float) -> Iterator[None]:
    """Move `weight`, the word embeddings, by a step of length `epsilon` along its gradient.

    That is the direction in which the loss grows most. Afterwards they are what they were.
    """
    if weight.grad is None:
        raise ValueError("no gradient: the clean examples come first")
    kept = weight.detach().clone()
    length = weight.grad.norm()
    with torch.no_grad():
        weight.add_(epsilon / length.clamp(min=1e-12) * weight.grad)
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)
