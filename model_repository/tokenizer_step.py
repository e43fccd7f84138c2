"""The model ``tokenizer``."""

from __future__ import annotations

from pathlib import Path

from .batch import Handler
from .request_tokenizer import RequestTokenizer
from .triton_step import TritonStep


class TritonPythonModel(TritonStep):
    def make_handler(self, directory: Path, *, batched: bool) -> Handler:  # noqa: ARG002
        return RequestTokenizer(directory)
