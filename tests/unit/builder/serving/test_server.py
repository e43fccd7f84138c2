"""Starts that end by a race in Triton's Python backend are tried again, and a stop is heeded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ServingError
from builder.serving import TritonServer
from builder.serving import server as module

RACE = "terminate called after throwing an instance of 'boost::interprocess::lock_exception'"


@pytest.mark.parametrize(
    ("ends", "starts", "fails"),
    [
        ([], 1, False),
        ([RACE], 2, False),
        ([RACE, RACE], 3, False),
        ([RACE, RACE, RACE], 3, True),
        (["no such model"], 1, True),
        ([RACE, "no such model"], 2, True),
    ],
)
def test_a_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: list[str], starts: int, *, fails: bool
) -> None:
    seen: list[None] = []

    def start(_self: TritonServer) -> None:
        seen.append(None)
        if len(seen) <= len(ends):
            raise ServingError(f"tritonserver did not start:\n  {ends[len(seen) - 1]}")

    monkeypatch.setattr(TritonServer, "_start", start)
    if fails:
        with pytest.raises(ServingError, match=ends[-1][:13]):
            TritonServer(tmp_path).start()
    else:
        TritonServer(tmp_path).start()
    assert len(seen) == starts


def test_a_stop_while_it_waits_for_ports_is_heeded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.pbtxt").touch()
    installed: Any = object()
    server = TritonServer(tmp_path, installation=installed)
    orphaned = [[1], [1], []]
    asked: list[None] = []

    def taken(*_: object) -> None:
        if not asked:
            asked.append(None)
            server.request_stop()
        raise ServingError("the gRPC port is taken")

    monkeypatch.setattr(module, "claim_ports", taken)
    monkeypatch.setattr(module, "orphans", lambda _: orphaned.pop(0))
    with pytest.raises(ServingError, match="asked to stop"):
        server.start()
    assert len(orphaned) == 2
    # It was stopped with this, and may be started again.
    server.stop()
    with pytest.raises(ServingError, match="port is taken"):
        server.start()
    assert not orphaned


def test_what_triton_sees_is_of_one_publication(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for publication in ("models", "next"):
        for model in ("encode", "rank"):
            (tmp_path / publication / model / "1").mkdir(parents=True)
            (tmp_path / publication / model / "1/model.py").touch()
            (tmp_path / publication / model / "config.pbtxt").write_text(publication)
    repository = tmp_path / "models"
    copies: list[Path] = []

    def copy(source: Path, to: Path) -> None:
        to.write_text(source.read_text())
        copies.append(to)
        if len(copies) == 1:
            repository.rename(tmp_path / "before")
            (tmp_path / "next").rename(repository)

    monkeypatch.setattr(shutil, "copyfile", copy)
    (tmp_path / "scratch").mkdir()
    view = TritonServer(repository)._steady_view(tmp_path / "scratch")
    assert len(copies) > 2
    found = {path.parent.name: path for path in view.glob("*/config.pbtxt")}
    assert {name: path.read_text() for name, path in found.items()} == {
        "encode": "next",
        "rank": "next",
    }
    assert not any(path.is_symlink() for path in found.values())
    assert (view / "rank/1/model.py").is_symlink()
