"""The index over a large catalogue: what it may miss, and what it may not."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from builder.errors import ConfigError, ExportError, GateError
from builder.export import item_index
from builder.export.commands import _told
from builder.export.item_index import AUTO_FROM, RECALL_AT, takes_index, write_index
from builder.export.pipeline import export, target_named
from builder.export.targets import TargetOptions
from builder.model.checkpoint import save_checkpoint
from builder.model.recommender import Recommender
from builder.repository import read_manifest
from model_repository.interest import History, InterestModel, Slots
from model_repository.item_index import INDEX_FILE, on_sphere, queries
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.slots import EXCLUDED_LOGIT
from perf.synthetic import write_repository
from tests.unit.export.test_fused import LIMITS, VALIDATION

ITEMS = 30_000
NONE: Slots = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def checkpoint(
    model: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("indexed") / "checkpoint"
    directory.mkdir()
    save_checkpoint(directory, model, VALIDATION, config={}, metrics={})
    shutil.copyfile(backbone / "tokenizer.json", directory / "encoder/tokenizer.json")
    return directory


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    repository = checkpoint.parent / "models"
    export(checkpoint, repository, target_named("embedded"), LIMITS)
    return repository


@pytest.fixture(scope="module")
def histories() -> list[History]:
    random = np.random.default_rng(0)
    found = []
    for length in random.integers(0, 7, 40):
        blank = np.zeros(length, np.int32)
        found.append(History(random.integers(0, ITEMS, length).astype(np.int32), blank, blank))
    return found


def states_of(model: InterestModel, histories: list[History]) -> np.ndarray:
    return model.user_states(histories, NO_NEW_ITEMS)


@pytest.fixture(scope="module")
def large(exported: Path, histories: list[History]) -> Path:
    """What `InterestModel` reads, of a large catalogue, with an index."""
    repository = exported.parent / "large"
    write_repository(exported, repository, ITEMS, seed=0)
    directory = repository / "recommend/1"
    write_index(directory, states_of(InterestModel(directory), histories))
    return directory


@pytest.fixture(scope="module")
def served(large: Path) -> InterestModel:
    return InterestModel(large)


@pytest.fixture(scope="module")
def exact(large: Path) -> InterestModel:
    return InterestModel(large, exact=True)


@pytest.fixture
def changed(large: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the files, with some arrays and the lists that a search reads changed."""

    def change(probes: int | None = None, **arrays: np.ndarray) -> Path:
        directory = tmp_path / "changed"
        shutil.copytree(large, directory)
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array)
        if probes:
            index = faiss.read_index(str(directory / INDEX_FILE))
            index.nprobe = probes
            faiss.write_index(index, str(directory / INDEX_FILE))
        return directory

    return change


def best(
    model: InterestModel, users: list[History], excluded: list[Slots], wanted: int
) -> list[tuple[Slots, np.ndarray]]:
    found = model.best(states_of(model, users), users, excluded, [wanted] * len(users))
    return [(index, scores.logit) for index, scores in found]


def seen(histories: list[History]) -> list[Slots]:
    return [np.unique(history.slots) for history in histories]


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
    large: Path, histories: list[History], served: InterestModel, exact: InterestModel
) -> None:
    index = faiss.read_index(str(large / INDEX_FILE))
    assert 1 <= index.nprobe <= index.nlist // 4
    found = best(served, histories, seen(histories), RECALL_AT)
    expected = best(exact, histories, seen(histories), RECALL_AT)
    pairs = list(zip(found, expected, strict=True))
    assert np.mean([np.isin(b[0], a[0]).mean() for a, b in pairs]) >= 0.99
    for (items, logit), (all_items, all_logit) in pairs:
        assert items.dtype == np.int32
        assert len(set(items)) == RECALL_AT
        assert np.all(np.diff(logit) <= 0)
        known = dict(zip(all_items.tolist(), all_logit, strict=True))
        both = np.isin(items, all_items)
        np.testing.assert_allclose(
            logit[both], [known[item] for item in items[both].tolist()], rtol=1e-5, atol=1e-5
        )


def test_an_answer_does_not_depend_on_who_else_asks(
    served: InterestModel, histories: list[History]
) -> None:
    together = best(served, histories, seen(histories), 10)
    for user, history in enumerate(histories):
        (alone,) = best(served, [history], seen([history]), 10)
        np.testing.assert_array_equal(alone[0], together[user][0])


def test_the_index_is_what_answers(
    served: InterestModel, exact: InterestModel, changed: Callable[..., Path],
    histories: list[History],
) -> None:  # fmt: skip
    """With one list read instead of some, answers get worse: nothing falls back in silence."""
    poor = InterestModel(changed(probes=1))
    expected = best(exact, histories, seen(histories), 10)

    def recall(model: InterestModel) -> float:
        found = best(model, histories, seen(histories), 10)
        return float(
            np.mean([np.isin(b, a).mean() for (a, _), (b, _) in zip(found, expected, strict=True)])
        )

    assert recall(poor) < recall(served)


@pytest.mark.parametrize("wanted", [3, 10, 60])
def test_cold_items_come_at_their_place_as_if_all_were_read(
    changed: Callable[..., Path], histories: list[History], wanted: int
) -> None:
    random = np.random.default_rng(1)
    cold = np.sort(random.choice(ITEMS, 900, replace=False)).astype(np.int32)
    directory = changed(probes=ITEMS, cold=cold)  # so nothing else is missed
    settings = json.loads((directory / "settings.json").read_text())
    (directory / "settings.json").write_text(json.dumps({**settings, "cold_place": 7}))
    models = [InterestModel(directory, exact=exact) for exact in (False, True)]
    # What is left out has cold items in it.
    excluded = [np.union1d(seen([each])[0], cold[:20]).astype(np.int32) for each in histories]
    found, expected = (best(model, histories, excluded, wanted) for model in models)
    places = []
    for (items, logit), (all_items, all_logit), left_out in zip(
        found, expected, excluded, strict=True
    ):
        assert len(set(items)) == len(items) == wanted
        assert not set(items) & set(left_out)
        places += np.flatnonzero(np.isin(all_items, cold))[:1].tolist()
        np.testing.assert_array_equal(items, all_items)
        np.testing.assert_allclose(logit, all_logit, rtol=1e-5, atol=1e-5)
    # At their place, but where they are further forward by themselves.
    if wanted > 6:
        assert len(places) == len(histories)
        assert max(places) == 6 > min(places)


def test_what_the_history_speaks_for_is_never_missed(
    large: Path, changed: Callable[..., Path]
) -> None:
    value = np.load(large / "linear_value.npy")
    directory = changed(probes=1, linear_value=np.full_like(value, 100.0))
    history = History(np.array([5, 9], np.int32), np.zeros(2, np.int32), np.zeros(2, np.int32))
    spoken_for = np.unique(np.load(large / "linear_index.npy")[[5, 9]])
    ((items, _),) = best(InterestModel(directory), [history], [NONE], len(spoken_for))
    assert set(items) == set(spoken_for)


@pytest.mark.parametrize("wanted", [1, 10, 500, ITEMS])
@pytest.mark.parametrize("left", [0, 5, 3_000, ITEMS])
def test_as_many_come_back_as_are_wanted_and_those_that_are_left_first(
    served: InterestModel, exact: InterestModel, histories: list[History], wanted: int, left: int
) -> None:
    """``left`` are not excluded."""
    random = np.random.default_rng(left)
    excluded = random.permutation(ITEMS)[left:].astype(np.int32)
    user = histories[:1]
    ((items, logit),) = best(served, user, [excluded], wanted)
    ((_, expected),) = best(exact, user, [excluded], wanted)
    assert len(set(items)) == wanted
    assert (logit > EXCLUDED_LOGIT / 2).sum() == min(wanted, left)
    np.testing.assert_array_equal(logit > EXCLUDED_LOGIT / 2, expected > EXCLUDED_LOGIT / 2)
    if left <= 5:  # too many to leave out for the index: everything is read
        np.testing.assert_allclose(logit, expected)


def test_where_the_best_are_spoken_against_everything_is_read(
    large: Path, exact: InterestModel, changed: Callable[..., Path]
) -> None:
    empty = History(NONE, NONE, NONE)
    state = states_of(exact, [empty])
    ((order, _),) = best(exact, [empty], [NONE], 40)
    index, value = (np.load(large / f"linear_{name}.npy") for name in ("index", "value"))
    against = np.zeros((ITEMS, 40), np.int32), np.zeros((ITEMS, 40), np.float32)
    against[0][7], against[1][7] = order, -50.0
    assert index.shape == value.shape
    directory = changed(linear_index=against[0], linear_value=against[1])
    zero = np.zeros(1, np.int32)
    history = History(np.array([7], np.int32), zero, zero)
    answers = [
        model.best(state, [history], [NONE], [10])[0]
        for model in (InterestModel(directory), InterestModel(directory, exact=True))
    ]
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    assert not set(answers[0][0]) & set(order)


def test_no_number_is_not_an_answer(served: InterestModel, histories: list[History]) -> None:
    states = np.full((1, 8), np.nan, np.float32)
    ((_, scores),) = served.best(states, histories[:1], [NONE], [10])
    assert np.isnan(scores.logit).any()


def test_an_index_that_finds_too_little_is_not_published(
    large: Path, histories: list[History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = states_of(InterestModel(large), histories)
    shutil.copytree(large, tmp_path / "large")
    monkeypatch.setattr(item_index, "_LARGEST_SHARE", ITEMS)  # one list
    with pytest.raises(
        GateError, match=r"it finds 0\.\d+ of the best 100 items, on 40 .* 0\.99 is"
    ):
        write_index(tmp_path / "large", states)


def test_a_catalogue_too_small_for_an_index_is_not_published_with_one(
    checkpoint: Path, tmp_path: Path
) -> None:
    target = target_named("embedded", TargetOptions(index="approximate"))
    with pytest.raises(GateError, match=r"of the best 12 items.*Export with --index exact"):
        export(checkpoint, tmp_path / "models", target, LIMITS)
    assert not (tmp_path / "models").exists()


def test_the_manifest_has_the_figures_and_the_hash(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_index, "_LARGEST_SHARE", 1)  # so few items: all lists
    target = target_named("embedded", TargetOptions(index="approximate"))
    done = export(checkpoint, tmp_path / "models", target, LIMITS)
    details = read_manifest(tmp_path / "models").versions[1].details
    assert done.index is not None
    assert details["index"] == done.index.to_dict()
    assert details["index"]["recall"] >= details["index"]["bound"] == 0.99
    assert details["fused"]["index"] == "approximate"
    assert f"recommend/{INDEX_FILE}" in details["sha256"]
    assert f"rank/{INDEX_FILE}" not in details["sha256"]
    assert "of the best 100 items" in _told(done)


def test_small_catalogues_have_none_unless_it_is_asked_for(exported: Path) -> None:
    assert not (exported / "recommend/1" / INDEX_FILE).exists()
    assert read_manifest(exported).versions[1].details["index"] is None
    assert not takes_index("auto", AUTO_FROM - 1)
    assert takes_index("auto", AUTO_FROM)
    assert takes_index("approximate", 1)
    assert not takes_index("exact", 10**7)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("embedded", {"layout": "ensemble", "index": "exact"}, "--index is for --layout fused"),
        ("onnxruntime", {"index": "approximate"}, "--index: --target onnxruntime has no such"),
        ("embedded", {"index": "hnsw"}, "--index hnsw: choose one of auto, exact, approximate"),
    ],
)
def test_other_layouts_and_words_are_refused(
    target: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        target_named(target, TargetOptions(**options))


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
        InterestModel(large)
    InterestModel(large, exact=True)


def test_every_figure_is_json(large: Path, histories: list[History], tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "copy")
    figure = write_index(tmp_path / "copy", states_of(InterestModel(large), histories))
    assert json.loads(json.dumps(figure.to_dict())) == figure.to_dict()
    assert (figure.lists, figure.users) == (round(4 * ITEMS**0.5), 40)
