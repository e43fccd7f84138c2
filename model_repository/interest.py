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

from .cold_place import lift
from .engine import OnnxEngine
from .item_index import INDEX_FILE, ItemIndex
from .length_batches import length_batches
from .neighbours import NewItems, unit, weigh
from .slots import EXCLUDED_LOGIT, NO_ITEM
from .top_k import largest

Floats = NDArray[np.float32]
Slots = NDArray[np.int32]

_SPARE: Final = 2
"""Items that the index is asked for, over those that are wanted or excluded."""
_FEW: Final = 4
"""An index is asked for at most one in so many items; beyond that, reading all is no slower."""

ARRAYS: Final = (
    "item_vectors",
    "item_bias",
    "cold",
    "linear_index",
    "linear_value",
    "decay",
    "text_mean",
    "text_weight",
    "text_bias",
    "neighbour",
    "neighbour_direction",
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
        ``ceiling`` of the calibration and ``cold_place``, where in a list the best cold item comes,
        0 for where its logit says; and as ``.npy`` files ``item_vectors`` FP32 [n, d] and
        ``item_bias`` [n], ``cold`` INT32 [c], items that no training event met, ``linear_index``
        INT32 and ``linear_value`` FP32 [n, K], the items that an event on an item speaks for and by
        how much, ``decay`` [A], the weight of an event of age a, ``text_mean`` [h], ``text_weight``
        [h, d] and ``text_bias`` [d], from a text vector to the two directions that its neighbours
        are found by, ``neighbour`` INT32 [p] and ``neighbour_direction`` FP32 [p, h + d], the items
        that may be neighbours, and ``profile`` [P, ids, d], what an id of a profile's column adds
        to a user's state. May hold an `ItemIndex` as ``index.faiss``.
    exact
        Leaves the index alone.
    """

    def __init__(self, directory: Path, *, exact: bool = False) -> None:
        settings = json.loads((directory / "settings.json").read_text("utf-8"))
        self._scale = np.float32(settings["scale"])
        self._shift = np.float32(settings["shift"])
        self._ceiling = np.float32(settings["ceiling"])
        # One thread: the graph is done before a second one wakes.
        self._state = OnnxEngine(directory / "state.onnx", 1)
        arrays = {name: _mapped(directory / f"{name}.npy") for name in ARRAYS}
        self._vectors: Floats = arrays["item_vectors"]
        self._bias: Floats = arrays["item_bias"]
        self._cold: Slots = arrays["cold"]
        self._linear_index: Slots = arrays["linear_index"]
        self._linear_value: Floats = arrays["linear_value"]
        self._decay: Floats = arrays["decay"]
        self._text_mean: Floats = arrays["text_mean"]
        self._text_weight: Floats = arrays["text_weight"]
        self._text_bias: Floats = arrays["text_bias"]
        self._neighbour: Slots = arrays["neighbour"]
        self._neighbour_direction: Floats = arrays["neighbour_direction"]
        self._profile: Floats = arrays["profile"]
        self._cold_place: int = settings["cold_place"] if len(self._cold) else 0
        if not self._cold_place:
            self._cold = self._cold[:0]
        self._cold_vectors = self._vectors[self._cold]  # together, to be read at once
        index = directory / INDEX_FILE
        self._index = ItemIndex(index) if index.exists() and not exact else None

    def from_text(self, text_vectors: Floats) -> NewItems:
        """Place texts of vectors FP32 [R, h] among the items whose texts are most like them."""
        centred = text_vectors - self._text_mean
        projected = centred @ self._text_weight + self._text_bias
        if not len(self._neighbour):
            return NewItems.of_text(projected)
        directions = [unit(centred), unit(projected)]
        alike = np.concatenate(directions, axis=1) @ self._neighbour_direction.T
        place, weight = weigh(alike)
        items = self._neighbour[place]
        vectors = np.einsum("rk,rkd->rd", weight, self._vectors[items])
        return NewItems(vectors, items, weight)

    def user_states(
        self, histories: Sequence[History], fresh: NewItems, profiles: Slots | None = None
    ) -> Floats:
        """User states FP32 [U, d] after whole histories; row r of ``fresh`` is slot -(r + 1).

        ``profiles`` INT32 [U, P] are ids of the users' profiles, None where the model knows none.
        """
        states = np.empty((len(histories), self._vectors.shape[1]), np.float32)
        for batch in length_batches([len(history.slots) for history in histories]):
            states[batch] = self._run([histories[position] for position in batch], fresh.vectors)
        if profiles is not None:
            states += self._profile[np.arange(len(self._profile)), profiles].sum(1)
        return states

    def score(
        self, state: Floats, history: History, candidates: Slots, fresh: NewItems
    ) -> Interest:
        """Score ``candidates`` INT32 [N] for the user of ``state`` [d]; `NO_ITEM` gets NaN."""
        by_id = self._bias.copy()
        np.add.at(by_id, *self._spoken_for(history.slots))
        beside = by_id[np.maximum(candidates, 0)]
        new = (candidates < 0) & (candidates != NO_ITEM)
        if new.any():
            mean = (by_id[fresh.items] * fresh.weights).sum(axis=1)
            beside[new] = mean[-candidates[new] - 1]
        logit = self._item_vectors(candidates, fresh.vectors) @ state + beside
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
        Equal ones of them come in the order of the catalogue. With an index an item may be missed,
        but as many are returned, with the same scores.
        """
        found: dict[int, tuple[Slots, Interest]] = {}
        if self._index is not None:
            for user, state in enumerate(states):
                few = self._best_of_few(
                    self._index, state, histories[user], excluded[user], wanted[user]
                )
                if few is not None:
                    found[user] = few
        rest = [user for user in range(len(states)) if user not in found]
        if rest:
            logits: Floats = states[rest] @ self._vectors.T
            logits += self._bias
            # One call for the whole batch of each that follows: 24 us a user, and 39 in a loop.
            place, value = self._all_spoken_for([histories[user].slots for user in rest])
            np.add.at(logits.reshape(-1), place, value)
            for logit, user in zip(logits, rest, strict=True):
                logit[excluded[user]] = EXCLUDED_LOGIT
            cold = logits[:, self._cold]
            logits[:, self._cold] = -np.inf
            places, best, _ = self._ranked(logits, cold, max(wanted[user] for user in rest))
            interest = self._calibrated(best)
            for row, user in enumerate(rest):
                kept = slice(wanted[user])
                found[user] = places[row, kept], Interest(best[row, kept], interest[row, kept])
        return [found[user] for user in range(len(states))]

    def _best_of_few(
        self, index: ItemIndex, state: Floats, history: History, left_out: Slots, wanted: int
    ) -> tuple[Slots, Interest] | None:
        """The best of what the index finds and of what the history speaks for, scored exactly.

        And of the cold items, all of which are scored. None where better ones may lie elsewhere:
        where the index has no more to give; and where one of the best is worse than what the
        network makes of all that it found, since an item that is neither has no linear term, and so
        may score as much. That is with many items excluded or spoken against.
        """
        asked = _SPARE * (max(wanted, self._cold_place) + len(left_out))
        if _FEW * asked > len(self._bias):
            return None
        nearest = index.nearest(state, asked)
        if len(nearest) < asked:
            return None
        spoken_for, value = self._spoken_for(history.slots)
        items = np.unique(np.concatenate([nearest, spoken_for]))
        logit: Floats = self._vectors[items] @ state
        logit += self._bias[items]
        worst = logit[np.searchsorted(items, nearest)].min()
        np.add.at(logit, np.searchsorted(items, spoken_for), value)
        logit[np.isin(items, left_out)] = EXCLUDED_LOGIT
        cold: Floats = self._cold_vectors @ state
        cold += self._bias[self._cold]
        if len(cold):
            among = np.isin(items, self._cold)
            logit[among] = -np.inf
            spoken = np.isin(spoken_for, self._cold)
            np.add.at(cold, np.searchsorted(self._cold, spoken_for[spoken]), value[spoken])
            cold[np.isin(self._cold, left_out)] = EXCLUDED_LOGIT
        places, best, least = self._ranked(logit[np.newaxis], cold[np.newaxis], wanted, items)
        # Written so that a NaN goes the long way, where it is found.
        found = Interest(best[0], self._calibrated(best[0]))
        return (places[0], found) if least[0] >= worst else None

    def _ranked(
        self, logits: Floats, cold: Floats, wanted: int, items: Slots | None = None
    ) -> tuple[Slots, Floats, Floats]:
        """The best ``wanted`` items of each row INT32 [U, k], best first, and their logits FP32.

        ``logits`` FP32 [U, m] are those of ``items`` INT32 [m], None for the whole catalogue, with
        -inf for the cold ones, whose logits are ``cold`` FP32 [U, c]. The third is the least FP32
        [U] of the known ones that were looked at.
        """
        known = largest(logits, min(max(wanted, self._cold_place), logits.shape[1]))
        best = np.take_along_axis(logits, known, 1)
        least = best[:, -1]
        places = known if items is None else items[known]
        # Where its place lies behind those that are wanted, the best cold item may come before it
        # by itself, or because too few of the others are left.
        if cold.shape[1] and not (wanted < self._cold_place and self._behind(cold, least)):
            first = largest(cold, min(wanted, cold.shape[1]))
            lifted = np.take_along_axis(cold, first, 1)
            moved = lifted > EXCLUDED_LOGIT / 2
            lifted += moved * lift(best, lifted[:, 0], self._cold_place)[:, np.newaxis]
            best = np.concatenate([best, lifted], axis=1)
            places = np.concatenate([places, self._cold[first]], axis=1)
            order = largest(best, min(wanted, best.shape[1]))
            best = np.take_along_axis(best, order, 1)
            places = np.take_along_axis(places, order, 1)
        return places[:, :wanted], best[:, :wanted], least

    @staticmethod
    def _behind(cold: Floats, least: Floats) -> bool:
        return bool(((cold.max(axis=1) < least) & (least > EXCLUDED_LOGIT / 2)).all())

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

    def _spoken_for(self, slots: Slots) -> tuple[Slots, Floats]:
        """What the events of a history [H] speak for, and by how much: INT32 [m] and FP32 [m].

        An item that several events speak for is there several times.
        """
        known = slots >= 0
        rows = slots[known]
        weight = self._decay[: len(slots)][::-1][known]
        value = self._linear_value[rows] * weight[:, np.newaxis]
        return self._linear_index[rows].ravel(), value.ravel()

    def _all_spoken_for(self, histories: Sequence[Slots]) -> tuple[NDArray[np.int64], Floats]:
        """`_spoken_for` of many, INT64 [m] and FP32 [m]: item i of user u is place u · n + i."""
        lengths = [len(slots) for slots in histories]
        slots = np.concatenate(histories)
        first = np.repeat(np.arange(len(histories)) * len(self._bias), lengths)
        age = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(slots))
        known = slots >= 0
        rows = slots[known]
        place = first[known, np.newaxis] + self._linear_index[rows]
        value = self._linear_value[rows] * self._decay[age[known], np.newaxis]
        return place.ravel(), value.ravel()

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
