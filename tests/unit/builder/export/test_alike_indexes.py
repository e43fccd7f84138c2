"""Indexes over items that are alike: what a search with them finds, and that it reads a part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.export import alike_indexes
from builder.export.alike_indexes import AlikeFigure, write_alike_indexes
from model_repository.core.arrays import NO_ITEMS, Floats, Indices
from model_repository.core.catalogue import Catalogue
from model_repository.core.item_sets import ItemSet
from model_repository.core.scoring import Scorer
from model_repository.core.similarity import Cosine, Held, Similarity
from model_repository.engines.direction_index import SPARE
from model_repository.steps.user_models import ALIKE_FILES, load_similarity
from tests.unit.model_repository.catalogues import TEXT_WIDTH, WIDTH, EventSums, catalogue

ITEMS = 24_000
RANDOM = np.random.default_rng(0)
WORDS = RANDOM.normal(size=(60, TEXT_WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def known() -> Catalogue:
    return catalogue(ITEMS, cold=range(0, ITEMS, 3))


@pytest.fixture(scope="module")
def figures(known: Catalogue, directory: Path) -> list[AlikeFigure]:
    return write_alike_indexes(directory, known, WORDS[::2])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alike")


@pytest.fixture(scope="module")
def indexed(known: Catalogue, directory: Path, figures: list[AlikeFigure]) -> Similarity:
    assert len(figures) == 2
    return load_similarity(directory, known)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read the whole catalogue is an error."""

    def fail(_: Cosine) -> Floats:
        raise AssertionError("all were read")

    monkeypatch.setattr(Cosine, "all", fail)


def pairs(known: Catalogue, indexed: Similarity) -> list[tuple[Cosine, Cosine]]:
    """What is asked for, with an index and without."""
    exact = Similarity(known)
    return [
        *((indexed.to_item(item), exact.to_item(item)) for item in range(5, ITEMS, 1_000)),
        *((indexed.to_query(word), exact.to_query(word)) for word in WORDS[1::6]),
        *((indexed.to_text(word), exact.to_text(word)) for word in WORDS[1::6]),
    ]


def best(
    known: Catalogue, likeness: Cosine, masked: Indices, allowed: ItemSet | None, wanted: int = 100
) -> Indices:
    return Held(Scorer(known, EventSums()), likeness, masked, allowed).best(None, wanted).index


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_it_finds_nearly_all_that_are_most_alike_under_rules(
    known: Catalogue, indexed: Similarity, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = None if share == 1 else ItemSet(np.random.default_rng(1).random(ITEMS) < share)
    asked = pairs(known, indexed)
    # Those that are most alike by far are seen, and must not come.
    masked = [best(known, exact, NO_ITEMS, allowed, 50) for _, exact in asked]
    expected = [
        best(known, exact, out, allowed) for (_, exact), out in zip(asked, masked, strict=True)
    ]
    monkeypatch.setattr(Cosine, "all", None)  # no longer read
    ways = [likeness for likeness, _ in asked]
    found = [best(known, way, out, allowed) for way, out in zip(ways, masked, strict=True)]
    assert {len(each) for each in found} == {100}
    for each, out in zip(found, masked, strict=True):
        assert not np.isin(each, out).any()
        assert allowed is None or allowed.member[each].all()
    hits = [np.isin(right, each).mean() for right, each in zip(expected, found, strict=True)]
    assert np.mean(hits) >= 0.985


@pytest.mark.usefixtures("unread")
def test_a_search_reads_a_part(known: Catalogue, indexed: Similarity) -> None:
    for likeness, exact in pairs(known, indexed):
        assert len(best(known, likeness, NO_ITEMS, None)) == 100
        found = likeness.nearest(200, None)
        assert found is not None
        assert 200 <= len(np.unique(found)) == len(found) <= SPARE * 200
        with pytest.raises(AssertionError, match="all were read"):
            best(known, exact, NO_ITEMS, None)


@pytest.mark.parametrize("left", [3, ITEMS // 8 + 1])
def test_all_come_that_may_where_more_are_wanted(
    known: Catalogue, indexed: Similarity, left: int
) -> None:
    """The least alike of all, of which the first lists hold none."""
    for likeness, exact in pairs(known, indexed)[::5]:
        allowed = np.zeros(ITEMS, np.bool_)
        allowed[np.argsort(exact.all())[:left]] = True
        masked = np.flatnonzero(allowed)[:2].astype(np.int32)
        found = best(known, likeness, masked, ItemSet(allowed), ITEMS)
        first = best(known, likeness, masked, ItemSet(allowed), 100)
        allowed[masked] = False
        assert first.tolist() == found[:100].tolist()
        assert np.sort(found).tolist() == np.flatnonzero(allowed).tolist()
        assert best(known, likeness, np.flatnonzero(allowed), ItemSet(allowed)).tolist() == []


def test_similarities_are_exact(known: Catalogue, indexed: Similarity) -> None:
    some = np.array([7, 3, 0, ITEMS - 1], np.int32)
    for likeness, exact in pairs(known, indexed):
        np.testing.assert_allclose(likeness.of(some), exact.all()[some], rtol=1e-4, atol=1e-6)


def test_the_figures_say_what_is_found(figures: list[AlikeFigure]) -> None:
    assert [each.of for each in figures] == ["items", "texts"]
    for each in figures:
        assert 0.99 <= each.recall <= 1
        assert 1 <= each.probes < each.lists
        assert json.loads(json.dumps(each.to_dict())) == each.to_dict()


def test_indexes_are_left_alone_where_an_exact_search_is_asked_for(
    known: Catalogue, directory: Path, figures: list[AlikeFigure]
) -> None:
    assert len(figures) == 2
    exact = load_similarity(directory, known, exact=True)
    assert exact.to_item(1).nearest(1, None) is exact.to_query(WORDS[0]).nearest(1, None) is None


def test_an_index_that_finds_too_little_is_left_out(
    known: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alike_indexes, "_WIDTH", 1)
    assert write_alike_indexes(tmp_path, known, WORDS) == []
    assert list(tmp_path.iterdir()) == []
    assert load_similarity(tmp_path, known).to_item(1).nearest(1, None) is None


def test_texts_that_are_not_all_held_have_no_index(known: Catalogue, tmp_path: Path) -> None:
    without = replace(known, other_texts=np.zeros((0, 0), np.float32))
    (figure,) = write_alike_indexes(tmp_path, without, WORDS)
    assert figure.of == "items"
    assert [file.name for file in tmp_path.iterdir()] == [ALIKE_FILES["items"]]


def test_long_directions_are_held_in_short(
    known: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the axes on which they differ: one of these vectors' numbers is nearly always 0."""
    monkeypatch.setattr(alike_indexes, "_WIDTH", WIDTH)
    vectors = np.column_stack([known.vectors, 1e-3 * known.bias])
    wide = replace(known, vectors=vectors)
    figures = write_alike_indexes(tmp_path, wide, WORDS[:0])
    assert [each.of for each in figures] == ["items"]
    exact, index = Similarity(wide).to_item(9), load_similarity(tmp_path, wide).to_item(9)
    found = index.nearest(200, None)
    assert found is not None
    assert np.isin(np.argsort(-exact.all())[:100], found).mean() > 0.9
