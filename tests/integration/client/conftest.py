"""Real tritonservers with the tiny repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelQueuePolicy

from builder.repository import from_text, to_text
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


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[TritonServer]:
    """The same with a queue of ``rank`` that heeds the timeout which a request brings.

    No export has one, since Triton 2.51 loses wake-ups with it.
    """
    write_tiny_repository(tmp_path, delay_microseconds=2_000_000)
    for path in (tmp_path / "rank").rglob("config.pbtxt"):
        config = from_text(path.read_text(), str(path))
        queue = config.dynamic_batching.default_queue_policy
        # Without a longer default, Triton pays no heed to the timeout that a request brings.
        queue.timeout_action = ModelQueuePolicy.REJECT
        queue.allow_timeout_override = True
        queue.default_timeout_microseconds = 3_600_000_000
        path.write_text(to_text(config))
    with TritonServer(tmp_path, metrics_port=0) as server:
        yield server
