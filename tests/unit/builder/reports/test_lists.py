"""What a policy makes of lists, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame

from builder.data import DataConfig, Holdout
from builder.errors import ConfigError
from builder.evaluation.policy_lists import PolicyLists, accuracy
from builder.export.attributes import all_attributes
from builder.reports.figures import list_metrics_of
from builder.reports.lists import list_figures, list_tables, read_policy
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from tests.unit.builder.model.tiny import (
    GENRES,
    ITEM_PROFILE,
    ITEMS,
    recommender,
    sequences,
    split_of,
)

USERS = 8
TRAIN = sequences([0, 1, 2, 3], [1, 2, 4], [1, 5])
OPTIONS = {"diversity": 0.9, "top_k": 3}


@pytest.fixture(scope="module")
def run(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    histories = sequences(*([user, (user + 3) % ITEMS] for user in range(USERS)))
    test = Holdout(histories, np.arange(1, USERS + 1, dtype=np.int32))
    model = recommender(backbone, item_profile=ITEM_PROFILE)
    config = TrainingConfig(DataConfig(tmp_path_factory.mktemp("data")), str(backbone))
    return TrainedRun(Path("run"), model, config, split_of(TRAIN, test))


@pytest.fixture(scope="module")
def figures(run: TrainedRun) -> dict[str, Any]:
    users = {f"u{number}": "FM"[number % 2] for number in range(USERS - 1)}
    return list_figures(run, OPTIONS, by="genre", users=users)


def test_what_the_policy_changes_has_an_interval(run: TrainedRun, figures: dict[str, Any]) -> None:
    assert figures["policy"] == OPTIONS
    assert figures["users"] == USERS
    plain, other = figures["metrics"]["without"], figures["metrics"]["with"]
    assert set(plain) == set(other) == {
        "ndcg@10", "hr@10", "novelty@10", "popularity@10", "diversity@10", "coverage@10", "gini@10",
    }  # fmt: skip
    assert figures["difference"].keys() == set(plain) - {"coverage@10", "gini@10"}
    for name, each in figures["difference"].items():
        assert each["difference"] == pytest.approx(other[name] - plain[name])
        assert each["interval"][0] <= each["difference"] <= each["interval"][1]
    assert other["hr@10"] < plain["hr@10"]  # a list of three
    assert json.loads(json.dumps(figures))["metrics"] == figures["metrics"]
    alone = list_figures(run)
    assert alone["metrics"] == {"without": plain}
    assert "difference" not in alone


def test_exposure_is_the_share_of_the_places(figures: dict[str, Any]) -> None:
    exposure = figures["exposure"]
    assert set(exposure) == {"drama", "comedy", "(no value)"}
    for name in ("items", "events", "without", "with"):
        assert sum(each[name] for each in exposure.values()) == pytest.approx(1)
    assert exposure["drama"]["items"] == pytest.approx(GENRES.count("drama") / ITEMS)
    events = [GENRES[item] for item in TRAIN.items]
    assert exposure["comedy"]["events"] == pytest.approx(events.count("comedy") / len(events))
    unseen = [
        item
        for user in range(USERS)
        for item in range(ITEMS)
        if item not in (user, (user + 3) % ITEMS)
    ]
    assert len(unseen) == 10 * USERS  # lists of ten hold all of it
    places = [GENRES[item] for item in unseen]
    assert exposure["drama"]["without"] == pytest.approx(places.count("drama") / len(places))
    assert exposure["drama"]["with"] != exposure["drama"]["without"]


def test_quality_by_group_of_users_is_fairlearn_s(figures: dict[str, Any], run: TrainedRun) -> None:
    alone = list_figures(run, OPTIONS)
    groups = [*("FM"[number % 2] for number in range(USERS - 1)), "(no value)"]
    assert {name: each["users"] for name, each in figures["quality"].items()} == {
        name: groups.count(name) for name in groups
    }
    for name in ("without", "with"):
        for metric in ("ndcg@10", "novelty@10"):
            per_user = _per_user(run, name)[metric]
            frame = MetricFrame(
                metrics=lambda _, values: float(np.mean(values)),
                y_true=per_user,
                y_pred=per_user,
                sensitive_features=groups,
            )
            for group, value in frame.by_group.items():
                assert figures["quality"][group][name][metric] == pytest.approx(value)
            assert figures["gaps"][name][metric] == pytest.approx(frame.difference())
            assert alone["metrics"][name][metric] == pytest.approx(frame.overall)


def _per_user(run: TrainedRun, name: str) -> dict[str, Any]:
    maker = PolicyLists(run.model, TRAIN, all_attributes(run.model.catalogue))
    top = maker.lists(run.split.test, OPTIONS if name == "with" else {})
    return accuracy(top, run.split.test.targets) | list_metrics_of(run).per_user(top)


def test_a_column_that_the_item_file_lacks_is_named_with_those_that_it_has(
    run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(PolicyLists, "lists")  # it is told before they are made, which takes long
    with pytest.raises(ConfigError, match=r"--by brand: .* columns are title, genre, year"):
        list_figures(run, by="brand")


def test_tables_for_people(figures: dict[str, Any], run: TrainedRun) -> None:
    metrics, exposure, quality = list_tables(figures)
    assert metrics.row_count == 7
    assert metrics.caption == "policy: diversity: 0.9, top_k: 3"
    assert getattr(next(iter(exposure.columns[0].cells)), "plain", None) == min(
        filter(None, GENRES)
    )
    assert [getattr(cell, "plain", cell) for cell in quality.columns[0].cells] == [
        "F", "M", "(no value)", "gap"
    ]  # fmt: skip
    (alone,) = list_tables(list_figures(run))
    assert len(alone.columns) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("diversity: 2", "parameter diversity is 2; it must be at most 1"),
        ("diversty: 0.5", "there is no option 'diversty'; did you mean diversity?"),
        ("traceparent: x", "there is no option 'traceparent'"),
        ("match: 3", "parameter match is 3, a int; it must be a string"),
        ("[1]", "must hold options of a request, one a line, as in `diversity: 0.5`"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_told_as_a_request_is(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_policy(file)
    assert told in str(refusal.value)
    assert str(refusal.value).startswith(str(file))


def test_a_policy_is_options_of_a_request(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("diversity: 0.5\nmatch: genres\n")
    assert read_policy(file) == {"diversity": 0.5, "match": "genres"}
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")
