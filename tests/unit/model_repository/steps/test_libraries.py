"""The libraries that a version was exported with, when it loads."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from model_repository.steps.libraries import LIBRARIES_FILE, check_libraries


def write(directory: Path, **libraries: str) -> Path:
    (directory / LIBRARIES_FILE).write_text(json.dumps(libraries))
    return directory


def test_the_same_ones_are_nothing_to_speak_of(tmp_path: Path) -> None:
    assert check_libraries(write(tmp_path, numpy=version("numpy"))) == []


def test_another_version_is_told(tmp_path: Path) -> None:
    write(tmp_path, numpy="1.0", tokenizers=version("tokenizers"))
    assert check_libraries(tmp_path) == [
        f"numpy is {version('numpy')} here, and the model was exported with 1.0"
    ]


def test_missing_ones_are_all_named_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path, **{"numpy": "1.0", "no-such-thing": "1.2", "nor-this": "3"})
    with pytest.raises(RuntimeError, match=r"pip install no-such-thing==1\.2 nor-this==3$"):
        check_libraries(tmp_path)


def test_a_version_without_the_list_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="libraries"):
        check_libraries(tmp_path)
