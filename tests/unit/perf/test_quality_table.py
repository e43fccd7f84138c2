"""Seeds become one row, a user's figure being the mean over them."""

from __future__ import annotations

from typing import Any

import pytest

from perf.quality_table import markdown, summary


def row(name: str, *gains: float, ece: float | None = None) -> dict[str, Any]:
    hits = [float(gain > 0) for gain in gains]
    return {
        "name": name, "users": len(gains), "knew_of_others": "all",
        "per_user": {"ndcg@10": list(gains), "hr@10": hits}, "ece": ece,
        "ece_by_chance": ece and ece / 2,
    }  # fmt: skip


TESTED = {
    "films": [
        [row("full model", 1, 0.5, 0, ece=0.01), row("EASE", 0, 0.5, 0),
         row("popularity", 0.25, 0.5, 0), row("ALS", 1, 1, 1)],
        [row("full model", 1, 0, 0.5, ece=0.02), row("EASE", 0, 0.5, 0),
         row("popularity", 0.25, 0.5, 0), row("ALS", 1, 1, 1)],
    ]
}  # fmt: skip


def test_means_over_seeds_and_users() -> None:
    full, ease, popularity, als = summary(TESTED)
    assert full["ndcg@10"]["mean"] == pytest.approx((1 + 0.25 + 0.25) / 3)
    assert full["hr@10"]["mean"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert full["seeds"] == pytest.approx([0.5, 0.5])
    low, high = full["ndcg@10"]["interval"]
    assert 0.25 <= low < 0.5 < high <= 1
    assert "model_less_this" not in full
    assert full["calibration_error"] == pytest.approx(0.015)
    assert full["calibration_error_by_chance"] == pytest.approx(0.0075)
    assert "calibration_error" not in ease
    assert ease["model_less_this"]["difference"] == pytest.approx((1 - 0.25 + 0.25) / 3)
    # ALS is better than they are, and no closed form.
    assert [each["best_closed_form"] for each in (ease, popularity, als)] == [False, True, False]


def test_as_markdown() -> None:
    report = {
        "rows": summary(TESTED), "seeds": 2, "absent": ["tweets"], "failed": {"few": "no room"},
        "training": {"films": [{"wall": 60, "cpu": 50, "memory": 700},
                               {"wall": 120, "cpu": 70, "memory": 900}]},
        "machine": {"processor": "x", "cores": 1, "memory": 2.0},
    }  # fmt: skip
    text = markdown(report)
    first, second = (line.split(" | ") for line in text.splitlines()[2:4])
    assert first[:3] == ["| films (3)", "full model", "0.5000"]
    assert first[-1] == "0.0150 / 0.0075 |"
    assert second[-1].strip() == "|"
    assert "|  | **popularity** | 0.2500 |" in text
    assert "| films | 1.5 | 60 | 800 |" in text
    assert "Left out, since absent: tweets." in text
    assert "few failed: no room" in text
