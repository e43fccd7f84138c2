from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from builder.model import text_cache
from builder.model.recommender import encode_texts
from builder.model.text_cache import VARIABLE, encode_with_cache
from builder.model.text_encoder import TextEncoder
from model_repository.engines.tokenizer import TextTokenizer
from tests.unit.builder.model.tiny import TEXTS, recommender


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "text-vectors"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that went through the encoder."""
    seen: list[str] = []

    def count(encoder: Any, tokenizer: Any, texts: list[str], **options: Any) -> Tensor:
        seen.extend(texts)
        return encode_texts(encoder, tokenizer, texts, **options)

    monkeypatch.setattr(text_cache, "encode_texts", count)
    return seen


@pytest.fixture
def encoder(backbone: Path) -> TextEncoder:
    return recommender(backbone).encoder


def vectors(
    encoder: TextEncoder, backbone: Path, texts: list[str] = TEXTS, length: int = 8, **options: Any
) -> Tensor:
    file = backbone / "tokenizer.json"
    return encode_with_cache(encoder, TextTokenizer(file, length), file, texts, **options)


def test_each_text_is_encoded_once_and_not_again(
    encoder: TextEncoder,
    backbone: Path,
    cache: Path,
    encoded: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    first = vectors(encoder, backbone, [*TEXTS, *TEXTS])
    assert encoded == list(dict.fromkeys(TEXTS))
    plain = encode_texts(encoder, TextTokenizer(backbone / "tokenizer.json", 8), TEXTS)
    torch.testing.assert_close(first, torch.cat([plain, plain]))
    encoded.clear()
    assert torch.equal(vectors(encoder, backbone), first[: len(TEXTS)])
    assert encoded == []
    assert f"{len(set(TEXTS))} of {len(set(TEXTS))} different texts" in caplog.messages[-1]
    vectors(encoder, backbone, [*TEXTS, "another one"])
    assert encoded == ["another one"]
    encoded.clear()
    vectors(encoder, backbone, ["another one", TEXTS[0]])
    assert encoded == []
    (kept,) = cache.iterdir()
    assert kept.suffix == ".safetensors"


def test_whatever_decides_a_vector_makes_another_file(
    encoder: TextEncoder, backbone: Path, cache: Path, encoded: list[str]
) -> None:
    vectors(encoder, backbone)
    vectors(encoder, backbone, length=6)
    encoder.pooling = "cls"
    vectors(encoder, backbone)
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1
    vectors(encoder, backbone)
    assert len(encoded) == 4 * len(set(TEXTS))
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "other", "width", "nan"])
def test_a_damaged_file_is_made_anew(
    encoder: TextEncoder,
    backbone: Path,
    cache: Path,
    encoded: list[str],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    expected = vectors(encoder, backbone)
    (file,) = cache.iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    elif damage == "other":
        file.write_text("no vectors")
    else:
        found = load_file(file)
        wrong = found["vectors"][:, 1:].clone() if damage == "width" else found["vectors"] / 0
        save_file({**found, "vectors": wrong}, file)
    encoded.clear()
    assert torch.equal(vectors(encoder, backbone), expected)
    assert len(encoded) == len(set(TEXTS))
    (warning,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert str(file) in warning.getMessage()
    encoded.clear()
    vectors(encoder, backbone)
    assert encoded == []


@pytest.mark.parametrize("failing", ["mkdir", "replace", "full"])
def test_what_cannot_be_written_does_not_fail(
    encoder: TextEncoder,
    backbone: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failing: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if failing == "full":
        monkeypatch.setattr(text_cache, "save_file", fail)
    else:
        monkeypatch.setattr(Path, failing, fail)
    assert len(vectors(encoder, backbone)) == len(TEXTS)
    assert "No space left" in caplog.messages[-1]
    assert not cache.exists() or not list(cache.iterdir())


def test_the_oldest_go_where_there_are_too_many(
    encoder: TextEncoder, backbone: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []
    for length, age in ((3, 300), (4, 200), (5, 100)):
        vectors(encoder, backbone, length=length)
        (new,) = set(cache.iterdir()) - set(files)
        files.append(new)
        os.utime(new, (new.stat().st_mtime - age,) * 2)
    vectors(encoder, backbone, length=3)  # used, so it is not the oldest any more
    monkeypatch.setattr(text_cache, "MOST_BYTES", 3 * files[0].stat().st_size + 10)
    vectors(encoder, backbone, length=7)
    assert [file.exists() for file in files] == [True, False, True]
    assert len(list(cache.iterdir())) == 3


def test_nothing_is_kept_where_that_is_asked_for(
    encoder: TextEncoder,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")
    vectors(encoder, backbone)
    assert not list(tmp_path.iterdir())
    monkeypatch.delenv(VARIABLE)
    vectors(encoder, backbone, write=False)
    assert not list(tmp_path.iterdir())
    vectors(encoder, backbone)
    assert len(list((tmp_path / "tritonrec" / "text-vectors").iterdir())) == 1


def test_a_file_that_cannot_be_touched_is_read_all_the_same(
    encoder: TextEncoder,
    backbone: Path,
    cache: Path,
    encoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors(encoder, backbone)
    assert cache.is_dir()

    def fail(_: Any) -> None:
        raise OSError(30, "Read-only file system")

    encoded.clear()
    monkeypatch.setattr("os.utime", fail)
    vectors(encoder, backbone)
    assert encoded == []
