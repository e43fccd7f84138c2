"""Searches with filters."""

from __future__ import annotations

from pathlib import Path

from perf.filters import SHARES, search_with_filters, table
from tests.unit.builder.export.conftest import checkpoint, model, repositories

__all__ = ["checkpoint", "model", "repositories"]


def test_each_share_is_searched_with_an_index_and_without(
    repositories: dict[str, Path], tmp_path: Path
) -> None:
    found = search_with_filters(repositories["fused"], tmp_path / "repository", 30_000, 3)
    assert [each.share for each in found] == list(SHARES)
    assert all(each.exact > 0 < each.indexed for each in found)
    # Few that are allowed are all scored.
    assert [each.recall for each in found[-2:]] == [1, 1]
    assert all(0.5 < each.recall <= 1 for each in found)
    assert "| 0.0001 | " in table(found)
