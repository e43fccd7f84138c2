"""The model ``recommend`` of the fused layout."""

from __future__ import annotations

from pathlib import Path

from .batch import Handler
from .encode_call import EncodeCall
from .interest_requests import RecommendRequests
from .triton_step import TritonStep


class TritonPythonModel(TritonStep):
    def make_handler(self, directory: Path, *, batched: bool) -> Handler:  # noqa: ARG002
        return RecommendRequests(directory, EncodeCall(version=int(directory.name)))
