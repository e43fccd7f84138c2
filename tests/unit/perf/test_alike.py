"""Searches of a large catalogue for what is alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.model.recommender import Recommender
from perf import __main__ as command_line
from perf import alike
from perf.alike import SHARES, search_for_what_is_alike, table
from tests.unit.builder.export.conftest import model

__all__ = ["model"]


def test_both_kinds_are_searched_with_an_index_and_without(
    model: Recommender, tmp_path: Path
) -> None:
    found = search_for_what_is_alike(model, tmp_path, 20_000, 3)
    assert found["items"] == 20_000
    assert [each["of"] for each in found["indexes"]] == ["items", "texts"]
    asked = [(each["alike"], each["share"]) for each in found["searches"]]
    assert asked == [(kind, share) for kind in ("an item", "a query") for share in SHARES]
    for each in found["searches"]:
        assert each["exact"] > 0 < each["indexed"]
        assert 0.7 < each["recall"] <= 1
        # Few that are allowed are all compared.
        assert each["share"] > 0.01 or each["recall"] == 1


def test_the_command_shows_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "items": 1_000,
        "indexes": [
            {"of": "items", "lists": 9, "probes": 2, "recall": 0.995, "queries": 1, "seconds": 3.2}
        ],
        "searches": [
            {"alike": "an item", "share": 0.5, "exact": 1234.0, "indexed": 99.6, "recall": 0.99}
        ],
    }
    monkeypatch.setattr(alike, "load_run", lambda _run, _data: type("Run", (), {"model": None}))
    monkeypatch.setattr(alike, "search_for_what_is_alike", lambda *_: figures)
    shown = CliRunner().invoke(command_line.app, ["alike", "run"])
    assert shown.stdout == table(figures) + "\n"
    assert "| an item | 0.5 | 1,234 | 100 | 0.990 |" in shown.stdout
    assert "| items | 2 of 9 | 0.9950 | 3 |" in shown.stdout
