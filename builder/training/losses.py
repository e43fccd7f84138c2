"""The losses of a training."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE: Final = 0.1
"""Of the contrastive loss, by which cosines are divided."""


def softmax(logits: Tensor, target: Tensor, chance: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy, each logit corrected for its chance (logQ, Bengio & Senécal 2008).

    Parameters
    ----------
    logits
        Of C candidates at T positions, FP [T, C].
    target
        The column of each position's target, INT64 [T].
    chance
        The logarithm of the chance of each candidate to be among them, FP [C].
    smoothing
        Share of the target that all candidates have (Szegedy et al. 2016).
    """
    return functional.cross_entropy(logits - chance, target, label_smoothing=smoothing)


def contrastive(text: Tensor, items: Tensor) -> Tensor:
    """How well each text vector FP [m, d] tells its own item FP [m, d] from the others, both ways.

    InfoNCE of cosines (van den Oord et al. 2018; both ways as Radford et al. 2021). The items are
    taken as they are: texts move towards them, and what is known by id is not bent.
    """
    cosines = functional.normalize(text, dim=-1) @ functional.normalize(items.detach(), dim=-1).T
    own = torch.arange(len(text), device=text.device)
    logits = cosines / TEMPERATURE
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
