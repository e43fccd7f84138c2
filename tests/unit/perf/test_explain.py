"""What reasons cost: that the same is asked for with them and without, and nothing of the cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.errors import RepositoryError
from model_repository.core.batch import Request, answer
from model_repository.core.handler import UserHandler
from perf import __main__ as command_line
from perf import explain as measurement
from perf.explain import explain_cost, table
from tests.unit.builder.export.conftest import checkpoint, model, repositories

__all__ = ["checkpoint", "model", "repositories"]


def test_both_are_asked_the_same(
    repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[bytes]]] = []

    def counted(handler: UserHandler, requests: Sequence[Request]) -> float:
        for request in requests:
            asked.append((request.parameters, request.tensors["HISTORY"][0].tolist()))
            (outcome,) = answer(handler, [request])
            assert not isinstance(outcome, Exception)
            assert ("REASON" in outcome) == bool(request.parameters)
        return len(requests) * (2e-6 if requests[0].parameters else 1e-6)

    monkeypatch.setattr(measurement, "_time", counted)
    monkeypatch.setattr(measurement, "EVENTS", (2, 4))
    monkeypatch.setattr(measurement, "_ROUNDS", 1)
    found = explain_cost(repositories["fused"])
    assert found == [
        {"events": events, "without": pytest.approx(1), "with": pytest.approx(2)}
        for events in (2, 4)
    ]
    with_reasons = [history for parameters, history in asked if parameters]
    assert with_reasons == [history for parameters, history in asked if not parameters]
    assert {len(set(history)) for history in with_reasons} == {2, 4}


def test_the_command_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"events": 10, "without": 1_000.4, "with": 2_000.0}]
    monkeypatch.setattr(measurement, "explain_cost", lambda _: rows)
    shown = CliRunner().invoke(command_line.app, ["explain"])
    assert shown.stdout == table(rows) + "\n"
    assert "| 10 | 1,000 | 2,000 |" in shown.stdout
    shown = CliRunner().invoke(command_line.app, ["explain", "--json"])
    assert json.loads(shown.stdout) == rows


def test_another_layout_is_refused(repositories: dict[str, Path]) -> None:
    with pytest.raises(RepositoryError, match="--layout fused"):
        explain_cost(repositories["ensemble"])
