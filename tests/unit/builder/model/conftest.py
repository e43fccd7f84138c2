from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.builder.model.tiny import write_backbone, write_log
from tests.unit.model_repository.conftest import Parts, parts

__all__ = ["parts"]


@pytest.fixture(scope="session")
def backbone(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("bert"), parts.directory / "tokenizer.json")


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "tiny")
