"""Packing: the graph that reads several texts in one row, where the backbone allows it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from builder.export.graphs import PackedEncoderGraph
from builder.model.recommender import pad_rows
from builder.model.text_encoder import TextEncoder
from model_repository.engines.packed_encoder import pack

log = logging.getLogger(__name__)

_SAMPLE: Final = 8
_FEW: Final = 3
"""Rows of the largest batch of the parity gate that is tried; the gate has one or two of any length
that are as small, and a larger one is encoded in packs of about this size."""
_BOUND: Final = 1e-4
"""Largest difference allowed, in standard deviations of the vectors; rounding makes 1e-6."""


@torch.no_grad()
def packed_graph(
    encoder: TextEncoder,
    rows: Sequence[Sequence[int]],
    judged: Iterable[NDArray[np.int32]] = (),
) -> PackedEncoderGraph | None:
    """The graph with which ``rows`` of token ids have the same vectors packed as padded.

    So have the batches INT32 [R, L] that it is ``judged`` by later: short titles do not show what
    the layers of a ModernBERT that look no further than 64 tokens make of a longer text.

    None where there is none: the positions of the tokens must be told to the backbone, which has
    them from an embedding (BERT counts from 0, RoBERTa and its kin from behind the padding's id),
    and the mask must be one for each pair of tokens. What a backbone does is tried, not looked up.
    """
    if "position_ids" in inspect.signature(encoder.backbone.forward).parameters:
        batches = [pad_rows(_sample(rows), encoder.pad_id)]
        batches += [torch.from_numpy(batch) for batch in judged if len(batch) <= _FEW]
        padded = [encoder(batch) for batch in batches]
        for first_position in (0, encoder.pad_id + 1):
            graph = PackedEncoderGraph(encoder, first_position).eval()
            try:
                same = all(
                    _alike(graph, unpadded(batch.numpy(), encoder.pad_id), expected)
                    for batch, expected in zip(batches, padded, strict=True)
                )
            except Exception as error:  # noqa: BLE001 - whatever it makes of what it does not know
                log.debug("packed texts, first position %d: %s", first_position, error)
                continue
            if same:
                return graph
    log.info(
        "%s cannot read packed texts, several in one row; they are padded, which is slower",
        type(encoder.backbone).__name__,
    )
    return None


def unpadded(ids: NDArray[Any], pad_id: int) -> list[Any]:
    """The rows of INT [R, L] without the padding at their ends."""
    lengths = [np.trim_zeros(row != pad_id, "b").size for row in ids]
    return [row[:length] for row, length in zip(ids, lengths, strict=True)]


def _alike(graph: PackedEncoderGraph, rows: list[Any], padded: torch.Tensor) -> bool:
    found = graph(*(torch.from_numpy(each) for each in pack(rows).values()))
    return bool((found - padded).abs().max() <= _BOUND * padded.std())


def _sample(rows: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """A few rows of all lengths."""
    longest_last = sorted(rows, key=len)
    places = np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)
    return [longest_last[place] for place in places]
