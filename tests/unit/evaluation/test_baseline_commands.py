"""What a model has to beat: each learns, and all are tested under one protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from builder.data import DataConfig, Holdout, Sequences, Split, leave_one_out, read
from builder.errors import ConfigError
from builder.evaluation.als import ImplicitALS, implicit_als
from builder.evaluation.baselines import recency_ease
from builder.evaluation.commands import baselines
from builder.evaluation.ranking import rank_holdout
from builder.training.config import TrainingConfig
from builder.training.run import train
from builder.training.sasrec import train_sasrec
from tests.unit.model.tiny import ITEMS, USERS, sequences, split_of

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


def holdout(target: int, *history: int) -> Holdout:
    return Holdout(sequences(list(history)), np.array([target], np.int32))


def test_als_learns_what_is_met_together() -> None:
    train = sequences(*[[0, 1, 2]] * 8, *[[3, 4, 5]] * 9)
    als = implicit_als(split_of(train, holdout(2, 0, 1)), 7)
    assert rank_holdout(als, holdout(2, 0, 1), 7).rank.tolist() == [1]
    assert rank_holdout(als, holdout(5, 4, 3), 7).rank.tolist() == [1]


def test_als_folds_in_users_that_it_does_not_know() -> None:
    train = sequences(*[[0, 1, 2]] * 8, *[[3, 4, 5]] * 9)
    als = ImplicitALS(train, 7, factors=4, regularisation=1.0, weight=1.0)
    both = als.scores(sequences([0, 1], [3], []))
    assert both.shape == (3, 7)
    assert np.argmax(both[1][[2, 5]]) == 1
    np.testing.assert_allclose(als.scores(sequences([3]))[0], both[1], atol=1e-5)
    assert not both[2].any()


def test_recency_is_used_where_it_helps() -> None:
    # What was met last decides: 0 leads to 1, 2 leads to 3, whatever came before.
    train = sequences(*[[0, 1]] * 9, *[[2, 3]] * 8)
    scorer = recency_ease(split_of(train, holdout(3, 0, 2)), 4)
    assert rank_holdout(scorer, holdout(3, 0, 2), 4).rank.tolist() == [1]
    assert rank_holdout(scorer, holdout(1, 2, 0), 4).rank.tolist() == [1]


def test_sasrec_learns_the_order_without_any_text(split: Split, log: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        DataConfig(log), "", width=16, dropout=0.1, epochs=40, learning_rate=0.01
    )
    scorer = train_sasrec(split, ITEMS, 0, config, tmp_path)
    assert rank_holdout(scorer, split.test, ITEMS).hit_rate(5) > 0.9
    assert rank_holdout(scorer, holdout(4, 0, 1, 2, 3), ITEMS).rank[0] <= 2


def figures(output: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(output)["rows"]}


def test_every_baseline_on_the_same_users(log: Path) -> None:
    rows = figures(call("--data", log, "--json"))
    assert list(rows) == ["popularity", "ItemKNN", "EASE", "EASE with recency", "ALS", "SASRec"]
    assert {row["users"] for row in rows.values()} == {USERS}
    assert all("diversity@10" not in row["metrics"] for row in rows.values())
    output = call("--data", log, "--no-sasrec")
    for text in ("ALS", "NDCG@10", "coverage", "history length"):
        assert text in output
    assert "SASRec" not in output


def test_against_a_run(log: Path, backbone: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0
    )
    train(config, tmp_path / "run")
    rows = figures(call("--against", tmp_path / "run", "--no-sasrec", "--json"))
    assert list(rows)[-1] == "whole model"
    for name, row in rows.items():
        assert ("main_less_this" in row) == (name != "whole model")
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
    assert figures(call(*arguments, f"Oracle={file}"))["Oracle"]["metrics"]["hr@5"] == 1

    np.savez(file, user_ids=users[1:], item_ids=items, scores=scores[1:])
    with pytest.raises(ConfigError, match=f"1 test users are not in it .*{users[0]}"):
        call(*arguments, f"Oracle={file}")
    np.savez(file, user_ids=users, item_ids=items, scores=scores[:, 1:])
    with pytest.raises(ConfigError, match="user_ids and item_ids ask for"):
        call(*arguments, f"Oracle={file}")
    file.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="must be an"):
        call(*arguments, f"Oracle={file}")


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="--data DIR, or --against RUN"):
        call()
    with pytest.raises(ConfigError, match="write NAME=FILE"):
        call("--data", "d", "--scores", "scores.npz")
