"""A start that ends by a race in Triton's Python backend is tried again, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import ServingError
from builder.serving import TritonServer

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
