"""The plots of the first page, from the reports that are kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from perf.__main__ import main
from perf.plots import draw
from perf.report import FORMAT, read_json

RESULTS = Path(__file__).parents[3] / "perf" / "results"


def words(file: Path) -> list[str]:
    """What the plot says: matplotlib keeps each text as a comment beside its outlines."""
    return re.findall(r"<!-- (.*) -->", file.read_text("utf-8"))


def test_speed_is_set_beside_the_peers(tmp_path: Path) -> None:
    report = read_json(RESULTS / "published.json")
    [file] = [each for each in draw(report, tmp_path, "now") if each.stem == "now-peers"]
    for name, summary in report["cases"]["encode-16-clients"].items():
        assert name in words(file)
        assert f"{summary['median']['rate']:,.0f}" in words(file)
    assert any(report["machine"]["processor"] in each for each in words(file))


def test_quality_is_set_beside_the_baselines(tmp_path: Path) -> None:
    report = read_json(RESULTS / "published-quality.json")
    [file] = draw(report, tmp_path, "now")
    assert file.name == "now-peer-quality.svg"
    for row in report["rows"]:
        assert row["name"] in words(file)
        assert f"{row['ndcg@10']['mean']:.3f}" in words(file)


def test_what_a_report_lacks_is_not_drawn(tmp_path: Path) -> None:
    other = {"set": "another", "name": "full model", "ndcg@10": {"mean": 0.5}}
    report: dict[str, Any] = {"format": FORMAT, "cases": {}, "rows": [other]}
    assert draw(report, tmp_path, "now") == []


@pytest.mark.parametrize("stem", ["published", "published-quality"])
def test_the_plots_that_are_kept_show_the_figures_that_are_kept(stem: str, tmp_path: Path) -> None:
    drawn = draw(read_json(RESULTS / f"{stem}.json"), tmp_path, stem)
    kept = [RESULTS / each.name for each in drawn if "peer" in each.name]
    assert kept
    for file in kept:
        assert words(file) == words(tmp_path / file.name)


def test_the_command_names_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "figures.json"
    copy.write_text((RESULTS / "published-quality.json").read_text("utf-8"), "utf-8")
    assert main(["plot", str(copy)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "figures-peer-quality.svg")]
