from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.unit.builder.classifier.tiny import write_classifier


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint of an architecture, made once."""

    @cache
    def make(architecture: str) -> Path:
        root = tmp_path_factory.mktemp("classifiers")
        return write_classifier(root / architecture, architecture)

    return make
