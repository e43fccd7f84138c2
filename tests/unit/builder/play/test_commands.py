from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from builder.errors import CheckpointError, ConfigError, RepositoryError
from builder.play.commands import play
from builder.repository import Staging, stage
from tests.integration.serving_models import write_contract_models

app = typer.Typer()
app.command()(play)


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception


def publish(repository: Path, checkpoint: str) -> None:
    def fill(staging: Staging) -> None:
        staging.target, staging.checkpoint = "embedded", checkpoint
        write_contract_models(staging)

    with stage(repository) as staging:
        fill(staging)


def test_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="python -m builder export"):
        run("--repository", str(tmp_path))


def test_a_run_that_is_gone_can_be_named(tmp_path: Path) -> None:
    publish(tmp_path / "repository", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="not there any more; say with --checkpoint"):
        run("--repository", str(tmp_path / "repository"))


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        run("--checkpoint", str(tmp_path))


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name == "starlette":
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"starlette.*pip install 'tritonrec\[builder,play\]'"):
        run()
