"""The model ``encode`` of the fused layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import triton_python_backend_utils as pb_utils

from .batch import Handler
from .text_encoder import EncodeRequests
from .triton_step import TritonStep


class TritonPythonModel(TritonStep):
    _metrics: TextMetrics | None = None

    def initialize(self, args: Mapping[str, str]) -> None:
        self._metrics = TextMetrics(version=args["model_version"])
        super().initialize(args)

    def make_handler(self, directory: Path, *, batched: bool) -> Handler:  # noqa: ARG002
        return EncodeRequests(directory, self._count)

    def _count(self, encoded: int, known: int) -> None:
        if self._metrics is not None:  # there are none where Triton is not
            self._metrics.count(encoded, known)


class TextMetrics:
    """Counts texts among Triton's own metrics."""

    def __init__(self, version: str) -> None:
        labels = {"model": "encode", "version": version}
        # A metric lives as long as its family does.
        self._families = [
            pb_utils.MetricFamily(
                name=f"tritonrec_texts_{name}",
                description=f"Number of texts {description}",
                kind=pb_utils.MetricFamily.COUNTER,
            )
            for name, description in (
                ("encoded", "that went through BERT"),
                ("known", "that were in the same batch already, or in the cache"),
            )
        ]
        self._encoded, self._known = (family.Metric(labels=labels) for family in self._families)

    def count(self, encoded: int, known: int) -> None:
        self._encoded.increment(encoded)
        self._known.increment(known)
