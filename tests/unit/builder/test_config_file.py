from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from builder.errors import ConfigError
from builder.training.commands import train

app = typer.Typer()
app.command()(train)


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result


def printed(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(call(*arguments, "--print-config").stdout)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "train.yaml"
    file.write_text(
        "data: Filme/\nmin_rating: 4\nwidth: 32\nlearning_rate: 1e-4\n"
        "column: {time: gesehen, user: Zuschauer}\ntext: '{título} ({año})'\n"
    )
    return file


def test_a_flag_overrides_the_file_and_the_file_the_default(file: Path) -> None:
    found = printed("--config", file, "--width", 16)
    assert (found["width"], found["min_rating"], found["heads"]) == (16, 4.0, 2)
    assert found["learning_rate"] == 1e-4
    assert found["data"] == "Filme"
    assert found["text"] == "{título} ({año})"
    assert found["column"] == ["time=gesehen", "user=Zuschauer"]
    assert found["batch_size"] is None
    assert printed("--width", 16, "--config", file) == found


def test_what_is_printed_reads_back_as_the_same(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(call("--config", file, "--width", 16, "--print-config").stdout)
    assert printed("--config", again) == printed("--config", file, "--width", 16)
    assert printed() == yaml.safe_load(call("--print-config").stdout)


def test_unknown_keys_name_the_nearest_all_at_once(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("learning_rat: 1\nepoch: 3\nheads: 1\nresume: true\n")
    with pytest.raises(ConfigError) as caught:
        call("--config", file)
    message = str(caught.value)
    assert "no option 'learning_rat'; did you mean 'learning_rate'?" in message
    assert "no option 'epoch'; did you mean 'epochs'?" in message
    assert "no option 'resume'" in message
    assert "heads" not in message


@pytest.mark.parametrize("content", ["- a\n- b", "width: [", "just text", ""])
def test_files_that_hold_no_options(tmp_path: Path, content: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match="--config"):
        call("--config", file)


def test_values_are_checked_as_those_of_flags_are(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("width: wide\n")
    result = call("--config", file)
    assert result.exit_code == 2
    assert "--width" in result.stderr


def test_what_is_required_may_come_from_either(file: Path) -> None:
    with pytest.raises(ConfigError, match="--backbone and --output must be given"):
        call("--config", file)
