from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from builder.data import Columns, DataConfig
from builder.errors import CheckpointError, ConfigError, DataError
from builder.model.checkpoint import load_checkpoint
from builder.reports import html_parts, trained_run
from builder.reports.cold_items import TextNeighbours
from builder.reports.commands import baselines, compare, evaluate
from builder.training.config import TrainingConfig
from builder.training.run import train
from tests.unit.builder.model.tiny import ITEMS, USERS, sequences

app = typer.Typer()
app.command()(evaluate)
app.command()(compare)
app.command()(baselines)


def call(*arguments: str | Path, command: str = "evaluate") -> str:
    result = CliRunner().invoke(app, [command, *(str(argument) for argument in arguments)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def run(log: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "run"
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=1
    )
    train(config, output)
    return output


def test_figures_are_those_that_training_ended_with(run: Path) -> None:
    found = json.loads(call(run, "--json"))
    trained = {row["name"]: row for row in json.loads((run / "metrics.json").read_text())["rows"]}
    assert found["checkpoint"] == str(run)
    assert "seen items masked" in found["protocol"]
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        "popularity", "ItemKNN", "EASE", "EASE with recency", "decayed popularity",
        "decayed popularity + EASE", "full model", "network alone", "text alone",
        "new items from rank 5", "new items from rank 10", "linear term alone",
    ]  # fmt: skip
    for name, row in rows.items():
        expected = trained.get(f"trained again: {name}")
        if expected is None:  # training looks at parts of the model alone
            continue
        assert row["users"] == expected["users"]
        assert row["metrics"].items() >= expected["metrics"].items()
        assert row.get("ece") == pytest.approx(expected["ece"])


def test_a_policy_is_judged_by_its_lists(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("diversity: 0.9\ntop_k: 3\n")
    found = json.loads(call(run, "--policy", file, "--by", "title", "--json"))
    plain = json.loads(call(run, "--no-baselines", "--json"))["rows"][0]
    assert plain["name"] == "full model"
    for metric, value in found["metrics"]["without"].items():
        if metric in plain["metrics"]:
            assert value == pytest.approx(plain["metrics"][metric])
    assert found["metrics"]["with"] != found["metrics"]["without"]
    assert sum(each["with"] for each in found["exposure"].values()) == pytest.approx(1)
    output = call(run, "--policy", file)
    assert "policy: diversity: 0.9, top_k: 3" in output
    assert "95 % interval" in output
    with pytest.raises(ConfigError, match="--html shows no lists"):
        call(run, "--policy", file, "--html", tmp_path / "page.html")
    with pytest.raises(DataError, match="gender"):
        call(run, "--by-user", "gender")


def test_for_people(run: Path) -> None:
    output = call(run, "--no-baselines")
    for text in (
        "NDCG@10",
        "HR@10",
        "MRR",
        "coverage",
        "ECE",
        "its calibration error",
        "by chance alone",
        "±",
        "text alone",
        "30 users",
    ):
        assert text in output
    assert "EASE" not in output
    assert "full ranking" in output


def test_what_each_figure_knew_of_others_is_told(run: Path) -> None:
    rows = {row["name"]: row for row in json.loads(call(run, "--json"))["rows"]}
    later = "training events of any time, later ones too"
    earlier = "training events before the target"
    expected = {
        "decayed popularity": earlier,
        "decayed popularity + EASE": f"{later}; counts: {earlier}",
    }
    assert {name: row["knew_of_others"] for name, row in rows.items()} == {
        name: expected.get(name, later) for name in rows
    }
    output = call(run)
    assert "What was known of other users" in output
    assert later in output


def test_a_replay_asks_for_each_event_of_the_window(
    run: Path, log: Path, backbone: Path, tmp_path: Path
) -> None:
    # Five users go on, so that the test window has many events of each.
    longer = moved(
        log, tmp_path / "longer",
        inter=lambda text: text
        + "".join(
            f"\nu{user}\ti{(user + step) % (ITEMS - 1)}\t{1_700_000_000 + 60 * step + user}"
            for user in range(5)
            for step in range(7, 19)
        ),
    )  # fmt: skip
    config = TrainingConfig(
        DataConfig(longer), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0,
        split="temporal",
    )  # fmt: skip
    train(config, tmp_path / "temporal")
    plain = json.loads(call(tmp_path / "temporal", "--no-baselines", "--json"))
    file = tmp_path / "replay.html"
    found = json.loads(call(tmp_path / "temporal", "--replay", "--json", "--html", file))
    assert plain["split"] == "temporal"
    assert plain["rows"][0]["users"] == 5
    assert found["split"] == "temporal replay"
    assert "in the order of time" in found["protocol"]
    knew = {row["name"]: row["knew_of_others"] for row in found["rows"]}
    assert knew["decayed popularity"] == "every event before the target"
    assert knew["network alone"] == "events before the test window"
    events = found["rows"][0]["users"]
    assert events > 20
    assert f"{events} events, temporal replay" in file.read_text()
    with pytest.raises(ConfigError, match=r"--replay: .*run has --split leave-one-out"):
        call(run, "--replay")


def moved(log: Path, directory: Path, **changes: Any) -> Path:
    shutil.copytree(log, directory)
    for name, change in changes.items():
        file = directory / f"tiny.{name}"
        file.write_text(change(file.read_text()))
    return directory


def test_data_that_has_moved(run: Path, log: Path, tmp_path: Path) -> None:
    elsewhere = moved(log, tmp_path / "data")
    assert json.loads(call(run, "--data", elsewhere, "--json")) == json.loads(call(run, "--json"))
    with pytest.raises(DataError, match="none"):
        call(run, "--data", tmp_path / "none")


def test_other_items_are_named(run: Path, log: Path, tmp_path: Path) -> None:
    renamed = moved(
        log, tmp_path / "renamed",
        item=lambda text: text.replace("i11\t", "new\t") + "\nextra\ttoy",
    )  # fmt: skip
    with pytest.raises(CheckpointError) as caught:
        call(run, "--data", renamed)
    message = str(caught.value)
    assert "1 that it was trained on are missing (i11)" in message
    assert "2 are not in it (new, extra)" in message
    assert str(renamed) in message
    assert str(run) in message

    def swapped(text: str) -> str:
        header, first, second, *rest = text.splitlines()
        return "\n".join([header, second, first, *rest])

    with pytest.raises(CheckpointError, match="they are in another order"):
        call(run, "--data", moved(log, tmp_path / "swapped", item=swapped))


def test_actions_are_numbered_as_in_training(tmp_path: Path, log: Path, backbone: Path) -> None:
    def with_actions(*names: str) -> Any:
        def change(text: str) -> str:
            header, *events = text.splitlines()
            lines = [f"{line}\t{names[index % 2]}" for index, line in enumerate(events)]
            return "\n".join([f"{header}\taction:token", *lines])

        return change

    first = moved(log, tmp_path / "first", inter=with_actions("view", "buy"))
    # "add" comes before the others in the alphabet, and would move their numbers.
    second = moved(log, tmp_path / "second", inter=with_actions("view", "buy"))
    file = second / "tiny.inter"
    file.write_text(file.read_text() + "\nnew\ti0\t1800000000\tadd")  # too short to be tested on
    output = tmp_path / "run"
    data = DataConfig(first, columns=Columns(action="action"))
    train(
        TrainingConfig(data, str(backbone), width=8, epochs=2, tune_epochs=0, refit="none"), output
    )
    assert load_checkpoint(output).actions == ["buy", "view"]
    one, other = (
        json.loads(call(output, "--data", data, "--json", "--no-baselines"))["rows"]
        for data in (first, second)
    )
    for row in (*one, *other):
        for name in ("novelty@10", "popularity@10"):  # the log's counts, and the log has grown
            for figures in ("metrics", "intervals", "main_less_this"):
                row.get(figures, {}).pop(name, None)
    assert one == other


def test_damaged_training_options(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    for training in (None, {**config["training"], "width": 0}):
        (copy / "config.json").write_text(json.dumps({**config, "training": training}))
        with pytest.raises(CheckpointError, match="training options are damaged"):
            call(copy)


def test_figures_have_intervals_breakdowns_and_tests(run: Path) -> None:
    rows = {row["name"]: row for row in json.loads(call(run, "--json"))["rows"]}
    for row in rows.values():
        for name, (low, high) in row["intervals"].items():
            assert low <= row["metrics"][name] + 1e-12
            assert high >= row["metrics"][name] - 1e-12
        for kind in ("by_history_length", "by_item_popularity"):
            assert sum(each["users"] for each in row[kind].values()) == USERS
    full, least = rows["full model"], rows["popularity"]
    assert sum(full["reliability"]["weight"]) == pytest.approx(1)
    assert "main_less_this" not in full
    found = least["main_less_this"]["ndcg@10"]
    assert found["difference"] == pytest.approx(
        full["metrics"]["ndcg@10"] - least["metrics"]["ndcg@10"]
    )


class Page(HTMLParser):
    """What a page refers to, and how often each element stands in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    call(run, "--html", file)
    page = Page(file.read_text())
    assert page.elements["svg"] == 5
    assert page.elements["table"] == 4
    assert not [reference for reference in page.references if reference]
    again = tmp_path / "again.html"
    call(run, "--html", again)
    assert again.read_text() == file.read_text()


@pytest.mark.parametrize("arguments", [("evaluate", 1), ("compare", 2)])
def test_a_page_that_cannot_be_is_told_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, int]
) -> None:
    command, runs = arguments
    page = tmp_path / "page.html"
    call(*[run] * runs, "--html", page, command=command)
    written = page.read_text()
    monkeypatch.setattr(trained_run, "load_checkpoint", lambda _: pytest.fail("it began to work"))
    with pytest.raises(ConfigError, match=r"page\.html: cannot be written"):
        call(*[run] * runs, "--html", tmp_path / "none" / "page.html", command=command)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'tritonrec\[evaluation\]'"):
        call(*[run] * runs, "--html", page, command=command)
    assert page.read_text() == written


def test_a_page_that_fails_in_the_end_loses_no_figures(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: Path, _page: str) -> None:
        raise ConfigError("the disk is full")

    monkeypatch.setattr(html_parts, "write_page", full)
    given = ["--no-baselines", "--json", "--html", str(tmp_path / "page.html")]
    for command, runs in (("evaluate", 1), ("compare", 2)):
        asked = given if command == "evaluate" else given[1:]
        result = CliRunner().invoke(app, [command, *[str(run)] * runs, *asked])
        assert isinstance(result.exception, ConfigError)
        assert "ndcg@10" in result.stdout


@pytest.fixture(scope="module")
def other_run(log: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "other"
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=2, tune_epochs=0, seed=1
    )
    train(config, output)
    return output


def test_two_runs_compared(run: Path, other_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    found = json.loads(call(run, other_run, "--json", "--html", file, command="compare"))
    one, other = (
        next(
            row["metrics"]
            for row in json.loads(call(each, "--json", "--no-baselines"))["rows"]
            if row["name"] == "full model"
        )
        for each in (run, other_run)
    )
    assert found["users"] == USERS
    for name in ("ndcg@10", "hr@10", "mrr@10"):
        each = found["metrics"][name]
        assert (each["first"], each["second"]) == (one[name], other[name])
        assert each["difference"] == pytest.approx(other[name] - one[name])
        assert each["interval"][0] <= each["difference"] <= each["interval"][1]
        assert 0 < each["p"] <= 1
    assert Page(file.read_text()).elements["svg"] == 1
    for text in ("second less first", "95 % interval", "ndcg@10", "coverage@10"):
        assert text in call(run, other_run, command="compare")


def test_one_user_to_test_on_is_no_fault(log: Path, backbone: Path, tmp_path: Path) -> None:
    def of_one(text: str) -> str:
        header, *events = text.splitlines()
        kept: Counter[str] = Counter()
        lines = []
        for event in events:
            user = event.split("\t")[0]
            kept[user] += 1
            if user == "u0" or kept[user] < 3:  # too short to be tested on
                lines.append(event)
        return "\n".join([header, *lines])

    data = moved(log, tmp_path / "data", inter=of_one)
    (data / "tiny.user").write_text("user_id:token\tgender:token\nu0\tF\n")
    for seed in (0, 1):
        config = TrainingConfig(
            DataConfig(data), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0,
            seed=seed,
        )  # fmt: skip
        train(config, tmp_path / f"run{seed}")
    first, second = tmp_path / "run0", tmp_path / "run1"
    page, policy = tmp_path / "page.html", tmp_path / "policy.yaml"
    policy.write_text("top_k: 1\n")

    rows = json.loads(call(first, "--json", "--html", page))["rows"]
    assert {row["users"] for row in rows} == {1}
    against = ("--against", first, "--no-sasrec")
    rows += json.loads(call(*against, "--json", command="baselines"))["rows"]
    tested = [each for row in rows for each in row.get("main_less_this", {}).values()]
    asked = ("--policy", policy, "--by-user", "gender")
    found = json.loads(call(first, *asked, "--json"))
    assert found["quality"]["F"]["users"] == found["users"] == 1
    tested += found["difference"].values()
    compared = json.loads(call(first, second, "--json", "--html", page, command="compare"))
    assert compared["users"] == 1
    tested += compared["metrics"].values()
    assert any(each["difference"] for each in tested)
    assert {each["p"] for each in tested} == {1}
    for each in tested:
        assert each["interval"] == [each["difference"]] * 2
    call(first)
    call(first, *asked)
    call(first, second, command="compare")
    call(*against, command="baselines")


def test_a_run_is_no_better_than_itself(run: Path) -> None:
    found = json.loads(call(run, run, "--json", command="compare"))
    for each in found["metrics"].values():
        assert (each["difference"], each["p"]) == (0, 1)


def test_runs_on_other_users_or_items_are_not_compared(
    run: Path, log: Path, backbone: Path, tmp_path: Path
) -> None:
    def trained(name: str, data: Path, **options: Any) -> Path:
        config = TrainingConfig(
            DataConfig(data), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0
        )
        train(replace(config, **options), tmp_path / name)
        return tmp_path / name

    fewer = moved(log, tmp_path / "fewer", inter=lambda text: text.rsplit("\n", 7)[0])
    with pytest.raises(CheckpointError, match=r"not tested on the same users .*1 users are in one"):
        call(run, trained("fewer-run", fewer), command="compare")
    more = moved(log, tmp_path / "more", item=lambda text: text + "\nextra\ttoy")
    with pytest.raises(CheckpointError, match="rank different items"):
        call(run, trained("more-run", more), command="compare")
    temporal = trained("cold-run", log, hold_out_items=0.2)
    with pytest.raises(CheckpointError, match="same events"):
        call(run, temporal, command="compare")


def test_items_that_were_held_out(log: Path, backbone: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        DataConfig(log), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=1,
        hold_out_items=0.2,
    )  # fmt: skip
    train(config, tmp_path / "run")
    file = tmp_path / "report.html"
    figures = json.loads(call(tmp_path / "run", "--json", "--html", file))
    cold = figures["cold"]
    assert cold["items"] == 2
    names = ["frozen neighbours", "full model", "network alone", "text alone"]
    earlier = ["new items from rank 5", "new items from rank 10"]
    for place, asked in (("among_all", earlier), ("among_cold", [])):
        assert [row["name"] for row in cold[place]] == [*names, *asked]
        assert all(
            row["by_item_popularity"]["no events"]["users"] == row["users"] for row in cold[place]
        )
    # Of two items that compete, the target is the first or the second.
    assert all(row["metrics"]["mrr"] >= 0.5 for row in cold["among_cold"])
    assert all(row["metrics"]["hr@5"] == 1 for row in cold["among_cold"])
    assert int((~load_checkpoint(tmp_path / "run").warm).sum()) == 3  # and the one without events
    assert Page(file.read_text()).elements["svg"] == 7
    assert "never seen in training, against each other" in call(tmp_path / "run")


def test_late_items_are_held_out_as_they_come(log: Path, backbone: Path, tmp_path: Path) -> None:
    data = moved(
        log, tmp_path / "data",
        inter=lambda text: text
        + "".join(f"\nu{user}\ti{ITEMS - 1}\t{1_800_000_000 + user}" for user in range(5)),
    )  # fmt: skip
    config = TrainingConfig(
        DataConfig(data), str(backbone), width=8, max_history=4, epochs=1, tune_epochs=0,
        hold_out_items=0.02, hold_out="late",
    )  # fmt: skip
    train(config, tmp_path / "run")
    cold = json.loads(call(tmp_path / "run", "--json", "--no-baselines"))["cold"]
    assert cold["items"] == 1
    assert {row["users"] for row in cold["among_all"]} == {5}
    model = load_checkpoint(tmp_path / "run")
    assert not model.warm[ITEMS - 1]
    # What cold items inherit is counted in what was learnt from.
    assert (model.popularity.events > 0).tolist() == model.warm.tolist()
    assert (model.popularity.expected >= model.popularity.events).all()


def test_text_neighbours_are_near_the_mean_of_the_history() -> None:
    vectors = np.array([[1, 0], [0, 1], [3, 3], [0, -5]], np.float32)
    scores = TextNeighbours(vectors).scores(sequences([0, 1], [1], []))
    assert np.argmax(scores[0]) == 2
    assert np.argsort(-scores[1]).tolist() == [1, 2, 0, 3]
    assert not scores[2].any()
