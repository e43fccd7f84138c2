"""``python -m perf faults`` on real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perf import faults
from perf.__main__ import main
from perf.errors import PerfError
from perf.faults import AT_START, LIVE, end_under_load, meet, refuse
from tests.integration.breakable import publish_breakable
from tests.integration.tiny_repository import write_tiny_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "models"
    path.mkdir()
    write_tiny_repository(path, layout="fused")
    return path


def test_a_fault_shows_what_clients_saw(repository: Path) -> None:
    name = "the process of recommend is killed"
    found = meet(repository, name, LIVE[name], 20)
    assert "the process of recommend" in found.told
    assert found.well is not None
    for seen in found.clients.values():
        assert 0 < seen.lost < seen.requests / 2
        assert set(seen.errors) <= {"UNAVAILABLE", "INTERNAL"}
    line = faults._table([found]).splitlines()[-1]
    assert line.startswith(f"| {name} | the process of recommend")
    assert f"of {found.clients['without'].requests} (" in line


def test_the_command_writes_json(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "tritonserver is killed"
    monkeypatch.setattr(faults, "LIVE", {name: LIVE[name]})
    monkeypatch.setattr(faults, "AT_START", {})
    options = ["--repository", str(repository), "--seconds", "15", "--json"]
    assert main(["faults", *options]) == 0
    live, end = json.loads(capsys.readouterr().out)
    assert live["fault"] == name
    assert set(live["clients"]) == {"with retries", "without"}
    assert live["clients"]["without"]["errors"]["UNAVAILABLE"] > 0
    assert end["told"] == "exit code 0"


def test_a_server_that_does_not_answer_again_is_an_error(repository: Path) -> None:
    with pytest.raises(PerfError, match="did not answer again within 1 s"):
        meet(repository, "nothing", lambda _: None, 1)


def test_an_end_under_load_loses_nothing(repository: Path) -> None:
    found = end_under_load(repository)
    assert found.told == "exit code 0"
    assert [each.lost for each in found.clients.values()] == [0, 0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("the largest file is truncated", "rank/1/model.py is not the file that was exported"),
        ("the manifest is truncated", "is broken or was not written by this software"),
    ],
)
def test_what_is_broken_at_the_start_is_refused(tmp_path: Path, name: str, told: str) -> None:
    publish_breakable(tmp_path / "models")
    found = refuse(tmp_path / "models", name, AT_START[name])
    assert found.told.startswith("refused: ")
    assert told in found.told


def test_what_is_served_all_the_same_is_an_error(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models")
    with pytest.raises(PerfError, match="nothing: it is served all the same"):
        refuse(tmp_path / "models", "nothing", lambda _: None)
