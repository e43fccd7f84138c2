"""Catalogues of any size, made out of an exported one.

Each synthetic item descends from a real one: its vector and bias are the parent's with Gaussian
noise on them, so that vectors lie in clusters, as those of real items do, and the network, which is
the exported one, makes user states that fit them. Its linear term speaks for descendants of the
items that the parent's speaks for.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.export.layout import Limits
from builder.export.serving_code import install
from builder.repository import DynamicBatching, read_manifest, step_config, to_text
from model_repository.core.attributes import NO_ATTRIBUTES
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import OBSERVE, RANK, RECOMMEND
from model_repository.core.identifiers import Identifiers
from model_repository.core.items import unit
from model_repository.core.similarity import TextDirections
from model_repository.core.trend import NO_TREND, Trend
from model_repository.core.users import NO_AGE, History
from model_repository.steps.catalogue_files import (
    CATALOGUE_FILE,
    TREND_FILES,
    load_catalogue,
    save_catalogue,
)
from model_repository.steps.user_models import USER_ENCODER_FILE
from perf.errors import PerfError

EVENTS: Final = 10
"""Of a random history."""
_NOISE: Final = 0.5
"""Deviation of a descendant from its parent, in standard deviations of the real catalogue."""

_LINEAR_ENTRIES: Final = 64
"""Strongest entries of a row of the linear term that are kept: 512 bytes an item."""

_BLOCK: Final = 2**16

_MODELS: Final = (RECOMMEND.name, RANK.name)


class Descent:
    """Which item descends from which.

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


def write_repository(
    source: Path, destination: Path, items: int, seed: int, *, trend: Trend = NO_TREND
) -> Descent:
    """Write a repository like ``source`` with a catalogue of ``items`` named 0, 1, 2 and so on.

    What does not depend on the catalogue is linked. ``trend`` is that of the new items; where it is
    one, there is a model ``observe``, with the code of today.

    Raises
    ------
    PerfError
        ``source`` is not of the fused layout.
    RepositoryError
        It is no published repository.
    """
    manifest = read_manifest(source)
    version = str(manifest.active)
    real = source / _MODELS[0] / version
    if not (real / USER_ENCODER_FILE).is_file():
        raise PerfError(
            f"{source} is not of the fused layout of today, whose search this measures; export it "
            "with `python -m builder export --layout fused`"
        )
    for model in manifest.versions[manifest.active].models:
        if model == OBSERVE.name:
            continue
        shutil.copytree(
            source.resolve() / model / version,
            destination / model / version,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copyfile(source / model / "config.pbtxt", destination / model / "config.pbtxt")
    random = np.random.default_rng(seed)
    catalogue = load_catalogue(real)
    descent = Descent(len(catalogue), items, random)
    directory = destination / _MODELS[0] / version
    for file in [*directory.glob("*.npy"), directory / CATALOGUE_FILE]:
        file.unlink()
    save_catalogue(directory, replace(descended(catalogue, descent, random), trend=trend))
    for model in _MODELS[1:]:
        for file in directory.iterdir():
            if file.is_file() and not file.is_symlink():
                copy = destination / model / version / file.name
                copy.unlink(missing_ok=True)
                os.link(file, copy)
    if trend:
        _add_observe(destination, directory)
    return descent


def _add_observe(destination: Path, like: Path) -> None:
    model = destination / OBSERVE.name
    version = model / like.name
    version.mkdir(parents=True)
    for name in TREND_FILES:
        os.link(like / name, version / name)
    install(version, [])
    config = step_config(
        OBSERVE,
        backend="python",
        version=int(like.name),
        sizes={},
        max_batch_size=Limits().max_rows,
        batching=DynamicBatching(ragged=True),
    )
    (model / "config.pbtxt").write_text(to_text(config), "utf-8")


def descended(catalogue: Catalogue, descent: Descent, random: np.random.Generator) -> Catalogue:
    """The catalogue of the descendants; without texts but those of its neighbourhood."""
    parents = descent.parent
    linear = catalogue.linear_index[:, :_LINEAR_ENTRIES]
    there = descent.has_children(linear)
    linear = np.where(there, linear, parents[0])
    value = catalogue.linear_value[:, :_LINEAR_ENTRIES] * there
    nearby = catalogue.neighbourhood
    # A descendant of each item that may be a neighbour, where there is one.
    kept = np.flatnonzero(descent.has_children(nearby.items))
    items = descent.child(nearby.items[kept], random)
    order = np.argsort(items)
    kept, items = kept[order], items[order]
    return replace(
        catalogue,
        ids=Identifiers.of([str(item) for item in range(len(parents))]),
        vectors=_near(catalogue.vectors, parents, random),
        bias=_near(catalogue.bias, parents, random),
        linear_index=descent.child(linear[parents], random),
        linear_value=value[parents].astype(np.float32),
        # All descendants of what had no events, so their share is that of the real catalogue.
        cold=np.flatnonzero(np.isin(parents, catalogue.cold)).astype(np.int32),
        neighbourhood=replace(
            nearby,
            items=items,
            directions=nearby.directions[kept],
            bias=nearby.bias[kept],
            rate=nearby.rate[kept],
        ),
        attributes=NO_ATTRIBUTES,
        other_texts=np.zeros((0, 0), np.float32),
    )


def with_descended_texts(
    made: Catalogue, real: Catalogue, descent: Descent, random: np.random.Generator
) -> Catalogue:
    """The catalogue ``made`` of the descendants of ``real``, with texts.

    They differ from those of their parents as texts of ``real`` differ from each other: noise of
    another kind would have as many dimensions as a vector has numbers, and texts do not.
    """
    texts = TextDirections(real).of(np.arange(len(real), dtype=np.int32))
    away = texts - texts.mean(axis=0)
    variance, axes = np.linalg.eigh(away.T @ away / len(texts))
    noise = _NOISE * np.sqrt(np.maximum(variance, 0))[:, np.newaxis] * axes.T
    outside = np.ones(len(made), np.bool_)
    outside[made.neighbourhood.items] = False
    parents = descent.parent[outside]
    found = np.empty((len(parents), texts.shape[1]), np.float32)
    for start in range(0, len(parents), _BLOCK):
        part = texts[parents[start : start + _BLOCK]]
        moved = random.standard_normal(part.shape, np.float32) @ noise
        found[start : start + _BLOCK] = unit(part + moved)
    return replace(made, other_texts=found)


def history_of(items: NDArray[np.integer[Any]]) -> History:
    """The history of a user who met catalogue indices INT [E], of which no more is known."""
    events = items.astype(np.int32)
    return History(events, np.zeros_like(events), np.full(len(events), NO_AGE, np.int64))


def random_histories(
    random: np.random.Generator, items: int, users: int, max_history: int
) -> list[History]:
    """Histories of `EVENTS` random items, or of ``max_history`` where that is less."""
    events = min(EVENTS, max_history)
    return [history_of(random.integers(0, items, events)) for _ in range(users)]


def _near(
    real: NDArray[np.float32], parents: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.float32]:
    """What descends from the rows of ``real``."""
    deviation = _NOISE * real.std(axis=0)
    noise = random.standard_normal((len(parents), *real.shape[1:]), np.float32)
    found: NDArray[np.float32] = real[parents] + deviation * noise
    return found
