"""How the losses of a training's tasks are weighed against each other.

Each task t has a loss L_t and a weight w_t that is fixed, 1 or what an option says. Their sum is
either ``fixed``, Σ w_t L_t, or with ``uncertainty`` (Kendall, Gal & Cipolla 2018)::

    Σ exp(-s_t) w_t L_t + s_t

where s_t is learnt with all else from 0, at which both are the same. It stands for the logarithm of
the variance of the task's noise, and comes to rest where exp(s_t) = w_t L_t: what is far from
solved counts less, and no task can be given up, for that costs s_t. The form is theirs of a
regression, twice; of a classification they have s_t / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

LEARNING_RATE: Final = 0.02
"""Of the s_t, at the full height of the schedule. AdamW moves a number by about its rate in a step:
at the network's the few hundred steps of the second stage would leave them near 0."""


class TaskWeights(nn.Module):
    """The learnt part of the weights: s_t FP32 [] of each task, none where they are fixed.

    Nor is there one for a single task, which has nothing to be weighed against.

    Parameters
    ----------
    kind
        One of `builder.training.config.TaskWeighting`.
    tasks
        Their names, each of a task that has a weight above 0.
    """

    def __init__(self, kind: str, tasks: Sequence[str]) -> None:
        super().__init__()
        learnt = tasks if kind == "uncertainty" and len(tasks) > 1 else ()
        self.s = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in learnt})

    def forward(self, task: str, loss: Tensor) -> Tensor:
        """What a task adds to the sum, FP []; ``loss`` FP [] is w_t L_t."""
        if task not in self.s:
            return loss
        s: Tensor = self.s[task]
        return torch.exp(-s) * loss + s
