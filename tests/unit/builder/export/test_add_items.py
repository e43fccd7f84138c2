"""New items into a repository: what of a file is new, and what the next version takes over."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.data import Catalogue, DataConfig, read
from builder.data.config import ItemFileOptions
from builder.data.item_file import read_items
from builder.errors import ConfigError, DataError, RepositoryError
from builder.export import add_items as module
from builder.export.add_items import (
    _as_trained,
    _limits_of,
    _options_of,
    _served_items,
    _unknown,
    add_items,
)
from builder.export.layout import Limits
from builder.export.targets import TargetOptions
from builder.model.new_items import with_new_items
from builder.model.recommender import Recommender
from builder.options import Given, options_of
from builder.repository import MANIFEST, VersionRecord, activate, read_manifest
from model_repository.core.options import RepositoryPolicy
from model_repository.steps.catalogue_files import load_catalogue
from model_repository.steps.user_models import read_policy
from tests.fixtures.old_repository import unpack_old
from tests.unit.builder.export.checkpoints import LIMITS, embedded, export, write_checkpoint
from tests.unit.builder.export.in_process import Server
from tests.unit.builder.model.tiny import GENRES, ITEM_PROFILE, ITEMS, TEXTS, recommender
from tests.unit.model_repository.conftest import user


def record(target: str, **details: Any) -> VersionRecord:
    return VersionRecord("2026-01-01T00:00:00+00:00", target, "run", ("recommend",), details)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories of schema 1, which did not say so."""
    return unpack_old(tmp_path_factory.mktemp("old"))


def test_new_items_keep_all_that_the_file_says_of_them(backbone: Path) -> None:
    file = Catalogue(
        ["n0", "i3", "n1"],
        ["a cat", "known", "a dog"],
        pd.DataFrame({"title": ["cat", "known", "dog"]}),
        {"image": np.array([[1, 2], [3, 4], [5, 6]], np.float32)},
    )
    new = _unknown(recommender(backbone), file, "item_id")
    assert new.item_ids == ["n0", "n1"]
    assert new.texts == ["a cat", "a dog"]
    assert new.columns["title"].tolist() == ["cat", "dog"]
    assert new.vectors["image"].tolist() == [[1, 2], [5, 6]]


@pytest.fixture(scope="module")
def shop(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a training whose options say nothing of its item file; not to be changed."""
    directory = tmp_path_factory.mktemp("shop")
    model = recommender(backbone)
    ids = model.catalogue.item_ids
    columns = pd.DataFrame({"product_id": ids, "title": TEXTS, "category": GENRES})
    columns.loc[0, ["title", "category"]] = ""  # it was kept, with its id for a text
    texts = [f"{text} {genre}".strip() for text, genre in zip(TEXTS, GENRES, strict=True)]
    known = Catalogue(ids, [ids[0], *texts[1:]], columns)
    data = {"directory": str(directory)}
    model = dataclasses.replace(model, catalogue=known)
    run = write_checkpoint(directory / "run", model, backbone, training={"data": data})
    export(run, directory / "models", embedded(layout="fused"))
    return directory / "models"


HEADER = "product_id,title,category\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ":1: the file is empty"),
        ("n0,a cat,drama\n", ":1: product_id: there is no such column"),
        (
            f"{HEADER}n0,a cat,drama\nn0,a dog,drama\n",
            ":3: product_id: 'n0' was already given at new.csv:2",
        ),
        (
            HEADER.replace("product_id", "sku") + "n0,a cat,drama\n",
            "with --column item_key=NAME",
        ),
        (f"{HEADER}n0,caf\xe9,drama\n", ", as in --encoding latin-1"),
        (f"{HEADER}n0,a cat,drama,x\n", "give --on-bad-rows drop"),
        (f"{HEADER}n0,,\n", "give --on-items-without-text keep"),
    ],
)
def test_the_faults_of_the_file_are_told(
    shop: Path, tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "new.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        add_items(shop, tmp_path / "new.csv")
    assert told in str(caught.value)
    assert str(caught.value).startswith("1 problem in the data:")


@pytest.mark.parametrize(
    ("content", "given", "texts"),
    [
        (
            "n0,caf\xe9,drama\n",
            {"item_columns": "item,title,category", "encoding": "latin-1"},
            ["caf\xe9 drama"],
        ),
        (
            "sku|title|category\nn0|a cat|\n",
            {"columns": ["item_key=sku"], "separator": "|"},
            ["a cat"],
        ),
        (f"{HEADER}n0,a cat,drama,x\nn1,a dog,\n", {"on_bad_rows": "drop"}, ["a dog"]),
        (f"{HEADER}n0,,\nn1,a dog,\n", {"on_items_without_text": "keep"}, ["n0", "a dog"]),
        (f'{HEADER}n0,a 5" cat,\nn1,"a dog,\n', {"quote": "none"}, ['a 5" cat', '"a dog']),
    ],
)  # fmt: skip
def test_the_file_may_be_written_in_another_way_than_the_training_s(
    shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    given: dict[str, Any],
    texts: list[str],
) -> None:
    found: list[Catalogue] = []

    def stop(_: Recommender, new: Catalogue, **__: Any) -> None:
        found.append(new)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "with_new_items", stop)
    (tmp_path / "new.csv").write_bytes(content.encode("latin-1"))
    nothing = {each.name: None for each, _ in options_of(ItemFileOptions)}
    reading = Given(ItemFileOptions, {**nothing, **given}).make()
    with pytest.raises(KeyboardInterrupt):
        add_items(shop, tmp_path / "new.csv", reading)
    assert found[0].texts == texts
    assert found[0].columns["product_id"].tolist() == found[0].item_ids


def test_films_are_read_as_those_of_the_training_whatever_the_file_is_called(
    tmp_path: Path,
) -> None:
    rows = "movieId,title,genres\n1,Heat (1995),Action|Crime\n2,Big (1988),Comedy\n"
    (tmp_path / "movies.csv").write_text(rows)
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,timestamp\n1,1,1000000000\n1,2,1000000001\n"
    )
    training = DataConfig(tmp_path)
    config, template = _as_trained(training, read(training)[1])
    (tmp_path / "new.csv").write_text("movieId,title,genres\n3,Alien (1979),Horror|Sci-Fi\n")
    assert read_items(config, tmp_path / "new.csv", template).texts == [
        "Alien (1979) Horror Sci-Fi"
    ]


def test_a_training_without_texts_of_items_has_no_template() -> None:
    known = Catalogue(["1", "2"], ["1", "2"], pd.DataFrame({"item_id": ["1", "2"]}))
    with pytest.raises(ConfigError, match="train with an item file and with --text"):
        _as_trained(DataConfig(Path("data")), known)


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_a_manifest_of_schema_1_is_read(old: Path, layout: str) -> None:
    made = read_manifest(old / layout).versions[1]
    assert "schema" not in made.details
    assert _limits_of(made) == Limits(20, 16, 8)
    options = TargetOptions(**_options_of(made))
    assert (options.layout, options.engine, options.precision) == (layout, "onnxruntime", "fp32")
    assert _served_items(old / layout, 1) == [f"i{item}" for item in range(24)]


def test_targets_without_options_had_none_in_schema_1() -> None:
    details = {"layout": {"retrieved": 7, "max_rows": 5, "max_users": 3}}
    assert _options_of(record("onnxruntime", **details)) == {}
    assert _limits_of(record("onnxruntime", **details)) == Limits(7, 5, 3, cached_texts=0)


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_a_manifest_of_today_is_read(repositories: dict[str, Path], layout: str) -> None:
    repository = repositories[layout]
    made = read_manifest(repository).versions[1]
    assert _limits_of(made) == LIMITS
    assert TargetOptions(**_options_of(made)) == TargetOptions(layout=layout)  # type: ignore[arg-type]
    assert _served_items(repository, 1) == [f"i{item}" for item in range(ITEMS)]


@pytest.mark.parametrize("cache", ["build/kernels.timing", None])
def test_the_options_of_every_target_come_back(cache: str | None) -> None:
    options = TargetOptions(
        index="exact", workspace_mib=7, timing_cache=None if cache is None else Path(cache)
    )
    chosen = options.chosen(frozenset({"index", "workspace_mib", "timing_cache"}))
    made = record("tensorrt", options=json.loads(json.dumps(chosen)))
    assert TargetOptions(**_options_of(made)) == options


def test_the_next_version_has_the_limits_options_and_attributes_of_the_active_one(
    backbone: Path, tmp_path: Path
) -> None:
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    data = {"directory": str(tmp_path), "text": "{title}"}
    run = write_checkpoint(tmp_path / "run", model, backbone, training={"data": data})
    repository = tmp_path / "models"
    policy = RepositoryPolicy({"limits": "at most 5 per genre"})
    export(
        run,
        repository,
        embedded(layout="ensemble"),
        attributes=("genre", "title:list"),
        policy=policy,
    )
    (tmp_path / "items.csv").write_text('item_id,title,genre,year\nn0,"cats, dogs",comedy,2001\n')
    done = add_items(repository, tmp_path / "items.csv")
    first, second = (read_manifest(repository).versions[version].details for version in (1, 2))
    assert done.version == 2
    assert first["policy"] == {"default": dict(policy.default), "always": {}}
    assert read_policy(repository / "recommend/2") == policy
    for name in ("layout", "options", "attributes", "policy"):
        assert first[name] == second[name]
    catalogue = load_catalogue(repository / "recommend/2")
    assert catalogue.cold.tolist() == [ITEMS]
    last = np.array([ITEMS], np.int32)
    assert catalogue.attributes.values("genre", last) == ["comedy"]
    assert catalogue.attributes.values("title", last) == [["cats", "dogs"]]
    others = np.arange(ITEMS, dtype=np.int32)
    earlier = load_catalogue(repository / "recommend/1").attributes
    assert catalogue.attributes.values("title", others) == earlier.values("title", others)
    answer = Server(repository, 2).tensors("rank", user(["n0"], candidate=["n0", "i1"]))
    assert np.isfinite(answer["LOGIT"]).all()
    # What was added stays: a file without it is refused, and nothing is published.
    (tmp_path / "items.csv").write_text("item_id,title,genre,year\nn1,a dog,drama,2002\n")
    with pytest.raises(ConfigError, match="lacks n0, which version 2"):
        add_items(repository, tmp_path / "items.csv")
    assert read_manifest(repository).active == 2


def test_a_rollback_or_an_export_meanwhile_is_not_undone(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"directory": str(tmp_path), "text": "{title}"}
    model = recommender(backbone)
    run = write_checkpoint(tmp_path / "run", model, backbone, training={"data": data})
    repository = tmp_path / "models"
    export(run, repository, embedded(layout="fused"))
    (tmp_path / "items.csv").write_text("item_id,title,genre,year\nn0,a cat film,comedy,2001\n")

    def while_encoding(change: Callable[[], object]) -> None:
        def encoded(*arguments: Any, **options: Any) -> Recommender:
            change()
            return with_new_items(*arguments, **options)

        monkeypatch.setattr(module, "with_new_items", encoded)

    changes: dict[int, Callable[[], object]] = {
        2: lambda: export(run, repository, embedded(layout="fused")),
        1: lambda: activate(repository, 1),
    }
    for active, change in changes.items():
        while_encoding(change)
        told = rf"version {active} of .* became active .*; repeat the comm"
        with pytest.raises(RepositoryError, match=told):
            add_items(repository, tmp_path / "items.csv")
        found = read_manifest(repository)
        assert (found.active, sorted(found.versions)) == (active, [1, 2])


def test_nothing_is_encoded_where_nothing_can_be_published(
    repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = shutil.copytree(repositories["fused"], tmp_path / "models")
    monkeypatch.setattr(module, "load_checkpoint", lambda _: pytest.fail("it began to work"))
    monkeypatch.chdir(repository)
    with pytest.raises(RepositoryError, match="is the current directory"):
        add_items(repository, tmp_path / "items.csv")


def test_a_classifier_has_no_items(tmp_path: Path, repositories: dict[str, Path]) -> None:
    repository = shutil.copytree(repositories["fused"], tmp_path / "models")
    manifest = json.loads((repository / MANIFEST).read_text("utf-8"))
    manifest["versions"]["1"]["models"] = ["classify"]
    (repository / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RepositoryError, match="cannot be a recommender"):
        add_items(repository, tmp_path / "items.csv")
