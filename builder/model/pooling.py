"""The poolings of `TextEncoder` by name, where no torch is needed to know them."""

from typing import Final, Literal, get_args

Pooling = Literal["mean", "cls", "attention"]
POOLINGS: Final = get_args(Pooling)
