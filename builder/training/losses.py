"""The losses that a training can choose from.

Each takes the logits FP [T, C] of C candidates at T positions, the column of each position's target
INT64 [T], and the logarithm of the chance of each candidate to be among them, FP [C].
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

LOSSES: Final = ("softmax", "sampled", "bce")
TEMPERATURE: Final = 0.1
"""Of the contrastive loss, by which cosines are divided."""


def softmax(logits: Tensor, target: Tensor, chance: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy, each logit corrected for its chance (logQ, Bengio & Senécal 2008).

    ``smoothing`` is the share of the target that all candidates have (Szegedy et al. 2016).
    """
    return functional.cross_entropy(logits - chance, target, label_smoothing=smoothing)


def binary(logits: Tensor, target: Tensor, chance: Tensor) -> Tensor:
    """Binary cross-entropy of the target, and of all others with the same weight together.

    SASRec's loss (Kang & McAuley 2018) with the mean over its one random negative in place of a
    draw; a candidate stands for as many items as its chance to be drawn is small.
    """
    weight = torch.exp(-chance).expand_as(logits).scatter(1, target.unsqueeze(1), 0.0)
    others = (weight * functional.softplus(logits)).sum(1) / weight.sum(1).clamp(min=1e-9)
    own = logits.gather(1, target.unsqueeze(1)).squeeze(1)
    return (functional.softplus(-own) + others).mean()


def contrastive(text: Tensor, items: Tensor) -> Tensor:
    """How well each text vector FP [m, d] tells its own item FP [m, d] from the others, both ways.

    InfoNCE of cosines (van den Oord et al. 2018; both ways as Radford et al. 2021). The items are
    taken as they are: texts move towards them, and what is known by id is not bent.
    """
    cosines = functional.normalize(text, dim=-1) @ functional.normalize(items.detach(), dim=-1).T
    own = torch.arange(len(text), device=text.device)
    logits = cosines / TEMPERATURE
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
