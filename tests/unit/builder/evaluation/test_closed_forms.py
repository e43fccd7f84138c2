"""Which closed forms there are follows from the log."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from builder.data import leave_one_out
from builder.evaluation.closed_forms import CLOSED_FORMS, closed_forms
from tests.unit.builder.model.tiny import sequences

LOG = sequences([0, 1, 2, 3], [1, 2, 3, 0], times=[[1, 2, 3, 4], [5, 6, 7, 8]])


def test_all_of_them() -> None:
    assert tuple(closed_forms(leave_one_out(LOG), 4)) == CLOSED_FORMS


def test_without_times_nothing_decays(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = closed_forms(leave_one_out(replace(LOG, times=None)), 4)
    assert list(found) == ["popularity", "ItemKNN", "EASE", "EASE with recency"]
    assert "--column time=NAME" in caplog.text


def test_a_large_catalogue_has_them_all_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.model.ease.DENSE_LIMIT", 3)
    assert tuple(closed_forms(leave_one_out(LOG), 4)) == CLOSED_FORMS
