"""The poolings of `TextEncoder` by name, where no torch is needed to know them."""

from typing import Final, Literal, get_args

Pooling = Literal["mean", "cls", "attention"]
PoolingChoice = Literal["auto", "mean", "cls", "attention"]
"""``auto``: the pooling that the backbone was trained with, where it says so."""
POOLINGS: Final = get_args(Pooling)
