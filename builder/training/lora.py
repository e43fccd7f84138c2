"""Low-rank updates of BERT's layers in place of all of their weights (LoRA, Hu et al. 2022).

While they learn, each linear map of the layers has the sum of what it was and a product of two thin
matrices; `merged` adds the product in, so that what is saved, exported and served is a plain BERT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from torch import nn

from builder.errors import ConfigError


def check_installed() -> None:
    """Refuse before any work what would fail after the first stage.

    Raises
    ------
    ConfigError
        The package peft is not there.
    """
    if find_spec("peft") is None:
        raise ConfigError(
            "--lora-rank trains with peft, which is not installed; pip install "
            "'tritonrec[builder,lora]'"
        )


@contextmanager
def low_rank(backbone: nn.Module, layers: nn.ModuleList, rank: int) -> Iterator[None]:
    """Let `layers` of `backbone` learn by updates of this rank, and nothing else of it.

    Afterwards the updates are part of the weights, and everything can learn again.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    backbone.requires_grad_(requires_grad=False)
    names = [name for name, module in layers.named_modules() if isinstance(module, nn.Linear)]
    # Twice the rank is the scale that is usual; a rank is then tried without a new learning rate.
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), layers)
    try:
        yield
    finally:
        for parent in list(layers.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, LoraLayer):
                    child.merge()
                    setattr(parent, name, child.get_base_layer())
        backbone.requires_grad_(requires_grad=True)
