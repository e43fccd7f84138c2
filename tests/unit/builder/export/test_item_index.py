"""The index over a large catalogue: what it may miss, and what it may not."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from builder.errors import ConfigError, ExportError, GateError
from builder.export import index_gate
from builder.export.commands import _summary
from builder.export.index_gate import AUTO_FROM, RECALL_AT, takes_index, write_index
from builder.export.pipeline import target_named
from builder.export.targets import TargetOptions
from builder.export.targets.tensorrt import TensorRT
from builder.repository import read_manifest
from model_repository.core.arrays import Indices
from model_repository.core.catalogue import Candidates
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.users import NO_AGE, History
from model_repository.engines import direction_index
from model_repository.engines.item_index import mapped_index, on_sphere, queries
from model_repository.steps.catalogue_files import CATALOGUE_FILE
from model_repository.steps.user_models import (
    ALIKE_FILES,
    INDEX_FILE,
    load_scorer,
    load_user_encoder,
)
from perf.synthetic import write_repository
from tests.shared import first_of
from tests.unit.builder.export.checkpoints import embedded, export
from tests.unit.builder.export.in_process import Server
from tests.unit.model_repository.conftest import user

ITEMS = 30_000
NONE: Indices = np.zeros(0, np.int32)


def history(*items: int) -> History:
    slots = np.array(items, np.int32)
    return History(slots, np.zeros_like(slots), np.full(len(slots), NO_AGE, np.int64))


def scorer(directory: Path, *, exact: bool = False) -> Scorer:
    return load_scorer(directory, load_user_encoder(directory), exact=exact)


@pytest.fixture(scope="module")
def histories() -> list[History]:
    random = np.random.default_rng(0)
    return [history(*random.integers(0, ITEMS, length)) for length in random.integers(0, 7, 40)]


@pytest.fixture(scope="module")
def large(
    repositories: dict[str, Path],
    histories: list[History],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What a scorer is made of, of a large catalogue, with an index."""
    repository = tmp_path_factory.mktemp("indexed") / "large"
    write_repository(repositories["fused"], repository, ITEMS, seed=0)
    directory = repository / "recommend/1"
    write_index(directory, scorer(directory).users(histories).states)
    return directory


@pytest.fixture(scope="module")
def served(large: Path) -> Scorer:
    return scorer(large)


@pytest.fixture(scope="module")
def exact(large: Path) -> Scorer:
    return scorer(large, exact=True)


@pytest.fixture
def changed(large: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the files, with some arrays and the lists that a search reads changed."""

    def change(probes: int | None = None, **arrays: NDArray[Any]) -> Path:
        directory = tmp_path / "changed"
        shutil.copytree(large, directory)
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array)
        if probes:
            index: Any = faiss.read_index(str(directory / INDEX_FILE))
            index.nprobe = probes
            faiss.write_index(index, str(directory / INDEX_FILE))
        return directory

    return change


def best(
    model: Scorer, users: Sequence[History], masked: Sequence[Indices], wanted: int
) -> list[Candidates]:
    return model.best(model.users(users), masked, [wanted] * len(users))


def seen(histories: list[History]) -> list[Indices]:
    return [np.unique(each.slots) for each in histories]


def test_the_nearest_points_have_the_largest_inner_products() -> None:
    random = np.random.default_rng(0)
    scale = random.random((500, 1), np.float32)
    vectors = scale * random.normal(size=(500, 5)).astype(np.float32)
    states = random.normal(size=(20, 4)).astype(np.float32)
    points, asked = on_sphere(vectors), queries(states)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, rtol=1e-6)
    product = states @ vectors[:, :-1].T + vectors[:, -1]
    distance = np.linalg.norm(points - asked[:, np.newaxis], axis=2)
    np.testing.assert_array_equal(np.argsort(distance)[:, :50], np.argsort(-product)[:, :50])


def test_it_finds_nearly_all_of_the_best_and_reads_a_part(
    large: Path, histories: list[History], served: Scorer, exact: Scorer
) -> None:
    index: Any = faiss.read_index(str(large / INDEX_FILE))
    assert 1 <= index.nprobe <= index.nlist // 4
    found = best(served, histories, seen(histories), RECALL_AT)
    expected = best(exact, histories, seen(histories), RECALL_AT)
    pairs = list(zip(found, expected, strict=True))
    assert np.mean([np.isin(b.index, a.index).mean() for a, b in pairs]) >= 0.99
    for few, every in pairs:
        assert few.index.dtype == np.int32
        assert len(set(few.index)) == RECALL_AT
        assert np.all(np.diff(few.logit) <= 0)
        known = dict(zip(every.index.tolist(), every.logit, strict=True))
        both = np.isin(few.index, every.index)
        np.testing.assert_allclose(
            few.logit[both],
            [known[item] for item in few.index[both].tolist()],
            rtol=1e-5,
            atol=1e-5,
        )


def test_an_answer_does_not_depend_on_who_else_asks(
    served: Scorer, histories: list[History]
) -> None:
    together = best(served, histories, seen(histories), 10)
    for each, found in zip(histories, together, strict=True):
        (alone,) = best(served, [each], seen([each]), 10)
        np.testing.assert_array_equal(alone.index, found.index)


def test_the_index_is_what_answers(
    served: Scorer, exact: Scorer, changed: Callable[..., Path], histories: list[History]
) -> None:
    """With one list read instead of some, answers get worse: nothing falls back in silence."""
    poor = scorer(changed(probes=1))
    expected = best(exact, histories, seen(histories), 10)

    def recall(model: Scorer) -> float:
        pairs = zip(best(model, histories, seen(histories), 10), expected, strict=True)
        return float(np.mean([np.isin(b.index, a.index).mean() for a, b in pairs]))

    assert recall(poor) < recall(served)


@pytest.mark.parametrize("wanted", [3, 10, 60])
def test_cold_items_come_at_their_place_as_if_all_were_read(
    changed: Callable[..., Path], histories: list[History], wanted: int
) -> None:
    random = np.random.default_rng(1)
    cold = np.sort(random.choice(ITEMS, 900, replace=False)).astype(np.int32)
    directory = changed(probes=ITEMS, cold=cold)  # so nothing else is missed
    settings = json.loads((directory / CATALOGUE_FILE).read_text())
    (directory / CATALOGUE_FILE).write_text(json.dumps({**settings, "cold_place": 7}))
    models = [scorer(directory, exact=exact) for exact in (False, True)]
    # What is left out has cold items in it.
    excluded = [np.union1d(seen([each])[0], cold[:20]).astype(np.int32) for each in histories]
    found, expected = (best(model, histories, excluded, wanted) for model in models)
    places = []
    for few, every, left_out in zip(found, expected, excluded, strict=True):
        assert len(set(few.index)) == len(few) == wanted
        assert not set(few.index) & set(left_out)
        places += np.flatnonzero(np.isin(every.index, cold))[:1].tolist()
        np.testing.assert_array_equal(few.index, every.index)
        np.testing.assert_allclose(few.logit, every.logit, rtol=1e-5, atol=1e-5)
    # At their place, but where they are further forward by themselves.
    if wanted > 6:
        assert len(places) == len(histories)
        assert max(places) == 6 > min(places)


def test_what_the_history_speaks_for_is_never_missed(
    large: Path, changed: Callable[..., Path]
) -> None:
    value = np.load(large / "linear_value.npy")
    directory = changed(probes=1, linear_value=np.full_like(value, 100.0))
    spoken_for = np.unique(np.load(large / "linear_index.npy")[[5, 9]])
    (found,) = best(scorer(directory), [history(5, 9)], [NONE], len(spoken_for))
    assert set(found.index) == set(spoken_for)


@pytest.mark.parametrize("wanted", [1, 10, 500, ITEMS])
@pytest.mark.parametrize("left", [0, 5, 3_000, ITEMS])
def test_as_many_come_back_as_are_wanted_or_left(
    served: Scorer, exact: Scorer, histories: list[History], wanted: int, left: int
) -> None:
    """``left`` are not masked."""
    random = np.random.default_rng(left)
    masked = random.permutation(ITEMS)[left:].astype(np.int32)
    asking = histories[:1]
    (found,) = best(served, asking, [masked], wanted)
    (expected,) = best(exact, asking, [masked], wanted)
    assert len(set(found.index)) == len(found) == len(expected) == min(wanted, left)
    assert not set(found.index) & set(masked)
    assert np.isfinite(found.logit).all()
    if left <= 5:  # too many to leave out for the index: everything is read
        np.testing.assert_array_equal(found.index, expected.index)
        np.testing.assert_allclose(found.logit, expected.logit)


def test_where_the_best_are_spoken_against_everything_is_read(
    large: Path, exact: Scorer, changed: Callable[..., Path]
) -> None:
    (order,) = best(exact, [history()], [NONE], 40)
    index, value = (np.load(large / f"linear_{name}.npy") for name in ("index", "value"))
    against = np.zeros((ITEMS, 40), np.int32), np.zeros((ITEMS, 40), np.float32)
    against[0][7], against[1][7] = order.index, -50.0
    assert index.shape == value.shape
    directory = changed(linear_index=against[0], linear_value=against[1])
    asking = Users(exact.users([history()]).states, [history(7)])
    found, expected = (
        scorer(directory, exact=exact).best(asking, [NONE], [10])[0] for exact in (False, True)
    )
    np.testing.assert_array_equal(found.index, expected.index)
    assert not set(found.index) & set(order.index)


def test_no_number_is_not_an_answer(served: Scorer, histories: list[History]) -> None:
    states = np.full((1, 8), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match="there is a NaN among the logits"):
        served.best(Users(states, histories[:1]), [NONE], [10])


def test_the_lists_stay_in_the_file_that_processes_share(served: Scorer, large: Path) -> None:
    best(served, [history(1)], [NONE], 10)
    maps = Path("/proc/self/maps").read_text("utf-8").splitlines()
    mapped = [line.split() for line in maps if line.endswith(str(large / INDEX_FILE))]
    assert mapped
    for addresses, access, *_ in mapped:
        assert access.startswith("r-")
        start, end = (int(part, 16) for part in addresses.split("-"))
        assert end - start >= (large / INDEX_FILE).stat().st_size


def test_an_index_that_finds_too_little_is_not_published(
    large: Path, histories: list[History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = scorer(large).users(histories).states
    shutil.copytree(large, tmp_path / "large")
    monkeypatch.setattr(index_gate, "_LARGEST_SHARE", ITEMS)  # one list
    with pytest.raises(
        GateError, match=r"it finds 0\.\d+ of the best 100 items, on 40 .* 0\.99 is"
    ):
        write_index(tmp_path / "large", states)


@pytest.mark.sweep
def test_a_catalogue_too_small_for_an_index_is_not_published_with_one(
    checkpoint: Path, tmp_path: Path
) -> None:
    target = target_named("embedded", TargetOptions(index="approximate"))
    with pytest.raises(GateError, match=r"of the best 12 items.*Export with --index exact"):
        export(checkpoint, tmp_path / "models", target)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("layout", first_of(["fused", "ensemble"]))
def test_either_layout_has_an_index_and_the_manifest_its_figures(
    checkpoint: Path, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_gate, "_LARGEST_SHARE", 1)  # so few items: all lists
    monkeypatch.setattr(direction_index, "_FEW", 0)
    repository = tmp_path / "models"
    done = export(checkpoint, repository, embedded(index="approximate", layout=layout))
    details = read_manifest(repository).versions[1].details
    assert done.figures.index is not None
    assert details["index"] == done.figures.index.to_dict()
    assert details["index"]["recall"] >= details["index"]["bound"] == 0.99
    assert details["options"]["index"] == "approximate"
    assert [each["of"] for each in details["alike"]] == ["items", "texts"]
    for file in (INDEX_FILE, *ALIKE_FILES.values()):
        assert f"recommend/{file}" in details["sha256"]
    assert "of the most similar texts" in _summary(done)
    assert "faiss-cpu" in details["libraries"]
    assert "of the best 100 items" in _summary(done)
    # One file, which all models of users map.
    one = repository / "recommend/1" / INDEX_FILE
    assert one.samefile(repository / "rank/1" / INDEX_FILE)
    answer = Server(repository).tensors("recommend", user(["i1"], parameters={"top_k": 3}))
    assert answer["ITEM"].shape == (1, 3)
    alike = Server(repository).tensors("recommend", user(parameters={"like": "i1", "top_k": 3}))
    assert alike["SIMILARITY"].shape == (1, 3)


def test_small_catalogues_have_none_unless_it_is_asked_for(
    repositories: dict[str, Path],
) -> None:
    for repository in repositories.values():
        assert not list(repository.rglob(INDEX_FILE))
        details = read_manifest(repository).versions[1].details
        assert details["index"] is None
        assert details["alike"] == []
        assert "faiss-cpu" not in details["libraries"]
    assert not takes_index("auto", AUTO_FROM - 1)
    assert takes_index("auto", AUTO_FROM)
    assert takes_index("approximate", 1)
    assert not takes_index("exact", 10**7)


def test_every_target_may_have_an_index() -> None:
    options = TargetOptions(index="approximate")
    ensemble = TargetOptions(index="approximate", layout="ensemble")
    for target in (
        target_named("embedded", ensemble),
        target_named("onnxruntime", options),
        TensorRT(options),
    ):
        assert "index" in target.options
        assert target.index == target.chosen()["index"] == "approximate"
    with pytest.raises(ConfigError, match="index 'hnsw': must be one of auto, exact, approximate"):
        TargetOptions(index="hnsw")  # type: ignore[arg-type]


@pytest.fixture
def no_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "faiss":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("no_faiss")
def test_what_is_missing_is_named(large: Path) -> None:
    with pytest.raises(ExportError, match=r"pip install 'tritonrec\[index\]'.*--index exact"):
        write_index(large, np.zeros((1, 8), np.float32))
    with pytest.raises(RuntimeError, match=r"pip install 'tritonrec\[index\]'"):
        scorer(large)
    scorer(large, exact=True)


def test_every_figure_is_json(large: Path, histories: list[History], tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "copy")
    figure = write_index(tmp_path / "copy", scorer(large).users(histories).states)
    assert json.loads(json.dumps(figure.to_dict())) == figure.to_dict()
    assert (figure.lists, figure.users) == (round(4 * ITEMS**0.5), 40)


def test_a_search_starts_no_threads(large: Path) -> None:
    """Those that FAISS starts to read lists ahead take ten times as long as the search."""
    index = mapped_index(large / INDEX_FILE)  # it holds its lists
    lists: Any = faiss.extract_index_ivf(index).invlists
    on_disk: Any = faiss.downcast_InvertedLists(lists)
    assert on_disk.prefetch_nthread == 0
