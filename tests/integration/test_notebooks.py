"""The notebooks do what they say, one after the other, with a real training and a real server."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def run(name: str) -> dict[str, Any]:
    """Run the cells of a notebook here; what they have defined."""
    return runpy.run_path(str(NOTEBOOKS / f"{name}.py"))


@pytest.mark.sweep
def test_the_notebooks(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "minilm").symlink_to(minilm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = run("train_and_serve")
    quality = {row["name"]: row["metrics"]["ndcg@10"] for row in found["rows"]}
    assert max(quality, key=lambda name: quality[name]).endswith("full model")
    assert {item.id for item in found["ranking"].sorted()} == {"p6", "p45", "new"}
    assert (tmp_path / "quality.png").exists()

    found = run("policy")
    products: pd.DataFrame = found["products"]
    filtered = products.loc[list(found["filtered"].ids)]
    assert len(filtered) == 6
    assert (filtered["price"] < 100).all()
    assert "Alba" not in set(filtered["maker"])
    assert found["boosted"].trace.items
    limited = products.loc[list(found["limited"].ids)]
    assert limited["category"].value_counts().max() <= 2
    assert limited["price"].max() > 150
    assert found["categories"] == sorted(found["categories"])
    assert found["categories"][-1] > found["categories"][0]
    assert all(reason.events for reason in found["found"].reasons)
    assert (tmp_path / "diversity.png").exists()
