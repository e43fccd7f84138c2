"""The losses of a training."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE: Final = 0.1
"""Of the contrastive loss, by which cosines are divided."""


_LOGITS: Final = 2**19
"""Logits that are held at once, 2 MB, so that they stay in the caches of a core."""


def softmax(
    states: Tensor, vectors: Tensor, bias: Tensor, target: Tensor, *, smoothing: float
) -> Tensor:
    """Mean cross-entropy FP [] of the logits ``states · vectorsᵀ + bias``, which are never whole.

    The gradient is worked out along with the loss, some positions at a time, so that no array of
    positions × candidates is written to memory and read again.

    Parameters
    ----------
    states
        At T positions, FP [T, d].
    vectors, bias
        Of C candidates, FP [C, d] and FP [C]. What a logit is corrected by for the chance of its
        candidate to be there (logQ, Bengio & Senécal 2008) is part of the bias.
    target
        The candidate that is each position's target, INT64 [T].
    smoothing
        Share of the target that all candidates have (Szegedy et al. 2016).
    """
    loss: Tensor = _Softmax.apply(states, vectors, bias, target, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        states: Tensor,
        vectors: Tensor,
        bias: Tensor,
        target: Tensor,
        smoothing: float,
    ) -> Tensor:
        loss = states.new_zeros(())
        of_states = torch.empty_like(states)
        of_vectors, of_bias = torch.zeros_like(vectors), torch.zeros_like(bias)
        for start in range(0, len(states), step := max(1, _LOGITS // len(bias))):
            part = slice(start, start + step)
            logits = torch.addmm(bias, states[part], vectors.T)
            logits -= logits.amax(1, keepdim=True)
            own = target[part].unsqueeze(1)
            wanted = (1 - smoothing) * logits.gather(1, own)
            if smoothing:
                wanted += smoothing * logits.mean(1, keepdim=True)
            # From here on they are what the loss changes by.
            share = logits.exp_()
            total = share.sum(1, keepdim=True)
            loss += (total.log() - wanted).sum()
            share /= total
            if smoothing:
                share -= smoothing / len(bias)
            share.scatter_add_(1, own, share.new_full((), smoothing - 1).expand_as(own))
            torch.mm(share, vectors, out=of_states[part])
            of_vectors.addmm_(share.T, states[part])
            of_bias += share.sum(0)
        context.save_for_backward(of_states, of_vectors, of_bias)
        context.positions = len(states)
        return loss / len(states)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradient / context.positions
        return (*(scale * each for each in context.saved_tensors), None, None)


def contrastive(text: Tensor, items: Tensor) -> Tensor:
    """How well each text vector FP [m, d] tells its own item FP [m, d] from the others, both ways.

    InfoNCE of cosines (van den Oord et al. 2018; both ways as Radford et al. 2021). The items are
    taken as they are: texts move towards them, and what is known by id is not bent.
    """
    cosines = functional.normalize(text, dim=-1) @ functional.normalize(items.detach(), dim=-1).T
    own = torch.arange(len(text), device=text.device)
    logits = cosines / TEMPERATURE
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
