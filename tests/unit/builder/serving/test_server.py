"""Starts that end by a race in Triton's Python backend are tried again, and a stop is heeded."""

from __future__ import annotations

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
