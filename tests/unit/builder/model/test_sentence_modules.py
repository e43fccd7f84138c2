"""What sentence-transformers says of a backbone is taken, and what is not used is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import CheckpointError
from builder.model.pooling import Pooling
from builder.model.sentence_modules import (
    SentenceModules,
    read_sentence_modules,
    write_sentence_modules,
)

FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")


def write_modules(
    directory: Path,
    pooling: Mapping[str, Any],
    others: Sequence[str] = (),
    max_seq_length: int | None = None,
) -> Path:
    """What sentence-transformers writes, with a module of each of the ``others`` behind."""
    kinds = ["Transformer", "Pooling", *others]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]
    directory.mkdir(exist_ok=True)
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text(json.dumps(pooling))
    if max_seq_length is not None:
        said = {"max_seq_length": max_seq_length, "do_lower_case": False}
        (directory / "sentence_bert_config.json").write_text(json.dumps(said))
    return directory


def flags(*on: str) -> dict[str, Any]:
    return {"word_embedding_dimension": 16} | {f"pooling_mode_{name}": name in on for name in FLAGS}


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (flags("cls_token"), SentenceModules("cls")),
        (flags("mean_tokens"), SentenceModules("mean")),
        ({"embedding_dimension": 16, "pooling_mode": "cls"}, SentenceModules("cls")),
        ({"word_embedding_dimension": 16}, SentenceModules("mean")),
        (flags("max_tokens"), SentenceModules(unused=("the pooling pooling_mode_max_tokens",))),
        ({"pooling_mode": "lasttoken"}, SentenceModules(unused=("the pooling lasttoken",))),
        (
            {"pooling_mode": ["cls", "mean"]},
            SentenceModules(unused=("the pooling cls + mean",)),
        ),
    ],
)
def test_poolings(pooling: Mapping[str, Any], expected: SentenceModules, tmp_path: Path) -> None:
    assert read_sentence_modules(str(write_modules(tmp_path, pooling)), "here") == expected


def test_other_modules_and_the_longest_text(tmp_path: Path) -> None:
    write_modules(tmp_path, flags("mean_tokens"), ["Dense", "Normalize"], 128)
    found = read_sentence_modules(str(tmp_path), "here")
    assert found == SentenceModules("mean", 128, ("2_Dense (Dense)",))


def test_lower_case_and_prompts_are_told(tmp_path: Path) -> None:
    write_modules(tmp_path, flags("mean_tokens"), (), 128)
    said = {"max_seq_length": 128, "do_lower_case": True}
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(said))
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    lower, prompt = read_sentence_modules(str(tmp_path), "here").unused
    assert lower.startswith("do_lower_case")
    assert "'query: '" in prompt


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_what_is_written_is_read(pooling: Pooling, tmp_path: Path) -> None:
    write_sentence_modules(tmp_path, pooling, 64, 384)
    assert read_sentence_modules(str(tmp_path), "here") == SentenceModules(pooling, 64)
    found = json.loads((tmp_path / "1_Pooling/config.json").read_text())
    assert found["word_embedding_dimension"] == 384


def test_pooling_that_others_do_not_know_is_not_written(tmp_path: Path) -> None:
    write_sentence_modules(tmp_path, "attention", 64, 384)
    assert list(tmp_path.iterdir()) == []


def test_no_modules(backbone: Path) -> None:
    assert read_sentence_modules(str(backbone), "here") == SentenceModules()


@pytest.mark.parametrize("damage", ["{", "[1]", '[{"path": ""}]', "7"])
def test_damage_is_told(damage: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(damage)
    with pytest.raises(CheckpointError, match=r"here: modules\.json, or a file .* remove modules"):
        read_sentence_modules(str(tmp_path), "here")
