"""Packing: the graph that reads several texts in one row, where the backbone allows it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from builder.export.graphs import PackedEncoderGraph
from builder.model.recommender import pad_rows
from builder.model.text_encoder import TextEncoder
from model_repository.engines.packed_encoder import pack

log = logging.getLogger(__name__)

_SAMPLE: Final = 8
_BOUND: Final = 1e-4
"""Largest difference allowed, in standard deviations of the vectors; rounding makes 1e-6."""


@torch.no_grad()
def packed_graph(encoder: TextEncoder, rows: Sequence[Sequence[int]]) -> PackedEncoderGraph | None:
    """The graph with which ``rows`` of token ids have the same vectors packed as padded.

    None where there is none: the positions of the tokens must be told to the backbone, which has
    them from an embedding (BERT counts from 0, RoBERTa and its kin from behind the padding's id),
    and the mask must be one for each pair of tokens. What a backbone does is tried, not looked up.
    """
    if "position_ids" in inspect.signature(encoder.backbone.forward).parameters:
        sample = _sample(rows)
        padded = encoder(pad_rows(sample, encoder.pad_id))
        for first_position in (0, encoder.pad_id + 1):
            graph = PackedEncoderGraph(encoder, first_position).eval()
            try:
                packed = graph(*(torch.from_numpy(each) for each in pack(sample).values()))
            except Exception as error:  # noqa: BLE001 - whatever it makes of what it does not know
                log.debug("packed texts, first position %d: %s", first_position, error)
                continue
            if (packed - padded).abs().max() <= _BOUND * padded.std():
                return graph
    log.info(
        "%s cannot read packed texts, several in one row; they are padded, which is slower",
        type(encoder.backbone).__name__,
    )
    return None


def _sample(rows: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """A few rows of all lengths."""
    longest_last = sorted(rows, key=len)
    places = np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)
    return [longest_last[place] for place in places]
