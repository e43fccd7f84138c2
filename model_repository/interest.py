"""History → interest, for many users at a time: what adapter and retriever are in one process.

The network over the events of a history is an ONNX graph. What follows it is a matrix product and a
selection over the catalogue, which numpy does on arrays that lie in files: ``rank`` and
``recommend`` are given the same files, and so share the memory of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .engine import OnnxEngine
from .length_batches import length_batches
from .slots import EXCLUDED_LOGIT, NO_ITEM

Floats = NDArray[np.float32]
Slots = NDArray[np.int32]

_BLOCK: Final = 1024

ARRAYS: Final = (
    "item_vectors",
    "item_bias",
    "linear_index",
    "linear_value",
    "decay",
    "text_weight",
    "text_bias",
    "profile",
)


@dataclass(frozen=True, slots=True)
class History:
    """What a user did, oldest first: slots, action ids and gap buckets, each INT32 [H]."""

    slots: Slots
    actions: Slots
    gaps: Slots


@dataclass(frozen=True, slots=True)
class Interest:
    """Logits, and the probabilities that they mean; each FP32 [n]."""

    logit: Floats
    interest: Floats


class InterestModel:
    """Scores items for users.

    Parameters
    ----------
    directory
        Holds ``state.onnx`` (events → user state); ``settings.json`` with ``scale``, ``shift`` and
        ``ceiling`` of the calibration; and as ``.npy`` files ``item_vectors`` FP32 [n, d] and
        ``item_bias`` [n], ``linear_index`` INT32 and ``linear_value`` FP32 [n, K], the items that
        an event on an item speaks for and by how much, ``decay`` [A], the weight of an event of age
        a, ``text_weight`` [h, d] and ``text_bias`` [d], from a text vector to an item vector, and
        ``profile`` [P, ids, d], what an id of a profile's column adds to a user's state.
    """

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._scale = np.float32(settings["scale"])
        self._shift = np.float32(settings["shift"])
        self._ceiling = np.float32(settings["ceiling"])
        # One thread: the graph is done before a second one wakes.
        self._state = OnnxEngine(directory / "state.onnx", 1)
        arrays = {name: _mapped(directory / f"{name}.npy") for name in ARRAYS}
        self._vectors: Floats = arrays["item_vectors"]
        self._bias: Floats = arrays["item_bias"]
        self._linear_index: Slots = arrays["linear_index"]
        self._linear_value: Floats = arrays["linear_value"]
        self._decay: Floats = arrays["decay"]
        self._text_weight: Floats = arrays["text_weight"]
        self._text_bias: Floats = arrays["text_bias"]
        self._profile: Floats = arrays["profile"]

    def from_text(self, text_vectors: Floats) -> Floats:
        """Text vectors FP32 [R, h] → item vectors FP32 [R, d] of items known by text alone."""
        vectors: Floats = text_vectors @ self._text_weight + self._text_bias
        return vectors

    def user_states(
        self, histories: Sequence[History], fresh: Floats, profiles: Slots | None = None
    ) -> Floats:
        """User states FP32 [U, d] after whole histories; row r of ``fresh`` is slot -(r + 1).

        ``profiles`` INT32 [U, P] are ids of the users' profiles, None where the model knows none.
        """
        states = np.empty((len(histories), self._vectors.shape[1]), np.float32)
        for batch in length_batches([len(history.slots) for history in histories]):
            states[batch] = self._run([histories[position] for position in batch], fresh)
        if profiles is not None:
            states += self._profile[np.arange(len(self._profile)), profiles].sum(1)
        return states

    def score(self, state: Floats, history: History, candidates: Slots, fresh: Floats) -> Interest:
        """Score ``candidates`` INT32 [N] for the user of ``state`` [d]; `NO_ITEM` gets NaN."""
        known = np.maximum(candidates, 0)
        linear = np.zeros(len(self._bias), np.float32)
        self._add_linear(linear, history.slots)
        by_id = self._bias[known] + linear[known]
        logit = self._item_vectors(candidates, fresh) @ state
        logit += np.where(candidates >= 0, by_id, np.float32(0))
        logit[candidates == NO_ITEM] = np.nan
        return Interest(logit, self._calibrated(logit))

    def best(
        self,
        states: Floats,
        histories: Sequence[History],
        excluded: Sequence[Slots],
        wanted: Sequence[int],
    ) -> list[tuple[Slots, Interest]]:
        """The best items of each user: catalogue indices INT32 [k], best first, and their scores.

        ``wanted`` says how many, ``excluded`` which rank behind all others, at `EXCLUDED_LOGIT`.
        Equal ones of them come in the order of the catalogue.
        """
        logits: Floats = states @ self._vectors.T
        logits += self._bias
        found = []
        for logit, history, left_out, number in zip(
            logits, histories, excluded, wanted, strict=True
        ):
            self._add_linear(logit, history.slots)
            logit[left_out] = EXCLUDED_LOGIT
            index = _largest(logit, number)
            best = logit[index]
            found.append((index, Interest(best, self._calibrated(best))))
        return found

    def _run(self, histories: Sequence[History], fresh: Floats) -> Floats:
        lengths = np.array([len(history.slots) for history in histories], np.int32)
        longest = int(lengths.max())
        slots = _padded([history.slots for history in histories], longest, NO_ITEM)
        return self._state.run(
            {
                "EVENT": self._item_vectors(slots, fresh),
                "HISTORY_ACTION_ID": _padded([each.actions for each in histories], longest, 0),
                "HISTORY_GAP": _padded([each.gaps for each in histories], longest, 0),
                "LENGTH": lengths,
            }
        )["STATE"]

    def _item_vectors(self, slots: Slots, fresh: Floats) -> Floats:
        """FP32 [..., d] of slots INT32 [...]; those of `NO_ITEM` mean nothing."""
        vectors: Floats = self._vectors[np.maximum(slots, 0)]
        if len(fresh):
            texts = (slots < 0) & (slots != NO_ITEM)
            vectors[texts] = fresh[-slots[texts] - 1]
        return vectors

    def _add_linear(self, logit: Floats, slots: Slots) -> None:
        """Add to ``logit`` [n] what the events of a history [H] speak for."""
        known = slots >= 0
        rows = slots[known]
        weight = self._decay[: len(slots)][::-1][known]
        value = self._linear_value[rows] * weight[:, np.newaxis]
        np.add.at(logit, self._linear_index[rows].ravel(), value.ravel())

    def _calibrated(self, logit: Floats) -> Floats:
        # exp of a large number is infinite, and the interest then 0, as it should be.
        with np.errstate(over="ignore"):
            interest: Floats = self._ceiling / (1 + np.exp(-(self._scale * logit + self._shift)))
        return interest


def _mapped(file: Path) -> NDArray[Any]:
    """The array in a file, read when it is looked at; the processes that map it share it."""
    return np.asarray(np.load(file, mmap_mode="r"))


def _padded(rows: Sequence[Slots], length: int, value: int) -> Slots:
    """INT32 [U, length] of rows, with ``value`` at the end of the shorter ones."""
    padded = np.full((len(rows), length), value, np.int32)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded


def _largest(values: Floats, number: int) -> Slots:
    """Places of the ``number`` largest values, largest first, equal ones in their order.

    Of a large catalogue only those blocks are searched whose maxima are among the largest: they
    hold all of the largest values. Top 10 of 1,000,000: 0.15 ms, and 15 ms by a partition of all.
    """
    if len(values) < 4 * _BLOCK * number:
        places = np.arange(len(values))
    else:
        blocks = len(values) // _BLOCK
        maxima = values[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(1)
        best = np.sort(np.argpartition(maxima, blocks - number)[blocks - number :])
        inside = best[:, np.newaxis] * _BLOCK + np.arange(_BLOCK)
        places = np.concatenate([inside.ravel(), np.arange(blocks * _BLOCK, len(values))])
    searched = values[places]
    if number < len(places):
        kept = np.argpartition(searched, len(places) - number)[len(places) - number :]
        places = np.sort(places[kept])
    order = np.argsort(-values[places], kind="stable")
    return places[order].astype(np.int32)
