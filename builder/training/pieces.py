"""A step of training in pieces: of its histories, one after the other and over the processes.

The pieces together have the loss and the gradients of the whole. Each counts by its share of the
targets, so that it does not matter how they were dealt out; a mean of the pieces' means, which is
what accumulation usually makes, would let a target in a small piece weigh more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from builder.training.objective import NO_TARGET, NextItemObjective
from builder.training.parallel import own_draws, rank, share_gradients, sum_gradients, world
from builder.training.windows import Batch


def step_in_pieces(objective: NextItemObjective, batch: Batch, pieces: int) -> Tensor:
    """Add the gradients of a step to those that are there, and return its loss, FP [].

    Parameters
    ----------
    batch
        Of the whole step, the same in all processes.
    pieces
        How many each process makes of its histories; what they need is in memory one at a time.
    """
    learning = [each for each in objective.parameters() if each.requires_grad]
    share_gradients(learning)
    items, targets = batch["items"], batch["targets"]
    step = objective.begin(items, targets)
    # Pieces leave their gradients here; what vectors are made of is gone through once, at the end.
    found = step.found._replace(
        used=step.found.used.detach().requires_grad_(),
        bias=step.found.bias.detach().requires_grad_(),
    )
    loss = targets.new_zeros((), dtype=torch.float32)
    total = (targets != NO_TARGET).sum()
    parts = world() * pieces
    with own_draws(items.device):
        for part in range(rank(), parts, world()):
            own = {name: value[part::parts] for name, value in batch.items()}  # type: ignore[index]
            count = (own["targets"] != NO_TARGET).sum()
            if count:
                of_part = objective.of_histories(step._replace(found=found), **own)
                of_part = of_part * (count / total)
                of_part.backward()
                loss += of_part.detach()
    of_items = objective.of_items(step) / world()
    made = [(step.found.used, found.used.grad), (step.found.bias, found.bias.grad)]
    made.append((of_items, torch.ones_like(of_items)))
    ends, gradients = zip(*(each for each in made if each[0].requires_grad), strict=True)
    torch.autograd.backward(
        ends,
        [torch.zeros_like(e) if g is None else g for e, g in zip(ends, gradients, strict=True)],
    )
    return sum_gradients(learning, loss + of_items.detach())
