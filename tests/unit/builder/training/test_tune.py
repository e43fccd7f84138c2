"""The search for better options, with trainings that are real and with ones that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from builder.data import DataConfig
from builder.errors import ConfigError, TrainingError
from builder.options import Given
from builder.training import tune_commands
from builder.training.commands import train, training_config
from builder.training.config import TrainingConfig
from builder.training.search_space import Choice, Range, search_space

optuna = pytest.importorskip("optuna")

from builder.training import tune as module  # noqa: E402 - needs optuna
from builder.training.learning import learn  # noqa: E402
from builder.training.preparation import Prepared, prepare  # noqa: E402

app = typer.Typer()
app.command()(train)
app.command()(tune_commands.tune)

CONFIG = TrainingConfig(DataConfig(Path("data")), "bert")
SPACE: dict[str, Choice | Range] = {"width": Choice((32, 64)), "dropout": Range(0.1, 0.5)}


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["tune", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_space_is_what_is_asked_for() -> None:
    found = search_space(CONFIG, ["width=8,16", "tune-texts=1:3", "dropout=0:0.5"])
    assert found == {
        "width": Choice((8, 16)), "tune_texts": Range(1, 3), "dropout": Range(0.0, 0.5),
    }  # fmt: skip
    assert isinstance(found["tune_texts"].ends[0], int)
    rate = search_space(CONFIG, ["learning_rate"])["learning_rate"]
    assert isinstance(rate, Range)
    assert rate.log


def test_what_has_no_effect_is_left_out() -> None:
    everything = set(search_space(CONFIG, []))
    assert {"width", "id_dropout", "tune_learning_rate"} <= everything
    frozen = search_space(replace(CONFIG, tune_epochs=0), [])
    assert everything - set(frozen) == {"freeze", "tune_learning_rate"}
    assert search_space(replace(CONFIG, freeze="all"), []) == frozen
    warm = search_space(replace(CONFIG, warm_start="run"), [])
    assert not {"width", "layers", "dropout", "freeze"} & set(warm)
    assert search_space(replace(CONFIG, heads=3, width=96), [])["width"] == Choice((96,))


def test_every_problem_of_a_space_is_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        search_space(
            CONFIG,
            ["colour", "seed=1,2", "mlm_epochs=0,1", "refit=none,all", "patience",
             "width=1:x", "dropout=0.5:0.1", "width=63,64", "learning_rate=0:1"],
        )  # fmt: skip
    lines = str(caught.value).splitlines()
    for option, problem in (
        ("colour", "cannot be tried; choose from width, layers"),
        ("seed", "cannot be tried"),
        ("mlm_epochs", "cannot be tried"),  # texts are encoded once for all trials
        ("refit", "cannot be tried"),
        ("patience", "write the values to try"),
        ("width=1:x", "neither LOW:HIGH nor A,B,C of int"),
        ("dropout=0.5:0.1", "LOW must be below HIGH"),
        ("width=63,64", "training options"),
        ("learning_rate=0:1", "LOW must be below HIGH and above 0"),
    ):
        assert any(line.startswith(f"--search {option}") and problem in line for line in lines)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., float]], None]:
    """Trainings whose figure is a function of their options and of whom to tell of a round."""

    def use(figure: Callable[..., float]) -> None:
        def made_up_learn(config: TrainingConfig, *_: Any, on_round: Any, **__: Any) -> Any:
            found = figure(config, on_round)
            best = SimpleNamespace(figure=found, ndcg=found, text_ndcg=found)
            return SimpleNamespace(best=lambda: best)

        monkeypatch.setattr(module, "prepare", lambda *_, **__: None)
        monkeypatch.setattr(module, "learn", made_up_learn)

    return use


def run(
    file: Path, *, trials: int, config: TrainingConfig = CONFIG
) -> tuple[module.StudyResult, list[Any]]:
    told: list[Any] = []
    found = module.tune(config, SPACE, file, trials=trials, on_best=told.append)
    return found, told


def test_better_options_are_found_and_told(tmp_path: Path, made_up: Any) -> None:
    made_up(lambda config, _: 1 - abs(config.dropout - 0.2) - (config.width == 32) / 2)
    found, told = run(tmp_path / "study.db", trials=25)
    assert found.best is not None
    first = next(trial for trial in found.trials if trial.number == 0)
    assert first.params == {"width": CONFIG.width, "dropout": CONFIG.dropout}
    assert found.best.params["width"] == 64
    assert abs(found.best.params["dropout"] - 0.2) < 0.1
    assert told[0] == first.params
    assert told[-1] == found.best.params
    values: list[Any] = [trial.value for trial in found.finished]
    assert values == sorted(values, reverse=True)
    assert sum(found.importances.values()) == pytest.approx(1)
    assert set(found.importances) == set(SPACE)


def test_a_study_goes_on_where_it_was_cut_short(tmp_path: Path, made_up: Any) -> None:
    tried: list[dict[str, Any]] = []

    def cut_short(config: TrainingConfig, _: Any) -> float:
        tried.append({"width": config.width, "dropout": config.dropout})
        if len(tried) in (1, 4):
            raise KeyboardInterrupt
        return config.dropout

    made_up(cut_short)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "study.db", trials=6)
    found, _ = run(tmp_path / "study.db", trials=6)
    assert tried[1] == tried[0]  # what was cut short is tried again
    assert tried[4] == tried[3]
    assert len(found.trials) == 6
    assert len(tried) == 8
    different = {json.dumps(options) for options in tried}
    assert len(different) == 6  # and no draw is repeated
    again, told = run(tmp_path / "study.db", trials=6)
    assert len(tried) == 8
    assert told == [found.best.params if found.best else None]
    assert again.finished == found.finished


def test_a_killed_trial_is_tried_again(tmp_path: Path, made_up: Any) -> None:
    made_up(lambda config, _: config.dropout)
    run(tmp_path / "study.db", trials=2)
    study = optuna.load_study(study_name="tritonrec", storage=f"sqlite:///{tmp_path}/study.db")
    killed = study.ask()
    options = {name: each.suggest(killed, name) for name, each in SPACE.items()}
    found, _ = run(tmp_path / "study.db", trials=3)
    assert options in [trial.params for trial in found.finished]


def test_a_training_that_falls_behind_is_given_up(tmp_path: Path, made_up: Any) -> None:
    def falling_behind(config: TrainingConfig, on_round: Callable[[int, float], None]) -> float:
        number = next(count)
        for each in range(1, 21):
            rounds.append((number, each))
            on_round(each, 0.001 if number == 6 else 0.1 + config.dropout / 100)
        return 0.1 + config.dropout / 100

    count = iter(range(100))
    rounds: list[tuple[int, int]] = []
    made_up(falling_behind)
    found, _ = run(tmp_path / "study.db", trials=8)
    assert 6 not in [trial.number for trial in found.finished]
    assert found.pruned >= 1
    assert len([each for number, each in rounds if number == 6]) == 6
    assert len([each for number, each in rounds if number == 0]) == 20


def test_a_training_that_diverges_is_given_up(tmp_path: Path, made_up: Any) -> None:
    def diverging(config: TrainingConfig, _: Any) -> float:
        if config.width == 64:
            raise TrainingError("training diverged")
        return 0.1

    made_up(diverging)
    found, told = run(tmp_path / "study.db", trials=8)
    assert 0 < found.pruned < 8
    assert {trial.params["width"] for trial in found.finished} == {32}
    assert all(options["width"] == 32 for options in told)


def test_options_that_exclude_each_other_are_given_up_and_not_tried_again(
    tmp_path: Path, made_up: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What is fine at the ends of a range need not be so between them."""
    made_up(lambda config, _: config.width / 100)
    told: list[Any] = []

    def search(trials: int) -> module.StudyResult:
        space = search_space(CONFIG, ["width=60:70"])
        file = tmp_path / "study.db"
        return module.tune(CONFIG, space, file, trials=trials, on_best=told.append)

    with caplog.at_level("INFO", "builder"):
        found = search(12)
    odd = [trial for trial in found.trials if trial.params["width"] % 2]
    assert 0 < found.pruned == len(odd) < 12
    number, width = odd[0].number, odd[0].params["width"]
    why = f"training options: width {width}: must be a multiple of heads"
    assert f"trial {number}: {why}" in caplog.text
    assert all(options["width"] % 2 == 0 for options in told)
    study = optuna.load_study(study_name="tritonrec", storage=f"sqlite:///{tmp_path}/study.db")
    assert not study.get_trials(states=(optuna.trial.TrialState.FAIL,))
    assert [trial.number for trial in search(13).trials if trial.number >= 12] == [12]


def test_without_peft_no_search_for_a_rank_begins(
    tmp_path: Path, made_up: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(lambda *_: 0.1)
    monkeypatch.setattr("builder.training.lora.find_spec", lambda _name: None)
    space = search_space(CONFIG, ["lora_rank=0,8"])
    with pytest.raises(ConfigError, match=r"pip install 'tritonrec\[builder,lora\]'"):
        module.tune(CONFIG, space, tmp_path / "study.db", trials=2, on_best=print)
    assert not list(tmp_path.iterdir())


def test_a_study_of_something_else(tmp_path: Path, made_up: Any) -> None:
    made_up(lambda *_: 0.1)
    run(tmp_path / "study.db", trials=1)
    with pytest.raises(ConfigError, match="begun with other values of patience, seed"):
        run(tmp_path / "study.db", trials=2, config=replace(CONFIG, seed=1, patience=2))
    run(tmp_path / "study.db", trials=2, config=replace(CONFIG, width=32))  # one that is tried
    (tmp_path / "none.db").write_text("no database " * 100)
    with pytest.raises(ConfigError, match=r"none\.db: cannot be read or written as a study"):
        run(tmp_path / "none.db", trials=1)


SMALL = ["--width", "8", "--max-history", "4", "--epochs", "2", "--tune-epochs", "1"]


@pytest.mark.sweep
def test_the_best_options_train_to_the_figure_of_their_trial(
    log: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_test_users(*arguments: Any, **options: Any) -> Prepared:
        """Nothing of theirs but how long their histories are."""
        found = prepare(*arguments, **options)
        split = found.data.split
        blind: Any = SimpleNamespace(histories=split.test.histories)
        return replace(found, data=replace(found.data, split=replace(split, test=blind)))

    monkeypatch.setattr(module, "prepare", without_test_users)
    study = tmp_path / "new" / "study.db"
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump({"data": str(log), "backbone": str(backbone), "heads": 1}))
    arguments = ["--study", study, "--config", file, *SMALL, "--json"]
    searched = ["--search", "width=4,8,16", "--search", "tune-learning-rate=1e-4:1e-2"]
    result = call(*arguments, *searched, "--trials", 3)
    found = json.loads(result.stdout)
    assert found["finished"] + found["pruned"] == 3
    best = found["trials"][0]
    assert best["figure"] == pytest.approx((best["ndcg@10"] + best["ndcg@10_text"]) / 2)
    options = yaml.safe_load(study.with_suffix(".yaml").read_text())
    assert (options["heads"], options["max_history"]) == (1, 4)
    assert {name: options[name] for name in best["options"]} == best["options"]
    assert found["files"]["best"] == str(study.with_suffix(".yaml"))
    drawing = Path(found["files"]["drawing"])
    assert "<svg" in drawing.read_text()

    # As `train --config` reads it.
    commands: Any = typer.main.get_command(app)
    context = commands.commands["train"].make_context(
        "train", ["--config", str(study.with_suffix(".yaml"))]
    )
    asked = training_config(
        Path(context.params["data"]),
        context.params["backbone"],
        Given.of(DataConfig, context.params),
        Given.of(TrainingConfig, context.params),
    )
    monkeypatch.undo()
    rounds: list[int] = []
    learnt = learn(
        asked,
        prepare(asked, tmp_path / "tokenizer"),
        tmp_path / "stages",
        on_round=lambda number, _: rounds.append(number),
    )
    assert learnt.best().figure == best["figure"]
    # And so does a later one, whatever was drawn in the trials before it.
    later = max(found["trials"], key=lambda trial: trial["number"])
    assert later["number"] > 0
    again = learn(
        replace(asked, **later["options"]), prepare(asked, tmp_path / "again"), tmp_path / "later"
    )
    assert again.best().figure == later["figure"]
    assert rounds == [1, 2, 3]  # of two epochs in the first stage, and one in the second


def test_a_table_for_people(log: Path, backbone: Path, tmp_path: Path, made_up: Any) -> None:
    made_up(lambda config, _: config.dropout / 10)
    arguments = ["--study", tmp_path / "study.db", "--data", log, "--backbone", backbone]
    result = call(*arguments, "--trials", 4, "--best", tmp_path / "best.yaml")
    for text in ("4 trials finished, 0 given up", "learning_rate", "full model", "trial 0"):
        assert text in result.stdout
    assert f"train --config {tmp_path / 'best.yaml'}" in result.stderr
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["data"] == str(log)


def test_files_that_cannot_be_written_are_told_before_the_first_trial(
    log: Path, backbone: Path, tmp_path: Path, made_up: Any
) -> None:
    made_up(lambda *_: pytest.fail("a trial began"))
    arguments = ["--study", tmp_path / "study.db", "--data", log, "--backbone", backbone]
    with pytest.raises(ConfigError, match=r"--best .*none/best\.yaml: cannot be written"):
        call(*arguments, "--best", tmp_path / "none/best.yaml")
    (tmp_path / "study.svg").mkdir()
    with pytest.raises(ConfigError, match=r"--study .*study\.svg: cannot be written"):
        call(*arguments)


def test_ctrl_c_says_how_to_continue(
    log: Path, backbone: Path, tmp_path: Path, made_up: Any
) -> None:
    def ctrl_c(*_: Any) -> float:
        raise KeyboardInterrupt

    made_up(ctrl_c)
    result = call("--study", tmp_path / "study.db", "--data", log, "--backbone", backbone)
    assert result.exit_code == 130
    assert "To continue, repeat the command" in result.stderr


def test_what_tune_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = ["--study", tmp_path / "study.db"]
    given = [*study, "--data", "data", "--backbone", "bert"]
    for own in ("--resume", "--output"):
        assert own in call(*given, own).stderr
    with pytest.raises(ConfigError, match="--data and --backbone must be given"):
        call(*study)
    assert "--colour" in call(*given, "--colour", "red").stderr
    monkeypatch.setattr(tune_commands, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tritonrec\[builder,tune\]'"):
        call(*given)
    assert not (tmp_path / "study.db").exists()
