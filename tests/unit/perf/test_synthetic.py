"""Catalogues of any size: who descends from whom, and what descendants inherit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.repository.manifest import Manifest, VersionRecord, manifest_text
from model_repository.core.attributes import Attributes, text_column
from model_repository.core.catalogue import Catalogue
from model_repository.core.identifiers import Identifiers
from model_repository.core.items import NO_NEIGHBOURHOOD, unit
from model_repository.core.trend import Trend
from model_repository.steps.catalogue_files import load_catalogue, load_trend, save_catalogue
from model_repository.steps.user_models import USER_ENCODER_FILE
from perf.errors import PerfError
from perf.synthetic import Descent, with_descended_texts, write_repository

PARENTS, WIDTH, ENTRIES = 40, 6, 5
MODELS = ("encode", "rank", "recommend")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of a fused repository that a catalogue is made of, and some that it is not."""
    root = tmp_path / "source"
    random = np.random.default_rng(0)
    index = np.stack([random.permutation(PARENTS)[:ENTRIES] for _ in range(PARENTS)])
    catalogue = Catalogue(
        random.normal(size=(PARENTS, WIDTH)).astype(np.float32),
        random.normal(size=PARENTS).astype(np.float32),
        ids=Identifiers.of([f"i{number}" for number in range(PARENTS)]),
        cold=np.array([3, 17], np.int32),
        cold_rank=4,
        linear_index=index.astype(np.int32),
        linear_value=random.random((PARENTS, ENTRIES), np.float32) + 1,
        neighbourhood=replace(
            NO_NEIGHBOURHOOD,
            items=np.sort(random.permutation(PARENTS)[:30]).astype(np.int32),
            directions=random.normal(size=(30, 2 * WIDTH)).astype(np.float32),
            bias=np.arange(30, dtype=np.float32),
            rate=np.arange(30, dtype=np.float32),
        ),
        attributes=Attributes({"genre": text_column(["drama"] * PARENTS)}),
    )
    for model in MODELS:
        directory = root / model / "3"
        directory.mkdir(parents=True)
        (root / model / "config.pbtxt").write_text(f'name: "{model}"')
        (directory / "settings.json").write_text(model)
        if model != "encode":
            save_catalogue(directory, catalogue)
            (directory / USER_ENCODER_FILE).write_bytes(b"a network")
    record = VersionRecord("2026-01-01T00:00:00+00:00", "embedded", "run", MODELS)
    (root / "manifest.json").write_text(manifest_text(Manifest(3, {3: record})))
    return root


def array(root: Path, model: str, name: str) -> NDArray[Any]:
    found: NDArray[Any] = np.load(root / model / "3" / f"{name}.npy")
    return found


def test_a_large_catalogue_lies_in_clusters_round_the_real_one(
    source: Path, tmp_path: Path
) -> None:
    items = 4_000
    descent = write_repository(source, tmp_path / "made", items, seed=1)
    assert set(descent.parent) == set(range(PARENTS))
    real, made = (array(root, "recommend", "item_vectors") for root in (source, tmp_path / "made"))
    away = made - real[descent.parent]
    np.testing.assert_allclose(away.std(axis=0), 0.5 * real.std(axis=0), rtol=0.1)
    bias = array(tmp_path / "made", "recommend", "item_bias")
    assert np.corrcoef(bias, array(source, "recommend", "item_bias")[descent.parent])[0, 1] > 0.8
    cold = array(tmp_path / "made", "recommend", "cold")
    assert cold.tolist() == np.flatnonzero(np.isin(descent.parent, [3, 17])).tolist()
    # The linear term of a descendant speaks for descendants of whom its parent's speaks for.
    index = array(tmp_path / "made", "recommend", "linear_index")
    inherited = array(source, "recommend", "linear_index")[descent.parent]
    np.testing.assert_array_equal(descent.parent[index], inherited)
    assert len(np.unique(index)) > PARENTS * 2
    value = array(tmp_path / "made", "recommend", "linear_value")
    np.testing.assert_array_equal(value, array(source, "recommend", "linear_value")[descent.parent])
    made_catalogue = load_catalogue(tmp_path / "made/rank/3")
    names = [str(item).encode() for item in range(items)]
    assert made_catalogue.ids.indices(names) == list(range(items))
    assert len(made_catalogue.ids) == items
    assert made_catalogue.cold_rank == 4
    nearby, parents = made_catalogue.neighbourhood, load_catalogue(source / "rank/3").neighbourhood
    own = {int(item): place for place, item in enumerate(parents.items)}
    places = [own[parent] for parent in descent.parent[nearby.items].tolist()]
    for name in ("directions", "bias", "rate"):
        np.testing.assert_array_equal(getattr(nearby, name), getattr(parents, name)[places])


def test_both_models_have_the_same_files_and_the_source_keeps_its_own(
    source: Path, tmp_path: Path
) -> None:
    before = array(source, "rank", "item_vectors")
    made = tmp_path / "made"
    write_repository(source, made, 100, seed=1)
    for name in ("item_vectors.npy", "linear_value.npy", "id_content.npy", "catalogue.json"):
        assert (made / "rank/3" / name).samefile(made / "recommend/3" / name)
    assert (made / "rank/3/settings.json").read_text() == "rank"
    assert (made / "encode/3/settings.json").is_symlink()
    assert (made / "recommend/3" / USER_ENCODER_FILE).is_symlink()
    np.testing.assert_array_equal(array(source, "rank", "item_vectors"), before)
    # Columns have as many values as there are real items.
    assert not load_catalogue(made / "recommend/3").attributes.columns


def test_where_an_item_has_no_descendant_nothing_speaks_for_it(
    source: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    descent = write_repository(source, made, 10, seed=1)
    assert len(set(descent.parent)) == 10
    spoken = array(source, "recommend", "linear_index")[descent.parent]
    value = array(made, "recommend", "linear_value")
    np.testing.assert_array_equal(value > 0, np.isin(spoken, descent.parent))
    assert array(made, "recommend", "linear_index").max() < 10
    # Of the items that may be neighbours those are left that have a descendant.
    neighbour = array(source, "recommend", "neighbour")
    kept = np.isin(neighbour, descent.parent)
    assert 0 < kept.sum() < len(neighbour)
    children = array(made, "recommend", "neighbour")
    assert (np.diff(children) > 0).all()
    place = neighbour.searchsorted(descent.parent[children])
    assert np.sort(place).tolist() == np.flatnonzero(kept).tolist()
    np.testing.assert_array_equal(
        array(made, "recommend", "neighbour_direction"),
        array(source, "recommend", "neighbour_direction")[place],
    )


def test_texts_differ_as_real_ones_do() -> None:
    """Each has a direction of its own near that of its parent, and along the same axes."""
    random = np.random.default_rng(0)
    texts = unit(random.normal(size=(PARENTS, WIDTH)).astype(np.float32) * [3, 1, 1, 1, 1, 0])
    nearby = replace(
        NO_NEIGHBOURHOOD,
        text_mean=np.zeros(WIDTH, np.float32),
        items=np.arange(0, PARENTS, 2, dtype=np.int32),
        directions=texts[::2],
    )
    real = Catalogue(
        texts, np.zeros(PARENTS, np.float32), neighbourhood=nearby, other_texts=texts[1::2]
    )
    descent = Descent(PARENTS, 5_000, random)
    made = replace(
        real,
        vectors=np.zeros((5_000, WIDTH), np.float32),
        bias=np.zeros(5_000, np.float32),
        neighbourhood=replace(nearby, items=np.arange(20, dtype=np.int32)),
    )
    found = with_descended_texts(made, real, descent, random).other_texts
    assert found.shape == (4_980, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    products = found @ texts.T
    own = products[np.arange(4_980), descent.parent[20:]]
    assert own.mean() > products.mean() + 0.5
    assert (np.abs(own) < 0.999).any()
    np.testing.assert_allclose(found[:, -1], 0, atol=1e-6)


def test_the_same_seed_makes_the_same_catalogue(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_repository(source, tmp_path / name, 200, seed=seed)
    a, b, c = (array(tmp_path / name, "recommend", "item_vectors") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_children_are_drawn_among_all_that_an_item_has() -> None:
    descent = Descent(3, 30, np.random.default_rng(0))
    drawn = descent.child(np.full(500, 1), np.random.default_rng(1))
    assert set(drawn) == set(np.flatnonzero(descent.parent == 1))


def test_another_layout_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "recommend/3" / USER_ENCODER_FILE).unlink()
    with pytest.raises(PerfError, match="not of the fused layout"):
        write_repository(source, tmp_path / "made", 10, seed=1)


def test_with_a_trend_it_takes_events(source: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    trend = Trend(60.0, 2.0, np.arange(100.0), 7)
    write_repository(source, made, 100, seed=1, trend=trend)
    for model in ("rank", "recommend"):
        assert load_catalogue(made / model / "3").trend.until == 7
    ids, found = load_trend(made / "observe" / "3")
    assert len(ids) == 100
    np.testing.assert_array_equal(found.level, trend.level)
    assert 'name: "observe"' in (made / "observe" / "config.pbtxt").read_text()
    # Of no catalogue but its own.
    write_repository(source, tmp_path / "other", 100, seed=1)
    assert not (tmp_path / "other" / "observe").exists()
    assert not load_catalogue(tmp_path / "other/rank/3").trend
