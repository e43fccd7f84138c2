from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from builder.serving import _guard

SERVER = """
cd "$0"
mkdir python_env_own python_env_full python_env_full/bin other
touch -d 1990-01-01 python_env_own  # as if the clock had been set back
"""


@pytest.mark.parametrize("late", [False, True])
def test_only_the_empty_directory_of_this_server_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Not one that another server made before it began, or when it had long begun."""
    monkeypatch.setattr(_guard, "_TEMPORARY", tmp_path)
    if late:
        monkeypatch.setattr(_guard, "_SECONDS_TO_BACKEND", 0.0)
    (tmp_path / "python_env_earlier").mkdir()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        command = ["sh", "-c", SERVER, str(tmp_path)]
        assert _guard.main(os.getppid(), 1, tmp_path / "none", "tritonrec-none-", command) == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    left = {path.name for path in tmp_path.iterdir()}
    kept = {"other", "python_env_earlier", "python_env_full"}
    assert left == kept | ({"python_env_own"} if late else set())
