from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from builder.doctor.commands import doctor
from builder.errors import ConfigError
from tests.unit.builder.doctor.repositories import publish

app = typer.Typer()
app.command()(doctor)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    publish(tmp_path / "models")
    return tmp_path / "models"


def test_it_exits_with_0_and_says_that_it_should_load(repository: Path) -> None:
    code, output = run("--repository", str(repository))
    assert code == 0
    assert output.splitlines()[-1].startswith("It should load in ")


def test_it_exits_with_1_and_says_what_to_do(repository: Path) -> None:
    (repository / "encoder/config.pbtxt").unlink()
    code, output = run("--repository", str(repository), "--triton-image", "26.08")
    assert code == 1
    assert output.splitlines()[-1] == "It will not load in tritonserver:26.08-py3: 1 error."
    assert "→ restore the file" in output


def test_json_carries_every_finding(repository: Path) -> None:
    (repository / "__pycache__").mkdir()
    code, output = run("--repository", str(repository), "--triton-image", "26.08", "--json")
    document = json.loads(output)
    assert code == 1
    assert document["loads"] is False
    assert document["server"] == "tritonserver:26.08-py3"
    (error,) = [f for f in document["findings"] if f["severity"] == "error"]
    assert error["where"] == str(repository / "__pycache__")
    assert error["remedy"] == "delete it or move it elsewhere"


def test_an_unknown_image_is_refused(repository: Path) -> None:
    with pytest.raises(ConfigError):
        run("--repository", str(repository), "--triton-image", "99.01")
