from __future__ import annotations

import pytest

from builder.export.targets.tensorrt import TensorRT


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skips where there is no TensorRT or no GPU, with the reason that the target itself gives."""
    if missing := TensorRT().missing():
        pytest.skip(f"this machine lacks {missing}")
