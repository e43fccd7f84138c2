"""The model ``pair_tokenizer``."""

from __future__ import annotations

from pathlib import Path

from .batch import Handler
from .pair_tokenizer import PairTokenizer
from .triton_step import TritonStep


class TritonPythonModel(TritonStep):
    def make_handler(self, directory: Path, *, batched: bool) -> Handler:  # noqa: ARG002
        return PairTokenizer(directory)
