"""What options cost: that the same is asked for with them and without, and nothing of the cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from builder.errors import RepositoryError
from model_repository.core.attributes import Attributes, NumberColumn, list_column
from model_repository.core.batch import Request, answer
from model_repository.core.handler import UserHandler
from perf import __main__ as command_line
from perf import request_options as measurement
from perf.request_options import NONE, option_costs, table
from tests.unit.builder.export.conftest import checkpoint, model, repositories

__all__ = ["checkpoint", "model", "repositories"]


def test_all_are_asked_the_same(
    repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[list[bytes]]] = {}

    def counted(handler: UserHandler, requests: Sequence[Request]) -> float:
        for request in requests:
            history = request.tensors["HISTORY"][0].tolist()
            asked.setdefault(request.parameters, []).append(history)
            (outcome,) = answer(handler, [request])
            assert not isinstance(outcome, Exception)
        return len(requests) * (1e-6 if requests[0].parameters == "{}" else 2e-6)

    monkeypatch.setattr(measurement, "_time", counted)
    monkeypatch.setattr(measurement, "EVENTS", (2, 4))
    monkeypatch.setattr(measurement, "_ROUNDS", 1)
    found = option_costs(repositories["fused"])
    assert found.pop(NONE) == {"2": pytest.approx(1), "4": pytest.approx(1)}
    assert {"explain", "diversity", "trace"} <= found.keys()
    assert all(each == {"2": pytest.approx(2), "4": pytest.approx(2)} for each in found.values())
    assert len(asked) == len(found) + 1
    assert all(each == asked["{}"] for each in asked.values())
    assert {len(set(history)) for history in asked["{}"]} == {2, 4}


def test_rules_are_measured_where_there_are_attributes() -> None:
    attributes = Attributes({"year": NumberColumn(np.ones(3)), "genres": list_column([[], [], []])})
    asked = measurement._asked(attributes)
    assert asked["filter"] == {"filter": "known(year)"}
    assert asked["limits"]["limits"].startswith("at most 4 per genres")
    assert "filter" not in measurement._asked(Attributes())


def test_the_command_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {NONE: {"10": 1_000.4}, "explain": {"10": 2_000.0}}
    monkeypatch.setattr(measurement, "option_costs", lambda _: rows)
    shown = CliRunner().invoke(command_line.app, ["request-options"])
    assert shown.stdout == table(rows) + "\n"
    assert "| explain | 2,000 |" in shown.stdout
    shown = CliRunner().invoke(command_line.app, ["request-options", "--json"])
    assert json.loads(shown.stdout) == rows


def test_another_layout_is_refused(repositories: dict[str, Path]) -> None:
    with pytest.raises(RepositoryError, match="--layout fused"):
        option_costs(repositories["ensemble"])
