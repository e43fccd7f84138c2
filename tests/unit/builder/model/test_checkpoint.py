from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, GPT2Config, GPT2Model

from builder import unfinished_run
from builder.data import Holdout
from builder.errors import CheckpointError
from builder.model.checkpoint import (
    load_backbone,
    load_catalogue,
    load_checkpoint,
    load_validation,
    read_config,
    save_checkpoint,
)
from builder.model.pooling import POOLINGS, Pooling
from builder.model.popularity import UNKNOWN, Popularity
from builder.model.recommender import encode_texts
from builder.model.scoring import Part
from tests.unit.builder.model.tiny import (
    ITEM_PROFILE,
    ITEMS,
    PROFILE,
    TEXTS,
    recommender,
    sequences,
)
from tests.unit.model_repository.conftest import Parts

VALIDATION = Holdout(
    replace(
        sequences(
            [0, 3], [], [5, 5, 1],
            times=[[10, 20], [], [1, 500, 2**40]],
            actions=[[1, 0], [], [2, 2, 1]],
        ),
        request_times=np.array([30, -1, 2**41], np.int64),
    ),
    np.array([2, 7, 11], np.int32),
)  # fmt: skip
PARTS: tuple[Part, ...] = ("full", "network", "text")


def save(directory: Path, backbone: Path, pooling: Pooling = "mean") -> Path:
    encoder = directory / "encoder"
    encoder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(backbone / name, encoder)
    save_checkpoint(
        directory,
        recommender(backbone, pooling),
        VALIDATION,
        config={"training": {"seed": 3}},
        metrics={"rows": []},
    )
    return directory


@pytest.fixture
def run(tmp_path: Path, backbone: Path) -> Path:
    return save(tmp_path / "run", backbone)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_loaded_scores_bit_for_bit_what_was_saved(
    tmp_path: Path, backbone: Path, pooling: Pooling
) -> None:
    loaded = load_checkpoint(save(tmp_path / "run", backbone, pooling))
    model = recommender(backbone, pooling)
    for part in PARTS:
        expected = model.scorer(part).scores(VALIDATION.histories)
        found = loaded.scorer(part).scores(VALIDATION.histories)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    assert loaded.calibration == model.calibration
    assert loaded.catalogue.item_ids == model.catalogue.item_ids
    assert loaded.catalogue.texts == model.catalogue.texts
    assert loaded.catalogue.columns.equals(model.catalogue.columns)
    assert list(loaded.actions) == ["buy", "view"]
    # Not only the vectors that were computed before: the encoder itself.
    vectors = encode_texts(loaded.encoder, loaded.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=0, atol=0)


def test_the_parts_differ_in_what_they_know(run: Path) -> None:
    model = load_checkpoint(run)
    full, network, text = (model.scorer(part).scores(VALIDATION.histories) for part in PARTS)
    new_user = 1
    np.testing.assert_array_equal(full[new_user], network[new_user])  # no event, no linear term
    assert not np.allclose(full[0], network[0])
    with torch.no_grad():
        model.adapter.residual.weight.normal_()
        model.adapter.bias.normal_()
    np.testing.assert_array_equal(model.scorer("text").scores(VALIDATION.histories), text)
    assert not np.allclose(model.scorer("network").scores(VALIDATION.histories), network)


def profiled(directory: Path, backbone: Path) -> Path:
    """A checkpoint of a model that knows users' profiles, with users who have some."""
    histories = replace(VALIDATION.histories, profiles=np.array([[1, 2], [0, 0], [3, 1]], np.int32))
    (directory / "encoder").mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(backbone / name, directory / "encoder")
    save_checkpoint(
        directory,
        recommender(backbone, profile=PROFILE, item_profile=ITEM_PROFILE),
        replace(VALIDATION, histories=histories),
        config={},
        metrics={},
    )
    return directory


def test_profiles_come_back(tmp_path: Path, backbone: Path) -> None:
    run = profiled(tmp_path / "run", backbone)
    loaded, holdout = load_checkpoint(run), load_validation(run)
    assert loaded.profile == PROFILE
    assert loaded.item_profile == ITEM_PROFILE
    assert loaded.adapter.item_ids is not None
    assert loaded.adapter.item_ids[:2].tolist() == [[2, 1], [1, 1]]
    assert holdout.histories.profiles is not None
    assert holdout.histories.profiles.dtype == np.int32
    assert holdout.histories.profiles.tolist() == [[1, 2], [0, 0], [3, 1]]
    scores = loaded.scorer().scores(holdout.histories)
    expected = (
        recommender(backbone, profile=PROFILE, item_profile=ITEM_PROFILE)
        .scorer()
        .scores(holdout.histories)
    )
    np.testing.assert_array_equal(scores, expected)
    for user in range(3):  # batched equals single
        alone = loaded.scorer().scores(holdout.histories.rows(user, user + 1))
        np.testing.assert_allclose(alone[0], scores[user], rtol=1e-5, atol=1e-5)
    # Who is told nothing of a user scores as if nothing were known.
    without = loaded.scorer().scores(replace(holdout.histories, profiles=None))
    np.testing.assert_array_equal(without[1], scores[1])
    assert not np.allclose(without[0], scores[0], atol=1e-3)


def test_popularity_comes_back(tmp_path: Path, backbone: Path) -> None:
    popularity = Popularity(*np.arange(2 * ITEMS, dtype=np.float32).reshape(2, ITEMS))
    run = tmp_path / "run"
    model = replace(recommender(backbone), popularity=popularity)
    save_checkpoint(run, model, VALIDATION, config={}, metrics={})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(backbone / name, run / "encoder")
    found = load_checkpoint(run).popularity
    np.testing.assert_array_equal(found.events, popularity.events)
    np.testing.assert_array_equal(found.expected, popularity.expected)


def test_an_earlier_run_knows_of_no_popularity(run: Path) -> None:
    assert not any("popularity" in name for name in load_file(run / "adapter.safetensors"))
    assert load_checkpoint(run).popularity is UNKNOWN


def test_vectors_of_other_modalities_come_back(tmp_path: Path, backbone: Path) -> None:
    images = np.random.default_rng(0).normal(size=(ITEMS, 3)).astype(np.float32)
    images[2] = np.nan
    model = recommender(backbone, vectors={"image": images})
    run = tmp_path / "run"
    save_checkpoint(run, model, VALIDATION, config={}, metrics={})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(backbone / name, run / "encoder")
    assert read_config(run)["format"] == 4
    loaded = load_checkpoint(run)
    assert loaded.modalities == ["image"]
    for name in ("item_modalities", "modality_mean", "modality_deviation"):
        torch.testing.assert_close(getattr(loaded.adapter, name), getattr(model.adapter, name))
    scores = loaded.scorer("text").scores(VALIDATION.histories)
    expected = model.scorer("text").scores(VALIDATION.histories)
    np.testing.assert_array_equal(scores, expected)


def test_only_a_model_with_profiles_asks_for_a_version_that_knows_them(
    run: Path, tmp_path: Path, backbone: Path
) -> None:
    assert read_config(run)["format"] == 2
    assert "profile" not in pd.read_parquet(run / "validation.parquet")
    assert not any("profile" in name for name in load_file(run / "adapter.safetensors"))
    assert read_config(profiled(tmp_path / "profiled", backbone))["format"] == 3


def test_a_checkpoint_of_before_there_were_profiles_loads(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    for name in ("profile", "item_profile", "modalities"):
        del config[name], config["adapter"][name]
    (run / "config.json").write_text(json.dumps(config))
    loaded = load_checkpoint(run)
    assert loaded.profile == loaded.item_profile == ()
    assert load_validation(run).histories.profiles is None


def test_validation_users_of_before_they_knew_when_they_were_asked(run: Path) -> None:
    file = run / "validation.parquet"
    pd.read_parquet(file).drop(columns="request_time").to_parquet(file)
    found = load_validation(run)
    assert found.histories.request_times is None
    assert found.targets.tolist() == VALIDATION.targets.tolist()


def test_the_encoder_loads_without_us(run: Path, backbone: Path) -> None:
    model = AutoModel.from_pretrained(run / "encoder")
    expected = AutoModel.from_pretrained(backbone)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_validation_users_come_back(run: Path) -> None:
    found = load_validation(run)
    assert found.targets.tolist() == VALIDATION.targets.tolist()
    assert found.histories.user_ids == VALIDATION.histories.user_ids
    for name in ("offsets", "items", "times", "actions", "request_times"):
        expected = getattr(VALIDATION.histories, name)
        np.testing.assert_array_equal(getattr(found.histories, name), expected)
        assert getattr(found.histories, name).dtype == expected.dtype


def test_validation_users_without_times_and_actions(tmp_path: Path, backbone: Path) -> None:
    bare = Holdout(sequences([0, 3], [1]), np.array([2, 7], np.int32))
    save_checkpoint(tmp_path, recommender(backbone), bare, config={}, metrics={})
    found = load_validation(tmp_path)
    assert found.histories.times is None
    assert found.histories.actions is None
    assert found.histories.request_times is None
    assert found.histories.items.tolist() == [0, 3, 1]


def test_config_is_readable_and_has_what_is_not_a_tensor(run: Path) -> None:
    config = read_config(run)
    assert config["training"] == {"seed": 3}
    assert config["max_length"] == 8
    assert config["linear"] == {"decay": 0.9, "weight": 2.0}
    assert json.loads((run / "metrics.json").read_text()) == {"rows": []}


def test_a_run_is_complete_when_its_config_is_and_the_disk_has_the_rest(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk is full at that moment, or the power fails."""
    synced: list[Path] = []
    fsync = os.fsync

    def full(descriptor: int) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path / "run")
        if file.name.startswith("config.json") and file.parent == Path():
            raise OSError(errno.ENOSPC, "No space left on device")
        synced.append(file)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "run", backbone)
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        read_config(tmp_path / "run")
    written = {file.relative_to(tmp_path / "run") for file in (tmp_path / "run").rglob("*.*")}
    assert written - {Path("config.json.unfinished")} == set(synced) - {
        Path("metrics.json.unfinished")
    }
    assert Path("encoder/model.safetensors") in synced


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: len(data) // 2])

    return damage


def drop_tensor(name: str, file: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        tensors = load_file(run / file)
        del tensors[name]
        save_file(tensors, run / file, metadata={"format": "pt"})

    return damage


def change_config(**changes: object) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps({**config, **changes}))

    return damage


DAMAGE = {
    "no tensors": remove("adapter.safetensors"),
    "no catalogue": remove("catalogue.parquet"),
    "no tokenizer": remove("encoder/tokenizer.json"),
    "no weights": remove("encoder/model.safetensors"),
    "half the tensors": cut("adapter.safetensors"),
    "half the catalogue": cut("catalogue.parquet"),
    "half the tokenizer": cut("encoder/tokenizer.json"),
    "half the weights": cut("encoder/model.safetensors"),
    "half the encoder's config": cut("encoder/config.json"),
    "a tensor missing": drop_tensor("adapter.bias", "adapter.safetensors"),
    "the linear term missing": drop_tensor("linear.index", "adapter.safetensors"),
    "a weight missing": drop_tensor(
        "encoder.layer.1.output.dense.weight", "encoder/model.safetensors"
    ),
    "another shape": change_config(adapter={"items": ITEMS + 1}),
    "another calibration": change_config(calibration={"slope": 1}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_said_and_not_loaded(run: Path, damage: Callable[[Path], None]) -> None:
    damage(run)
    with pytest.raises(
        CheckpointError, match=r"(?s)checkpoint is damaged .*; train again"
    ) as caught:
        load_checkpoint(run)
    assert str(run) in str(caught.value)


def test_a_catalogue_of_another_length(run: Path) -> None:
    table = pd.read_parquet(run / "catalogue.parquet")
    table.iloc[:-1].to_parquet(run / "catalogue.parquet")
    with pytest.raises(CheckpointError, match=f"{ITEMS - 1} items in catalogue.parquet"):
        load_checkpoint(run)


def test_damaged_validation_users(run: Path) -> None:
    cut("validation.parquet")(run)
    with pytest.raises(CheckpointError, match=r"validation\.parquet cannot be read"):
        load_validation(run)


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{", "is not JSON"), ("[]", "has format None"), ('{"format": 99}', "has format 99")],
)
def test_a_config_that_is_not_ours(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=problem):
        read_config(tmp_path)


def test_what_is_no_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="make one with `python -m builder train`"):
        load_checkpoint(tmp_path / "run")
    unfinished_run.begin(tmp_path / "run", {})
    with pytest.raises(CheckpointError, match=r"interrupted: continue with .* --resume"):
        load_checkpoint(tmp_path / "run")


def test_backbones_that_cannot_serve(tmp_path: Path, backbone: Path, parts: Parts) -> None:
    with pytest.raises(CheckpointError, match=rf"--backbone {tmp_path}: it cannot be loaded"):
        load_backbone(str(tmp_path))
    broken = tmp_path / "broken"
    shutil.copytree(backbone, broken)
    cut("model.safetensors")(broken)
    with pytest.raises(CheckpointError, match="it cannot be loaded"):
        load_backbone(str(broken))
    unpadded = tmp_path / "unpadded"
    shape: dict[str, Any] = {"n_embd": 8, "n_layer": 1, "n_head": 1}
    config = GPT2Config(vocab_size=15, bos_token_id=2, eos_token_id=3, **shape)
    GPT2Model(config).save_pretrained(unpadded)
    parts.tokenizer.save(str(unpadded / "tokenizer.json"))
    (unpadded / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(CheckpointError, match="no padding token"):
        load_backbone(str(unpadded))


def test_a_backbone_loads_in_full_precision(backbone: Path) -> None:
    model, tokenizer = load_backbone(str(backbone))
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.pad_token_id == 0


def test_a_catalogue_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"catalogue\.parquet cannot be read"):
        load_catalogue(tmp_path)
    (tmp_path / "catalogue.parquet").write_text("no table")
    with pytest.raises(CheckpointError, match=r"catalogue\.parquet cannot be read"):
        load_catalogue(tmp_path)
