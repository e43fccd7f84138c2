"""What a training takes from its backbone: the pooling, and how long a text may be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from builder.errors import CheckpointError
from builder.model.pooling import Pooling, PoolingChoice
from builder.training.config import TrainingConfig
from builder.training.preparation import prepare
from tests.unit.builder.model.backbones import BACKBONES
from tests.unit.builder.model.test_sentence_modules import flags, write_modules
from tests.unit.builder.model.tiny import TEXTS
from tests.unit.builder.training.test_run import config

__all__ = ["config"]


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        ("cls_token", "auto", "cls"),
        ("cls_token", "mean", "mean"),
        ("mean_tokens", "auto", "mean"),
        ("mean_tokens", "attention", "attention"),
        ("max_tokens", "auto", "mean"),
        (None, "auto", "mean"),
    ],
)
def test_the_backbone_says_how_it_is_pooled(
    config: TrainingConfig,
    backbone: Path,
    tmp_path: Path,
    said: str | None,
    asked: PoolingChoice,
    expected: Pooling,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Path(shutil.copytree(backbone, tmp_path / "backbone"))
    if said is not None:
        write_modules(source, flags(said), ["Dense"], max_seq_length=4)
    with caplog.at_level("INFO", "builder"):
        prepared = prepare(
            replace(config, backbone=str(source), pooling=asked), tmp_path / "tokenizer"
        )
    assert prepared.encoder.pooling == expected
    assert f"pooling: {expected}; the backbone says" in caplog.text
    assert prepared.tokenizer.max_length == (config.max_length if said is None else 4)
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warned) == (said is not None)
    assert all("2_Dense (Dense)" in each for each in warned)
    assert any("max_tokens" in each for each in warned) == (said == "max_tokens")
    if expected == "cls":
        row = torch.tensor([prepared.tokenizer([TEXTS[0]])[0].tokens])
        with torch.no_grad():
            states = AutoModel.from_pretrained(source).eval()(row).last_hidden_state
        torch.testing.assert_close(prepared.text_vectors[0], states[0, 0])


@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta"])
def test_a_text_may_be_as_long_as_there_are_positions(
    config: TrainingConfig, backbone: Path, tmp_path: Path, name: str, pad: int
) -> None:
    source = Path(shutil.copytree(backbone, tmp_path / "backbone"))
    shape = BACKBONES[name].to_dict() | {"pad_token_id": pad}
    AutoModel.from_config(type(BACKBONES[name])(**shape)).save_pretrained(source)
    described: dict[str, Any] = json.loads((source / "tokenizer_config.json").read_text())
    described["pad_token"] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"][pad]
    (source / "tokenizer_config.json").write_text(json.dumps(described))
    prepared = prepare(
        replace(config, backbone=str(source), max_length=512), tmp_path / "tokenizer"
    )
    assert prepared.encoder.pad_id == pad
    assert prepared.tokenizer.max_length == 24 - (0 if name == "bert" else pad + 1)
    longest = prepared.tokenizer(["toy " * 99])[0].tokens
    assert prepared.encoder(torch.tensor([longest])).isfinite().all()


@pytest.mark.parametrize("positions", [2, 3])
def test_no_text_fits(
    config: TrainingConfig, backbone: Path, tmp_path: Path, positions: int
) -> None:
    source = Path(shutil.copytree(backbone, tmp_path / "backbone"))
    shape = BACKBONES["roberta"].to_dict() | {"max_position_embeddings": positions}
    AutoModel.from_config(type(BACKBONES["roberta"])(**shape)).save_pretrained(source)
    with pytest.raises(CheckpointError, match=r"places for \d tokens.*max_position_embeddings or"):
        prepare(replace(config, backbone=str(source)), tmp_path / "tokenizer")
    assert not (tmp_path / "tokenizer").exists()
