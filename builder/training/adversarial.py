"""Adversarial examples of texts, for the second stage.

A single step away from the clean ones makes those of FGM (Miyato, Dai & Goodfellow 2017), several
those of FreeLB (Zhu et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

START: Final = 0.25
"""Share of the stage before the first of them: the direction that hurts most means something only
once the loss does."""
REACH: Final = 1.5
"""How many radii several steps along one line would lead, were there no ball: its surface is
reached before the last of them, and the others turn on it."""


def learn_from_worse(
    step: Callable[[], object],
    words: nn.Parameter,
    parameters: Sequence[nn.Parameter],
    radius: float,
    steps: int = 1,
) -> None:
    """Add the gradients of adversarial examples to those of the clean ones, which are there.

    The adversarial ones have the word embeddings W FP [v, h] moved by D FP [v, h], and D climbs::

        D_1 = a g_0 / |g_0|
        D_t = P(D_(t-1) + a g_(t-1) / |g_(t-1)|)
        a   = radius * min(1, REACH / steps)

    where g_0 is the clean examples' gradient of W, g_t that at W + D_t, and P the projection on the
    ball of that radius. Added is the mean over t of the gradients at W + D_t, of all parameters.
    One step is FGM.

    In the paper each token of each text has a perturbation of its own, which starts at random. Here
    a word moves alike in all texts of a step, as in FGM, so |.| is the Frobenius norm over the
    matrix; and it starts at the clean examples, whose gradient is at hand.

    Parameters
    ----------
    step
        Adds the gradients of a step's loss to those that are there. Each call begins at the same
        random state, so that it meets the same texts and drops out the same; afterwards the state
        is the one that a single call leaves.
    words, parameters
        W, and all parameters that may have a gradient, with W among them.
    """
    with perturbed(words, radius, radius * min(1.0, REACH / steps)) as move_on:
        _scale_gradients(parameters, steps)  # so that a sum over all steps becomes a mean below
        for left in reversed(range(steps)):
            before = _gradient(words).clone()
            with torch.random.fork_rng(enabled=left > 0):
                step()
            if left:
                move_on(_gradient(words) - before)
        _scale_gradients(parameters, 1 / steps)


@contextmanager
def perturbed(
    weight: nn.Parameter, radius: float, size: float | None = None
) -> Iterator[Callable[[Tensor], None]]:
    """Move `weight`, the word embeddings FP [v, h], by a step along its gradient.

    That is the direction in which the loss grows most. The step has length `size`, if that is not
    given `radius`. Yields what takes another one along a gradient FP [v, h], no farther away than
    `radius`. Afterwards they are what they were.
    """
    kept = weight.detach().clone()
    size = radius if size is None else size

    moved = _of_length(size, _gradient(weight))

    @torch.no_grad()
    def move_on(gradient: Tensor) -> None:
        moved.add_(_of_length(size, gradient))
        if moved.norm() > radius:
            moved.copy_(_of_length(radius, moved))
        weight.copy_(kept + moved)

    with torch.no_grad():
        weight.add_(moved)
    try:
        yield move_on
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def _of_length(length: float, direction: Tensor) -> Tensor:
    along: Tensor = length / direction.norm().clamp(min=1e-12) * direction
    return along


def _gradient(weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        raise ValueError("no gradient: the clean examples come first")
    return weight.grad


def _scale_gradients(parameters: Sequence[nn.Parameter], factor: float) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad *= factor
