"""Real tritonservers with the tiny repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.serving import TritonServer
from tests.integration.tiny_repository import write_tiny_repository


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    write_tiny_repository(root, classifier=True)
    return root


@pytest.fixture(scope="session")
def triton(tiny_repository: Path) -> Iterator[TritonServer]:
    with TritonServer(tiny_repository, metrics_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose queue waits for a full batch: a lonely request stays in it for two seconds."""
    root = tmp_path_factory.mktemp("waiting")
    write_tiny_repository(root, delay_microseconds=2_000_000)
    with TritonServer(root, metrics_port=0) as server:
        yield server
