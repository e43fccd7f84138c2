"""Catalogues of any size, made out of an exported one.

Each synthetic item descends from a real one: its vector and bias are the parent's with Gaussian
noise on them, so that vectors lie in clusters, as those of real items do, and the network, which is
the exported one, makes user states that fit them. Its linear term speaks for descendants of the
items that the parent's speaks for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.repository import read_manifest
from perf.errors import PerfError

_NOISE: Final = 0.5
"""Deviation of a descendant from its parent, in standard deviations of the real catalogue."""

_LINEAR_ENTRIES: Final = 64
"""Strongest entries of a row of the linear term that are kept: 512 bytes an item."""

_ROWS: Final = 100_000
"""Rows that are made at a time."""

_MODELS: Final = ("recommend", "rank")


class Descent:
    """Who descends from whom.

    Parameters
    ----------
    parents
        Number of real items.
    items
        Number of synthetic ones. Where they are no fewer, each real item has a descendant.
    """

    def __init__(self, parents: int, items: int, random: np.random.Generator) -> None:
        each_once = random.permutation(parents)[:items]
        others = random.integers(0, parents, items - len(each_once))
        self.parent: NDArray[np.int64] = random.permutation(np.concatenate([each_once, others]))
        self._children = np.argsort(self.parent, kind="stable")
        self._count = np.bincount(self.parent, minlength=parents)
        self._first = np.cumsum(self._count) - self._count

    def has_children(self, parents: NDArray[Any]) -> NDArray[np.bool_]:
        """BOOL, of the shape of ``parents``."""
        found: NDArray[np.bool_] = self._count[parents] > 0
        return found

    def child(self, parents: NDArray[Any], random: np.random.Generator) -> NDArray[np.int32]:
        """One descendant of each, INT32 of the shape of ``parents``; all must have some."""
        draw = random.random(parents.shape)
        place = self._first[parents] + (draw * self._count[parents]).astype(np.int64)
        children: NDArray[np.int32] = self._children[place].astype(np.int32)
        return children


def write_repository(source: Path, destination: Path, items: int, seed: int) -> Descent:
    """Write a repository like ``source`` with a catalogue of ``items`` named 0, 1, 2 and so on.

    What does not depend on the catalogue is linked.

    Raises
    ------
    PerfError
        ``source`` is not of the fused layout.
    RepositoryError
        It is no published repository.
    """
    manifest = read_manifest(source)
    version = str(manifest.active)
    arrays = source / _MODELS[0] / version
    if not (arrays / "item_vectors.npy").is_file():
        raise PerfError(
            f"{source} is not of the fused layout, whose search this measures; export it with "
            "`python -m builder export --layout fused`"
        )
    for model in manifest.versions[manifest.active].models:
        shutil.copytree(
            source.resolve() / model / version,
            destination / model / version,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copyfile(source / model / "config.pbtxt", destination / model / "config.pbtxt")
    random = np.random.default_rng(seed)
    parents = len(np.load(arrays / "item_bias.npy"))
    descent = Descent(parents, items, random)
    directory = destination / _MODELS[0] / version
    _write_vectors(arrays, directory, descent, random)
    _write_cold(arrays, directory, descent)
    _write_linear(arrays, directory, descent, random)
    _write_neighbours(arrays, directory, descent, random)
    names = json.dumps([str(item) for item in range(items)])
    _fresh(directory / "items.json").write_text(names, "utf-8")
    for model in _MODELS[1:]:
        for file in directory.iterdir():
            if not file.is_symlink():
                os.link(file, _fresh(destination / model / version / file.name))
    return descent


def _write_vectors(
    arrays: Path, directory: Path, descent: Descent, random: np.random.Generator
) -> None:
    for name in ("item_vectors", "item_bias"):
        real = np.load(arrays / f"{name}.npy")
        deviation = _NOISE * real.std(axis=0)
        made = _created(
            directory / f"{name}.npy", np.float32, (len(descent.parent), *real.shape[1:])
        )
        for rows in _blocks(len(made)):
            parents = descent.parent[rows]
            noise = random.standard_normal(made[rows].shape, np.float32)
            made[rows] = real[parents] + deviation * noise


def _write_cold(arrays: Path, directory: Path, descent: Descent) -> None:
    """All descendants of what had no events, so their share is that of the real catalogue."""
    cold = np.isin(descent.parent, np.load(arrays / "cold.npy"))
    np.save(_fresh(directory / "cold.npy"), np.flatnonzero(cold).astype(np.int32))


def _write_linear(
    arrays: Path, directory: Path, descent: Descent, random: np.random.Generator
) -> None:
    index = np.load(arrays / "linear_index.npy")[:, :_LINEAR_ENTRIES]
    value = np.load(arrays / "linear_value.npy")[:, :_LINEAR_ENTRIES]
    value = value * descent.has_children(index)
    index = np.where(descent.has_children(index), index, descent.parent[0])
    shape = (len(descent.parent), index.shape[1])
    indices = _created(directory / "linear_index.npy", np.int32, shape)
    values = _created(directory / "linear_value.npy", np.float32, shape)
    for rows in _blocks(len(indices)):
        parents = descent.parent[rows]
        indices[rows] = descent.child(index[parents], random)
        values[rows] = value[parents]


def _write_neighbours(
    arrays: Path, directory: Path, descent: Descent, random: np.random.Generator
) -> None:
    """A descendant of each item that may be a neighbour, where there is one."""
    neighbour = np.load(arrays / "neighbour.npy")
    kept = descent.has_children(neighbour)
    np.save(_fresh(directory / "neighbour.npy"), descent.child(neighbour[kept], random))
    directions = np.load(arrays / "neighbour_direction.npy")[kept]
    np.save(_fresh(directory / "neighbour_direction.npy"), directions)


def _blocks(rows: int) -> Sequence[slice]:
    return [slice(start, start + _ROWS) for start in range(0, rows, _ROWS)]


def _created(file: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        _fresh(file), mode="w+", dtype=dtype, shape=shape
    )
    return array


def _fresh(file: Path) -> Path:
    """`file`, after the link to the real one in its place is gone."""
    file.unlink(missing_ok=True)
    return file
