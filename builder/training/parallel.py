"""One training in several processes, as `torchrun` starts them on one machine.

Every process reads the same log, has the same batch of a step, and computes its own rows of it. All
processes draw the same candidates, the same items known by id and the same texts that learn.
Gradients and losses are summed, so a step is the same as in a single process.
DistributedDataParallel is not used: it averages, and it has no place for what belongs to a full
step, such as the texts that all histories read.

In a single process nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from builder.errors import BuilderError, ConfigError

T = TypeVar("T")


def started_together() -> bool:
    """Whether `torchrun` started this process."""
    return dist.is_torchelastic_launched()


@contextmanager
def processes() -> Iterator[None]:
    """Meet the other processes that `torchrun` has started, if it has."""
    if not started_together():
        yield
        return
    # The one that transformers asks too: it chooses the device.
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())  # gloo on CPUs, nccl on GPUs
    yield
    dist.destroy_process_group()  # not where something failed: others may be in the middle of a sum


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one that writes and prints."""
    return rank() == 0


def check_parts(batch: int, accumulate: int) -> None:
    """Raise `ConfigError` where a step has fewer histories than parts are to be made of it."""
    if batch < world() * accumulate:
        raise ConfigError(
            f"a step of {batch} histories cannot be divided among {world()} processes with "
            f"{accumulate} parts each; raise --batch-size, lower --accumulate or --nproc-per-node"
        )


def wait() -> None:
    """Go on when all have come here."""
    if world() > 1:
        dist.barrier()


def of_main(work: Callable[[], T]) -> T:
    """What `work` comes to in the main process, which alone does it; what it refuses, all raise."""
    if world() == 1:
        return work()
    told: list[Any] = [None, None]
    if is_main():
        try:
            told[0] = work()
        except BuilderError as error:
            told[1] = error
    dist.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    found: T = told[0]
    return found


@contextmanager
def own_draws(device: torch.device) -> Iterator[None]:
    """Draw here what no other process draws; afterwards all draw alike as before."""
    if world() == 1:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # Taken from what is drawn alike, so that it is another one in every step.
        seed = int(torch.randint(2**62, (), device=device))
        torch.manual_seed(seed + rank())
        yield


def in_parts(vectors_of: Callable[[Tensor], Tensor], items: Tensor, width: int) -> Tensor:
    """Vectors FP [m, width] of items INT64 [m], of which each process works out some.

    The gradient of all processes' losses comes back to the one that worked a vector out.
    """
    if world() == 1:
        return vectors_of(items)
    own = torch.arange(rank(), len(items), world(), device=items.device)
    # Wants a gradient in any case: the way back leads through all processes too.
    rows = torch.zeros(len(items), width, device=items.device, requires_grad=True)
    if len(own):
        with own_draws(items.device):
            rows = rows.index_copy(0, own, vectors_of(items[own]))
    total: Tensor = _Sum.apply(rows)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """Sum over the processes, of what they have and of the gradients of what they make of it."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def share_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Make of gradients that are the same everywhere a part of the next sum."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= world()


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sum the gradients, in place, and the loss FP [], which is returned, over the processes."""
    if world() == 1:
        return loss
    # A parameter that no process used keeps no gradient: the optimiser then leaves it alone.
    used = loss.new_tensor([parameter.grad is not None for parameter in parameters])
    gradients = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for parameter in parameters
    ]
    flat = torch.cat([loss.reshape(1), used, *(each.flatten() for each in gradients)])
    dist.all_reduce(flat)
    counts, values = flat[1 : 1 + len(used)].tolist(), flat[1 + len(used) :]
    sums = torch.split(values, [each.numel() for each in gradients])
    for parameter, count, value in zip(parameters, counts, sums, strict=True):
        parameter.grad = value.view_as(parameter).clone() if count else None
    return flat[0]
