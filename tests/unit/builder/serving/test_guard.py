from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from builder.serving import _guard


def test_only_the_empty_directory_of_this_server_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "_TEMPORARY", tmp_path)
    began = time.time() - 60
    for name, age in {"own": 1, "full": 1, "earlier": -1, "later": 30}.items():
        directory = tmp_path / f"python_env_{name}"
        directory.mkdir()
        if name == "full":
            (directory / "bin").mkdir()
        os.utime(directory, (began + age, began + age))
    (tmp_path / "other").mkdir()
    _guard._delete_environments(began)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["other", "python_env_earlier", "python_env_full", "python_env_later"]
