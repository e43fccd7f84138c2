"""What a model has to beat, all under one protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from builder.data import DataConfig, Sequences, Split, leave_one_out, read
from builder.errors import ConfigError
from builder.reports import baselines as module
from builder.reports.commands import baselines
from builder.training.config import TrainingConfig
from builder.training.run import train
from tests.unit.builder.model.tiny import ITEMS, USERS

app = typer.Typer()
app.command()(baselines)


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def split(log: Path) -> Split:
    """Users who walk round the items in their order, so that the next one can be known."""
    return leave_one_out(Sequences.from_interactions(read(DataConfig(log))[0]))


def figures(output: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(output)["rows"]}


def test_every_baseline_on_the_same_users(log: Path) -> None:
    rows = figures(call("--data", log, "--json"))
    assert list(rows) == [
        "popularity", "ItemKNN", "EASE", "EASE with recency", "decayed popularity",
        "decayed popularity + EASE", "ALS", "SASRec",
    ]  # fmt: skip
    assert {row["users"] for row in rows.values()} == {USERS}
    assert all("diversity@10" not in row["metrics"] for row in rows.values())
    output = call("--data", log, "--no-sasrec")
    for text in ("ALS", "NDCG@10", "coverage", "history length"):
        assert text in output
    assert "SASRec" not in output


def test_targets_that_users_had_before_are_told(log: Path, tmp_path: Path) -> None:
    # Each row twice: the last one of a user is that of the test, and the one before it is seen.
    lines = (log / "tiny.inter").read_text().splitlines()
    twice = [lines[0], *(line for row in lines[1:] for line in (row, row))]
    (tmp_path / "tiny.inter").write_text("\n".join(twice))
    (tmp_path / "tiny.item").write_bytes((log / "tiny.item").read_bytes())
    for data, seen in ((log, 0), (tmp_path, USERS)):
        found = json.loads(call("--data", data, "--no-sasrec", "--json"))
        assert found["seen_before"] == seen
        told = " ".join(call("--data", data, "--no-sasrec").split())
        assert (f"{seen} of the {USERS} test targets" in told) == (seen > 0)


def test_against_a_run(log: Path, backbone: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0
    )
    train(config, tmp_path / "run")
    rows = figures(call("--against", tmp_path / "run", "--no-sasrec", "--json"))
    assert list(rows)[-1] == "full model"
    for name, row in rows.items():
        assert ("main_less_this" in row) == (name != "full model")
        assert "diversity@10" in row["metrics"]


def test_scores_of_another_program(log: Path, split: Split, tmp_path: Path) -> None:
    test = split.test
    order = np.random.default_rng(0).permutation(len(test))
    scores = np.zeros((len(test), ITEMS - 1), np.float32)
    scores[np.arange(len(test)), test.targets[order]] = 1
    users = np.array(test.histories.user_ids)[order]
    items = np.array([f"i{item}" for item in range(ITEMS - 1)])
    file = tmp_path / "scores.npz"
    np.savez(file, user_ids=users, item_ids=items, scores=scores)
    arguments = ("--data", log, "--no-sasrec", "--json", "--scores")
    oracle = figures(call(*arguments, f"Oracle={file}"))["Oracle"]
    assert oracle["metrics"]["hr@5"] == 1
    assert oracle["knew_of_others"] == "whatever its program was given"
    with pytest.raises(ConfigError, match="leave out one of --scores and --replay"):
        call(*arguments, f"Oracle={file}", "--replay", "--split", "temporal")

    np.savez(file, user_ids=users[1:], item_ids=items, scores=scores[1:])
    with pytest.raises(ConfigError, match=f"1 test users are not in it .*{users[0]}"):
        call(*arguments, f"Oracle={file}")
    np.savez(file, user_ids=users, item_ids=items, scores=scores[:, 1:])
    with pytest.raises(ConfigError, match="user_ids and item_ids ask for"):
        call(*arguments, f"Oracle={file}")
    file.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="must be an"):
        call(*arguments, f"Oracle={file}")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("array", "single array"),
        ("cut off", "zip"),
        ("empty", "No data left"),
        ("a flipped byte", "Bad CRC-32"),
        ("text", "could not convert string to float"),
    ],
)
def test_a_file_of_scores_that_cannot_be_read_is_told_before_the_baselines(
    log: Path, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, told: str
) -> None:
    scores = np.zeros((len(split.test), ITEMS))
    file = tmp_path / "scores.npz"
    save_scores(file, split, np.full(scores.shape, "x") if damage == "text" else scores)
    content = bytearray(file.read_bytes())
    if damage == "array":
        file = tmp_path / "scores.npy"
        np.save(file, scores)
    elif damage == "cut off":
        file.write_bytes(content[:-300])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "a flipped byte":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert_refused_at_once(log, file, monkeypatch, f"{told}.*must be an .npz with user_ids")


def test_a_score_that_is_no_number_is_told_before_the_baselines(
    log: Path, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = np.zeros((len(split.test), ITEMS))
    scores[3, 5] = np.nan
    file = tmp_path / "scores.npz"
    save_scores(file, split, scores)
    user = split.test.histories.user_ids[3]
    told = f"the score of item i5 for user {user} is NaN; write a number"
    assert_refused_at_once(log, file, monkeypatch, told)
    # Nobody asks for the scores of other users.
    save_scores(file, split, np.vstack([scores, scores[3]]), "somebody")
    assert_refused_at_once(log, file, monkeypatch, told)
    scores[3, 5] = 0
    save_scores(file, split, np.vstack([scores, np.full(ITEMS, np.nan)]), "somebody")
    monkeypatch.undo()
    arguments = ("--data", log, "--no-sasrec", "--json", "--scores", f"Other={file}")
    assert "Other" in figures(call(*arguments))


def save_scores(file: Path, split: Split, scores: NDArray[Any], *others: str) -> None:
    users = [*split.test.histories.user_ids, *others]
    items = [f"i{item}" for item in range(ITEMS)]
    np.savez(file, user_ids=users, item_ids=items, scores=scores)


def assert_refused_at_once(
    log: Path, file: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setattr(module, "closed_forms", lambda *_, **__: pytest.fail("it began to work"))
    with pytest.raises(ConfigError, match=told):
        call("--data", log, "--no-sasrec", "--scores", f"Other={file}")


def test_a_replay_of_the_baselines(log: Path) -> None:
    arguments = ("--data", log, "--no-sasrec", "--json", "--replay")
    rows = figures(call(*arguments, "--split", "temporal"))
    assert rows["decayed popularity"]["knew_of_others"] == "every event before the target"
    assert rows["EASE"]["knew_of_others"] == "events before the test window"
    assert rows["decayed popularity + EASE"]["knew_of_others"] == (
        "events before the test window; counts: every event before the target"
    )
    with pytest.raises(ConfigError, match="give --split temporal"):
        call(*arguments)


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="--data DIR, or --against RUN"):
        call()
    with pytest.raises(ConfigError, match="write NAME=FILE"):
        call("--data", "d", "--scores", "scores.npz")
    with pytest.raises(ConfigError, match=r"A=b.npz': A has a.npz; give another name"):
        call("--data", "d", "--scores", "A=a.npz", "--scores", "A=b.npz")
