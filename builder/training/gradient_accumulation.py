"""Gradient accumulation: a step in parts, one after the other and over the processes.

The parts together have the loss and the gradients of the full step. Each part counts by its share
of the targets, so any division gives the same result. Usual accumulation takes the mean of the
parts' means, and a target in a small part then weighs more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from builder.training.objective import NO_TARGET, NextItemObjective
from builder.training.parallel import own_draws, rank, share_gradients, sum_gradients, world
from builder.training.windows import Batch


def accumulated_step(objective: NextItemObjective, batch: Batch, accumulate: int) -> Tensor:
    """Add the gradients of a step to those that are there, and return its loss, FP [].

    Parameters
    ----------
    batch
        Of the whole step, the same in all processes.
    accumulate
        Parts that each process makes of its histories; one of them is in memory at a time.
    """
    learning = [each for each in objective.parameters() if each.requires_grad]
    share_gradients(learning)
    items, targets = batch["items"], batch["targets"]
    step = objective.begin(items, targets)
    # Parts leave their gradients here; the vectors have one backward pass, at the end.
    found = step.vectors._replace(
        used=step.vectors.used.detach().requires_grad_(),
        bias=step.vectors.bias.detach().requires_grad_(),
    )
    loss = targets.new_zeros((), dtype=torch.float32)
    total = (targets != NO_TARGET).sum()
    parts = world() * accumulate
    with own_draws(items.device):
        for part in range(rank(), parts, world()):
            own = {name: value[part::parts] for name, value in batch.items()}  # type: ignore[index]
            count = (own["targets"] != NO_TARGET).sum()
            if count:
                of_part = objective.of_histories(step._replace(vectors=found), **own)
                of_part = of_part * (count / total)
                of_part.backward()
                loss += of_part.detach()
    of_items = objective.of_items(step) / world()
    made = [(step.vectors.used, found.used.grad), (step.vectors.bias, found.bias.grad)]
    made.append((of_items, torch.ones_like(of_items)))
    ends, gradients = zip(*(each for each in made if each[0].requires_grad), strict=True)
    torch.autograd.backward(
        ends,
        [torch.zeros_like(e) if g is None else g for e, g in zip(ends, gradients, strict=True)],
    )
    return sum_gradients(learning, loss + of_items.detach())
