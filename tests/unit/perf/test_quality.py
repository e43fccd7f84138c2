"""The bench of data sets, on a very small one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perf import __main__ as command_line
from perf.errors import PerfError
from perf.quality import Bench, run_bench
from perf.quality_sets import QualitySet
from tests.unit.builder.model.tiny import ITEMS, USERS, write_log

TINY = QualitySet("tiny, in time", "tiny", 4.0, 3, temporal=True)
GONE = QualitySet("gone", "gone", 4.0, 3)
FEW = ("--epochs", "1", "--tune-epochs", "0", "--width", "8", "--max-history", "4")


@pytest.fixture
def bench(tmp_path: Path, backbone: Path) -> Bench:
    log = write_log(tmp_path / "tiny") / "tiny.inter"
    header, *rows = log.read_text().splitlines()
    rated = [f"{header}\trating:float", *(f"{row}\t5" for row in rows)]
    log.write_text("\n".join(rated))
    scores = tmp_path / "scores.npz"
    np.savez(
        scores,
        user_ids=np.array([f"u{user}" for user in range(USERS)]),
        item_ids=np.array([f"i{item}" for item in range(ITEMS)]),
        scores=np.random.default_rng(0).random((USERS, ITEMS), np.float32),
    )
    peers = {TINY.name: [f"Chance={scores}"]}
    return Bench(tmp_path, backbone, 2, tmp_path / "bench", peers, FEW)


@pytest.mark.sweep
def test_a_bench_from_sets_to_table(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_bench(bench, [TINY, GONE])
    assert report["absent"] == ["gone"]
    assert "gone: left out" in capsys.readouterr().err
    assert report["failed"] == {}
    by_set = {
        name: [row["name"] for row in report["rows"] if row["set"] == name]
        for name in ("tiny, in time", "tiny, in time, replay")
    }
    for names in by_set.values():
        assert {"full model", "network alone", "EASE", "decayed popularity + EASE", "SASRec"} <= {
            *names
        }
    # A replay asks about a user many times, which recorded scores cannot answer.
    assert [*("Chance" in names for names in by_set.values())] == [True, False]
    seeds = {row["name"]: len(row["seeds"]) for row in report["rows"]}
    assert (seeds["full model"], seeds["EASE"], seeds["Chance"]) == (2, 1, 1)
    knew = {row["knew_of_others"] for row in report["rows"] if row["name"] == "decayed popularity"}
    assert knew == {"events before the test window", "every event before the target"}
    cost = report["training"]["tiny, in time"][0]
    assert cost["cpu"] > 0
    assert cost["memory"] > 50
    assert json.loads((bench.output / "quality.json").read_text()) == json.loads(json.dumps(report))
    assert "| tiny, in time (30) | full model |" in (bench.output / "quality.md").read_text()

    # What is done is not run again: without its data it could not be.
    log = bench.sets / "tiny" / "tiny.inter"
    content = log.read_text()
    log.write_text("no log")
    again = run_bench(bench, [TINY, GONE])
    assert again["rows"] == report["rows"]
    assert again["training"] == report["training"]

    # A training that was stopped is made anew, and what goes wrong is told at the end.
    (bench.output / "tiny,-in-time" / "seed-0" / "train.json").unlink()
    broken = run_bench(bench, [TINY])
    assert "exit code 2" in broken["failed"]["tiny, in time"]
    assert "tiny.inter" in broken["failed"]["tiny, in time"]
    log.write_text(content)

    with pytest.raises(PerfError, match="give another --output"):
        run_bench(Bench(bench.sets, bench.backbone, 2, bench.output, {}), [TINY])


def test_no_set_at_all(bench: Bench) -> None:
    with pytest.raises(PerfError, match="name their directory with --sets"):
        run_bench(bench, [GONE])


def test_the_command_hands_on_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Bench, list[str]]] = []
    report: dict[str, object] = {
        "rows": [], "seeds": 2, "absent": ["few items"], "failed": {}, "training": {},
        "machine": {"processor": "x", "cores": 1, "memory": 2.0},
    }  # fmt: skip

    def benched(bench: Bench, sets: list[QualitySet]) -> dict[str, object]:
        asked.append((bench, [each.name for each in sets]))
        return report

    monkeypatch.setattr("perf.quality.run_bench", benched)
    monkeypatch.chdir(tmp_path)
    arguments = [
        *("quality", "--sets", "sets", "--seeds", "2", "--only", "few items,ml-100k"),
        *("--scores", "ml-100k:RecBole=a.npz", "--scores", "ml-100k:Other=b.npz"),
    ]
    assert command_line.main(arguments) == 0
    ((bench, names),) = asked
    assert (bench.sets, bench.seeds, bench.options) == (tmp_path / "sets", 2, ())
    assert names == ["ml-100k", "few items"]
    files = [f"RecBole={tmp_path / 'a.npz'}", f"Other={tmp_path / 'b.npz'}"]
    assert bench.scores == {"ml-100k": files}
    assert "Left out, since absent: few items." in capsys.readouterr().out
    report["failed"] = {"ml-100k": "no room"}
    assert command_line.main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == report
    assert "ml-100k: no room" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "films"], "--only films: there are ml-100k, ml-latest-small"),
        (["--scores", "films:Peer=x.npz"], "write SET:NAME=FILE with a set of ml-100k"),
        (["--scores", "ml-100k:x.npz"], "write SET:NAME=FILE"),
    ],
)
def test_wrong_options(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["quality", "--sets", str(tmp_path), *arguments]) == 1
    assert told in capsys.readouterr().err
