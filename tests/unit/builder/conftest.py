from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.graph_cache import graphs_exported_once

__all__ = ["graphs_exported_once"]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command logs to the stderr of the moment, which is closed after its test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
