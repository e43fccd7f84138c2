"""``python -m perf faults`` on real servers."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from perf import bad_clients, faults, scarcity
from perf.__main__ import main
from perf.errors import PerfError
from perf.faults import AT_START, LIVE, Fault, end_under_load, meet, refuse
from perf.republish import republish
from tests.integration.breakable import publish_breakable
from tests.integration.tiny_repository import write_tiny_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults")
    write_tiny_repository(path / "unpublished", layout="fused")
    republish(path / "unpublished", path / "models")
    return path / "models"


@pytest.mark.sweep
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


@pytest.mark.sweep
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
        meet(repository, "nothing", Fault(lambda _: "", restarts=True), 1)


def test_a_server_that_is_started_anew_without_need_is_an_error(repository: Path) -> None:
    fault = LIVE["tritonserver is killed"]
    with pytest.raises(PerfError, match="was started anew"):
        meet(repository, "it", dataclasses.replace(fault, restarts=False), 1)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "the disk is full while a version is published",
            "nothing was published: the disk of .* is full, .*free some space there",
        ),
        # What test_client_faults tries too.
        *(
            pytest.param(name, told, marks=pytest.mark.sweep)
            for name, told in (
                ("clients leave at every stage", "800 clients left"),
                ("clients read no answers", "100 clients read nothing"),
                ("deadlines pass", r"the deadlines of [1-9]\d* calls passed"),
                ("idle connections", "^10,000 connections$"),
            )
        ),
    ],
)
def test_a_fault_that_takes_no_request_from_others(
    repository: Path, name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("the ") and not scarcity.may_mount():
        pytest.skip("needs the right to mount file systems")
    monkeypatch.setattr(bad_clients, "_SECONDS", 0.2)
    monkeypatch.setattr(faults, "_TIMEOUT", 20.0)  # a busy machine has time
    found = meet(repository, name, LIVE[name], 20)
    assert re.search(told, found.told)
    assert found.well == 0
    for seen in found.clients.values():
        assert (seen.lost, seen.requests > 0) == (0, True)


@pytest.mark.sweep
@pytest.mark.skipif(not scarcity.may_mount(), reason="needs the right to mount file systems")
def test_without_shared_memory_the_batch_of_a_large_request_fails(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton copies a batch as one; each client has one request under way, so one at the most."""
    monkeypatch.setattr(faults, "_TIMEOUT", 20.0)
    name = "the shared memory is used up"
    found = meet(repository, name, LIVE[name], 20)
    assert found.told == "a large request got INTERNAL; with room again OK"
    for seen in found.clients.values():
        assert seen.errors in ({}, {"INTERNAL": 1})
        assert seen.requests > 1


@pytest.mark.sweep  # test_supervision does so under `serve`
def test_a_process_that_gets_no_memory_is_replaced(repository: Path) -> None:
    name = "the process of recommend gets no memory"
    found = meet(repository, name, LIVE[name], 20)
    assert "a large request got UNAVAILABLE" in found.told
    assert "the process of recommend" in found.told
    for seen in found.clients.values():
        assert 0 < seen.lost < seen.requests / 2


def test_what_nobody_may_do_here_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scarcity, "may_mount", lambda: False)
    name = "the shared memory is used up"
    assert meet(repository, name, LIVE[name], 1).told.startswith("not tried: it needs the right")
    name = "the process of user_encoder is stopped"  # which is a model in the other layout
    assert (
        meet(repository, name, LIVE[name], 1).told == "not tried: the repository has no such model"
    )


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


def test_the_catalogue_of_another_export_is_refused(repository: Path) -> None:
    name = "the item vectors are those of another export"
    found = refuse(repository, name, AT_START[name])
    assert re.search(r"^refused: .*recommend/1/item_vectors.npy is not the file", found.told)


def test_what_is_served_all_the_same_is_an_error(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models")
    with pytest.raises(PerfError, match="nothing: it is served all the same"):
        refuse(tmp_path / "models", "nothing", lambda _: None)
