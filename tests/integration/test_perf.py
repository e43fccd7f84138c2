"""The benchmark end to end, on a real server: correctness and the shape of what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from builder.model.checkpoint import FORMATS
from builder.serving import TritonServer
from perf.__main__ import main
from perf.analyzer import Analyzer, Load, find_analyzer, is_batched, write_data
from perf.cross_check import infer_request
from perf.errors import PerfError
from perf.floor import EMPTY, EMPTY_BATCHED, write_floor
from perf.goals import ENGINE, FLOOR, OURS
from perf.load import closed_loop, triton_infer
from perf.report import BEGIN, END
from tests.integration.tiny_repository import CATALOGUE, write_tiny_repository

ENVIRONMENTS = Path(__file__).parents[2] / "perf/.environments"
ITEMS = 400  # several texts for each item that is served: enough words to make texts of


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    try:
        return find_analyzer(ENVIRONMENTS)
    except PerfError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small repository, and users and texts to go with it."""
    root = tmp_path_factory.mktemp("perf")
    write_tiny_repository(root / "repository", batch=128)
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    ids = [f"i{number % CATALOGUE}" for number in range(ITEMS)]
    texts = [f"toy{number} story{number}" for number in range(ITEMS)]
    config = {"format": max(FORMATS), "actions": []}
    (checkpoint / "config.json").write_text(json.dumps(config))
    pd.DataFrame({"item_id": ids, "text": texts}).to_parquet(checkpoint / "catalogue.parquet")
    users = [list(range(start, start + 20)) for start in range(5)]
    pd.DataFrame(
        {
            "user_id": ["a", "b", "c", "d", "e"],
            "items": users,
            "times": None,
            "actions": None,
            "target": [CATALOGUE - 1] * len(users),
        }
    ).to_parquet(checkpoint / "validation.parquet")
    return [
        *("--repository", str(root / "repository"), "--checkpoint", str(checkpoint)),
        *("--environments", str(ENVIRONMENTS)),
    ]


@pytest.mark.usefixtures("analyzer")
def test_a_run_checks_answers_and_writes_report_table_and_plots(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = "encode-1-client,recommend-1-client,recommend-saturated,start"
    options = ["--quick", "--seconds", "0.3", "--peers", "engine", "--cases", cases]
    output = ["--output", str(tmp_path), "--name", "smoke"]
    assert main(["run", *served, *options, *output]) == 0
    report = json.loads((tmp_path / "smoke.json").read_text())
    assert set(report["cases"]) == set(cases.split(","))
    assert set(report["cases"]["encode-1-client"]) == {OURS, ENGINE}
    assert set(report["cases"]["recommend-1-client"]) == {OURS, FLOOR}
    for contenders in report["cases"].values():
        for summary in contenders.values():
            assert summary["median"]["rate"] > 0
            assert 0 < summary["median"]["p50"] <= summary["median"]["p99"]
    assert report["agreement"]["cosine"][ENGINE] > 0.9999
    assert report["agreement"]["recommendations"] == 5
    assert {step["model"] for step in report["stages"]["recommend"]} >= {"recommend"}
    assert len(report["goals"]) == 3
    assert 0 <= report["quality"]["recommend"][OURS] <= 1
    assert all(ratio > 0 for ratio in report["cross_check"].values())
    assert (tmp_path / "smoke-stages.svg").stat().st_size > 1000

    document = tmp_path / "page.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    capsys.readouterr()
    assert main(["table", str(tmp_path / "smoke.json"), "--into", str(document)]) == 0
    assert f"| recommend-1-client | {FLOOR} |" in document.read_text()


def test_both_generators_reach_the_empty_models(analyzer: Analyzer, tmp_path: Path) -> None:
    entry = {"HISTORY": ["a", "b", "c"]}
    with TritonServer(write_floor(tmp_path / "floor")) as server:
        for model in (EMPTY, EMPTY_BATCHED):
            connect = triton_infer(server.grpc_address, [infer_request(model, entry)])
            file = write_data(
                tmp_path / "data.json", [entry], batched=is_batched(server.grpc_address, model)
            )
            assert closed_loop(connect, 2, 0.2).requests > 0
            measured = analyzer.measure(server.grpc_address, model, file, Load(rate=50), 0.5)
            assert measured.rate > 0


@pytest.mark.usefixtures("analyzer")
def test_bad_options_are_refused_in_words(
    served: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *served, "--cases", "encode-129"]) == 1
    assert "--cases encode-129: there are encode-128" in capsys.readouterr().err
    assert main(["run", *served, "--peers", "two-step"]) == 1
    assert "needs infinity" in capsys.readouterr().err
    assert main(["run", *served, "--seconds", "-1"]) == 1
    assert "must be positive" in capsys.readouterr().err
