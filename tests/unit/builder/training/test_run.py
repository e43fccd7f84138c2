"""A whole training run on a tiny log with a tiny BERT, undisturbed and interrupted."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AlbertConfig, AlbertModel, AutoModel

from builder.data import DataConfig
from builder.errors import CheckpointError, ConfigError, DataError, TrainingError
from builder.evaluation.ranking import rank_holdout
from builder.evaluation.report import Row
from builder.model.checkpoint import load_checkpoint, load_validation, read_config
from builder.model.cold_items import neighbour_means
from builder.model.recommender import encode_texts
from builder.reports.trained_run import load_run
from builder.training.config import TrainingConfig
from builder.training.learning import learn, learn_again
from builder.training.preparation import prepare
from builder.training.run import train
from builder.training.trainer import NextItemTrainer
from builder.unfinished_run import partial_directory
from tests.shared import first_of
from tests.unit.builder.model.tiny import EVENTS, ITEMS, SHAPE, TEXTS, USERS

NAMES = [
    "frozen BERT: full model", "frozen BERT: network alone", "frozen BERT: text alone",
    "fine-tuned: full model", "fine-tuned: network alone", "fine-tuned: text alone",
    "trained again: full model", "trained again: network alone", "trained again: text alone",
]  # fmt: skip

# A high rate, a patience of one epoch and both stages ending by it: what a resumed run has to
# remember is then what decides its figures.
OPTIONS: dict[str, Any] = {
    "width": 8, "max_history": 4, "max_length": 8, "linear_entries": 6,
    "epochs": 4, "learning_rate": 0.05, "batch_size": 16, "warmup_epochs": 1.0,
    "tune_epochs": 3, "tune_learning_rate": 0.005, "tune_texts": 4, "patience": 1,
}  # fmt: skip


@pytest.fixture(scope="session")
def config(log: Path, backbone: Path) -> TrainingConfig:
    return TrainingConfig(data=DataConfig(log), backbone=str(backbone), **OPTIONS)


@pytest.fixture(scope="session")
def run(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        keep_tuned(patch)
        train(config, output)
    return output


def keep_tuned(patch: pytest.MonkeyPatch) -> None:
    """So small a BERT may not get better by tuning; what is tuned is looked at all the same."""
    patch.setattr("builder.training.learning.better", lambda _, tuned: tuned)


@pytest.fixture(autouse=True)
def tuned_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_tuned(monkeypatch)


def figures(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text())["rows"]


@contextmanager
def interrupted_at(moment: Callable[[str, tuple[Any, ...]], bool]) -> Iterator[None]:
    """Ctrl-C before the first thing done to the file system for which `moment` holds."""
    _hook.moment = moment
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        _hook.moment = None


class _Hook:
    """An audit hook, which stays for as long as the process does."""

    def __init__(self) -> None:
        self.moment: Callable[[str, tuple[Any, ...]], bool] | None = None

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.moment is not None and self.moment(event, arguments):
            self.moment = None
            raise KeyboardInterrupt


_hook = _Hook()
sys.addaudithook(_hook)

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
TOUCHES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}


def touches(event: str, arguments: tuple[Any, ...]) -> bool:
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C only reaches that one
        return False
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITES)
    return event in TOUCHES


def test_the_checkpoint_is_whole(run: Path, config: TrainingConfig) -> None:
    assert sorted(path.name for path in run.parent.iterdir()) == ["run"]
    assert sorted(path.name for path in run.iterdir()) == [
        "README.md", "adapter.safetensors", "catalogue.parquet", "config.json", "encoder",
        "metrics.json", "tensorboard", "validation.parquet",
    ]  # fmt: skip
    assert TrainingConfig.from_dict(read_config(run)["training"]) == config
    assert len(load_validation(run)) == USERS
    for stage in ("adapter", "tuning"):
        assert list((run / "tensorboard" / stage).glob("events*"))


@pytest.mark.parametrize("stage", ["adapter", "tuning"])
def test_the_loss_falls_and_each_epoch_has_its_figures(run: Path, stage: str) -> None:
    events = EventAccumulator(str(run / "tensorboard" / stage))
    events.Reload()
    losses = [each.value for each in events.Scalars("train/loss")]
    if stage == "adapter":  # three epochs of the second at so high a rate fall with few seeds
        assert losses[-1] < losses[0]
    for tag in ("eval/ndcg@10", "eval/ndcg@10_text"):
        assert len(events.Scalars(tag)) == len(losses)


def test_the_table_has_both_stages_on_the_same_users_and_no_baselines(run: Path) -> None:
    rows = [Row(**row) for row in figures(run)]
    assert [row.name for row in rows] == NAMES
    assert {row.users for row in rows} == {USERS}
    for row in rows:
        assert (row.ece is not None) == row.name.endswith("full model")
        assert all(0 <= value <= 1 for value in row.metrics.values())


def test_upper_layers_of_bert_change_and_lower_ones_do_not(run: Path, backbone: Path) -> None:
    before = AutoModel.from_pretrained(backbone).state_dict()
    after = AutoModel.from_pretrained(run / "encoder").state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        learnt = "layer.1." in name or "layer.2." in name
        assert torch.equal(after[name], value) != learnt, name


def test_the_checkpoint_holds_the_vectors_of_its_own_encoder(run: Path) -> None:
    model = load_checkpoint(run)
    vectors = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=1e-5, atol=1e-5)


def test_sentence_transformers_gives_the_vectors_of_the_checkpoint(run: Path) -> None:
    package = pytest.importorskip(
        "sentence_transformers", reason="pip install sentence-transformers"
    )
    model = load_checkpoint(run)
    vectors = package.SentenceTransformer(str(run / "encoder")).encode(model.catalogue.texts)
    np.testing.assert_allclose(vectors, model.text_vectors.numpy(), atol=1e-5)


def test_an_item_without_events_takes_the_place_of_its_neighbours(run: Path) -> None:
    model = load_checkpoint(run)
    cold = np.arange(ITEMS) == ITEMS - 1
    assert (model.warm == ~cold).all()
    vectors, bias = model.item_vectors()
    mean = torch.from_numpy(neighbour_means(model, cold)[:, ITEMS - 1].toarray()).float()
    torch.testing.assert_close(vectors[-1], mean @ vectors, rtol=1e-4, atol=1e-5)
    # As popular as they are in the mean, which a mean of logits is not.
    events, expected = (
        torch.from_numpy(each) for each in (model.popularity.events, model.popularity.expected)
    )
    inherited = mean @ (bias - events) + (mean @ expected.exp()).log()
    torch.testing.assert_close(bias[-1], inherited, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_figures_and_another_does_not(
    run: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    np.random.random(7)  # noqa: NPY002 - what happened before must not matter
    torch.rand(3)
    again = train(config, tmp_path / "again")
    assert [row.to_dict() for row in again] == figures(run)
    other = train(replace(config, seed=1), tmp_path / "other")
    assert [row.to_dict() for row in other] != figures(run)


def test_what_is_saved_has_learnt_the_validation_events_and_chosen_nothing_by_them(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(config, tmp_path / "tokenizer")
    chosen = learn(config, prepared, tmp_path / "stages").best()
    split = prepared.data.split
    assert split.refit is not None
    assert len(chosen.steps) == 2
    monkeypatch.delattr(NextItemTrainer, "evaluate")
    monkeypatch.delattr("builder.training.learning.choose_closed_form")
    monkeypatch.delattr("builder.training.learning.choose_cold_rank")
    monkeypatch.delattr("builder.training.learning.choose_trend")
    monkeypatch.delattr("builder.training.learning.fit_calibration")
    steps = {}

    def progress(task: str, done: int, _total: int) -> None:
        if task.startswith("train "):
            steps[task] = done

    again = learn_again(
        config, prepared, chosen, split.learnt, tmp_path / "stages", progress=progress
    )
    before = chosen.model
    assert (again.cold_limit, again.calibration) == (before.cold_limit, before.calibration)
    assert (again.linear.decay, again.linear.weight) == (before.linear.decay, before.linear.weight)
    assert again.warm.tolist() == (np.bincount(split.learnt.items, minlength=ITEMS) > 0).tolist()
    assert not np.array_equal(again.linear.value, before.linear.value)
    assert not torch.equal(again.adapter.residual.weight, before.adapter.residual.weight)
    assert not torch.equal(again.text_vectors, before.text_vectors)
    # What the second stage has learnt of the items themselves is in their residuals.
    first = load_file(tmp_path / "stages/adapter-again/trained.safetensors")
    residual = first["adapter.residual.weight"]
    assert not torch.allclose(again.adapter.residual.weight[again.warm], residual[again.warm])
    assert steps == {
        "train the network again": chosen.steps[0], "train BERT along again": chosen.steps[1],
    }  # fmt: skip


def test_the_model_that_is_to_serve_may_learn_everything_and_is_not_tested_any_more(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "builder"):
        rows = train(replace(config, refit="all"), tmp_path / "all")
    assert [row.name for row in rows] == NAMES[:6]
    events = USERS * EVENTS
    assert f"held-out events: {events} events instead of {events - 2 * USERS}" in caplog.text
    with pytest.raises(CheckpointError, match="has learnt the test events"):
        load_run(tmp_path / "all")
    with pytest.raises(ConfigError, match=r"--warm-start .*all: it was trained with --refit all"):
        train(replace(config, warm_start=str(tmp_path / "all")), tmp_path / "warm")

    rows = train(replace(config, refit="none"), tmp_path / "none")
    assert [row.name for row in rows] == NAMES[:6]
    found = load_run(tmp_path / "none")
    assert found.split.refit is None
    figure = rank_holdout(
        found.model.scorer(log=found.split.counted), found.split.test, ITEMS
    ).ndcg(10)
    assert figure == pytest.approx(rows[3].metrics["ndcg@10"])


def test_without_tuning_bert_stays_as_it_is(
    config: TrainingConfig, backbone: Path, tmp_path: Path
) -> None:
    rows = train(replace(config, tune_epochs=0), tmp_path / "run")
    assert [row.name for row in rows] == [*NAMES[:3], *NAMES[6:]]
    before = AutoModel.from_pretrained(backbone).state_dict()
    for name, value in AutoModel.from_pretrained(tmp_path / "run/encoder").state_dict().items():
        assert torch.equal(value, before[name])


def test_the_frozen_model_is_kept_where_tuning_did_not_help(
    config: TrainingConfig,
    backbone: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, "builder"):
        train(replace(config, tune_learning_rate=0.5), tmp_path / "run")
    assert "the frozen one is kept" in caplog.text
    before = AutoModel.from_pretrained(backbone).state_dict()
    for name, value in AutoModel.from_pretrained(tmp_path / "run/encoder").state_dict().items():
        assert torch.equal(value, before[name])
    model = load_checkpoint(tmp_path / "run")
    vectors = encode_texts(model.encoder, model.tokenizer, TEXTS)
    torch.testing.assert_close(vectors, model.text_vectors, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "option"),
    [("learning_rate", "--learning-rate"), ("tune_learning_rate", "--tune-learning-rate")],
)
def test_a_training_that_diverges_names_the_rate_to_lower(
    config: TrainingConfig, tmp_path: Path, rate: str, option: str
) -> None:
    options: dict[str, Any] = {rate: 1e30}
    diverging = replace(config, **options)
    with pytest.raises(TrainingError, match=f"give a lower {option}$"):
        train(diverging, tmp_path / "run")


def test_layers_that_share_their_weights_stay_as_they_are(
    config: TrainingConfig, backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shape: dict[str, Any] = {
        "vocab_size": SHAPE["vocab_size"],
        "hidden_size": 16,
        "embedding_size": 8,
    }
    albert = AlbertModel(AlbertConfig(**shape, num_attention_heads=2, intermediate_size=32))
    shutil.copytree(backbone, tmp_path / "albert")
    albert.save_pretrained(tmp_path / "albert")
    rows = train(replace(config, backbone=str(tmp_path / "albert")), tmp_path / "run")
    assert [row.name for row in rows] == [*NAMES[:3], *NAMES[6:]]
    assert "share their weights: the second stage is left out" in caplog.text
    assert load_checkpoint(tmp_path / "run").encoder.width == 16


def test_a_warm_start_begins_where_the_run_ended_and_takes_new_items_by_their_text(
    run: Path, config: TrainingConfig, log: Path, tmp_path: Path
) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(log, longer)
    items = (longer / "tiny.item").read_text().splitlines()
    items[1:1] = ["new\ta cat film"]  # not at the end: items are told by their ids
    (longer / "tiny.item").write_text("\n".join(items))
    with (longer / "tiny.inter").open("a") as file:
        file.write("".join(f"\nu{user}\tnew\t1700000001" for user in range(20)))
    warm = replace(
        config,
        data=DataConfig(longer),
        warm_start=str(run),
        epochs=1,
        tune_epochs=None,
        learning_rate=1e-9,
    )
    rows = train(warm, tmp_path / "warm")
    assert [row.name for row in rows] == [*NAMES[:3], *NAMES[6:]]  # BERT has been tuned already
    before, after = load_checkpoint(run), load_checkpoint(tmp_path / "warm")
    known = [after.catalogue.index[item] for item in before.catalogue.item_ids[:-1]]
    torch.testing.assert_close(
        after.adapter.residual.weight[known], before.adapter.residual.weight[:-1]
    )
    new = after.catalogue.index["new"]
    assert new == 0
    assert after.adapter.residual.weight[new].abs().max() < 1e-6
    torch.testing.assert_close(after.adapter.project.weight, before.adapter.project.weight)
    torch.testing.assert_close(after.text_vectors[known], before.text_vectors[:-1])
    assert after.adapter.config.width == before.adapter.config.width


# Three steps are in the second epoch, after the first state was saved.
TASKS = (
    "train BERT along", "encode texts", "train the network", "choose the linear term",
    "train the network again", "train BERT along again",
)  # fmt: skip


@pytest.mark.parametrize("task", first_of(TASKS))
def test_interrupted_between_two_steps(
    run: Path, config: TrainingConfig, tmp_path: Path, task: str
) -> None:
    output = tmp_path / "run"

    def interrupt(current: str, done: int, total: int) -> None:
        if current == task and done >= min(3, total):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, output, progress=interrupt)
    assert not output.exists()
    with pytest.raises(CheckpointError, match="--resume"):
        load_checkpoint(output)
    train(config, output, resume=True)
    assert figures(output) == figures(run)
    assert not partial_directory(output).exists()


@pytest.mark.sweep
def test_interrupted_before_any_write(run: Path, config: TrainingConfig, tmp_path: Path) -> None:
    """Five moments spread over everything that a run does to the file system."""
    total = 0

    def count(event: str, arguments: tuple[Any, ...]) -> bool:
        nonlocal total
        total += touches(event, arguments)
        return False

    _hook.moment = count
    train(config, tmp_path / "counted")
    _hook.moment = None
    for moment in np.linspace(1, total, 5).astype(int):
        output = tmp_path / f"run{moment}"
        left = int(moment)

        def reached(event: str, arguments: tuple[Any, ...]) -> bool:
            nonlocal left
            left -= touches(event, arguments)
            return left == 0

        with interrupted_at(reached):
            train(config, output)
        partial = partial_directory(output)
        if output.exists():  # only at the very end, and then it is whole
            assert moment == total
            (output / "training.json").unlink()
        else:
            train(config, output, resume=(partial / "training.json").is_file())
        assert figures(output) == figures(run), moment
        assert sorted(path.name for path in output.iterdir()) == sorted(
            path.name for path in run.iterdir()
        )
        assert not partial.exists()


@pytest.mark.sweep
def test_a_state_that_was_being_written_is_not_resumed_from(
    run: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    """As a kill leaves it, or a full disk: the newest state is there in part."""
    output = tmp_path / "run"

    def interrupt(current: str, done: int, _total: int) -> None:
        if current == "train the network" and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, output, progress=interrupt)
    states = sorted(
        (partial_directory(output) / "adapter").glob("checkpoint-*"),
        key=lambda path: int(path.name.split("-")[1]),
    )
    newer = states[-1].with_name(f"checkpoint-{int(states[-1].name.split('-')[1]) + 1}")
    newer.mkdir()
    shutil.copy(states[-1] / "model.safetensors", newer)
    train(config, output, resume=True)
    assert figures(output) == figures(run)


@pytest.mark.sweep
@pytest.mark.parametrize("file", ["training_args.bin", "optimizer.pt"])
def test_interrupted_while_a_stage_that_has_ended_is_tidied_up(
    run: Path, config: TrainingConfig, tmp_path: Path, file: str
) -> None:
    """Its last state is whole or half gone; in neither case may training go on from it."""
    output = tmp_path / "run"
    with interrupted_at(lambda event, arguments: event == "os.remove" and arguments[0] == file):
        train(config, output)
    train(config, output, resume=True)
    assert figures(output) == figures(run)


@pytest.mark.sweep
def test_a_stage_that_has_ended_is_not_trained_again(
    config: TrainingConfig, tmp_path: Path
) -> None:
    output = tmp_path / "run"

    def interrupt(current: str, _done: int, _total: int) -> None:
        if current == "train BERT along":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, output, progress=interrupt)
    tasks: set[str] = set()
    train(config, output, resume=True, progress=lambda task, _done, _total: tasks.add(task))
    assert "train the network" not in tasks
    assert "train BERT along" in tasks


@pytest.mark.sweep
def test_resuming_twice(run: Path, config: TrainingConfig, tmp_path: Path) -> None:
    output = tmp_path / "run"
    for resume, task in ((False, "train the network"), (True, "train BERT along")):

        def interrupt(current: str, done: int, _total: int, task: str = task) -> None:
            if current == task and done >= 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, output, resume=resume, progress=interrupt)
    train(config, output, resume=True)
    assert figures(output) == figures(run)


def interrupt_at_once(task: str, _done: int, _total: int) -> None:
    """As soon as the run has begun, which it has not while the data are read."""
    if not task.startswith("Reading"):
        raise KeyboardInterrupt


@pytest.mark.sweep
def test_without_resume_an_interrupted_run_begins_again(
    run: Path, config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(replace(config, width=16), output, progress=interrupt_at_once)
    with caplog.at_level(logging.WARNING, "builder"):
        train(config, output)
    assert "--resume would continue it" in caplog.text
    assert figures(output) == figures(run)


def test_runs_that_cannot_begin(run: Path, config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--output {run} exists"):
        train(config, run)
    with pytest.raises(ConfigError, match="there is no interrupted run"):
        train(config, tmp_path / "none", resume=True)
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(config, output, progress=interrupt_at_once)
    other = replace(config, width=16, seed=5)
    with pytest.raises(ConfigError, match="other options for width, seed"):
        train(other, output, resume=True)
    with pytest.raises(CheckpointError, match="--backbone"):
        train(replace(config, backbone=str(tmp_path)), tmp_path / "no backbone")
    with pytest.raises(DataError):
        train(replace(config, data=DataConfig(tmp_path)), tmp_path / "no data")
    with pytest.raises(ConfigError, match="has no mask"):
        train(replace(config, mlm_epochs=1), tmp_path / "no mask")
    assert not list(tmp_path.glob("no*"))  # nothing is left of a run that was refused
    begun = (partial_directory(output) / "training.json").read_bytes()
    with pytest.raises(ConfigError, match="freeze 3"):
        train(replace(config, freeze="3"), output)
    assert (partial_directory(output) / "training.json").read_bytes() == begun


def test_more_layers_than_the_backbone_has_are_refused_before_any_training(
    config: TrainingConfig, tmp_path: Path
) -> None:
    tasks: list[str] = []
    with pytest.raises(ConfigError, match=r"freeze 3: BERT has 3 layers; give at most 2, or all"):
        train(
            replace(config, freeze="3"),
            tmp_path / "run",
            progress=lambda task, _done, _total: tasks.append(task),
        )
    assert "train the network" not in tasks


@pytest.mark.parametrize("damage", ["", "{"])
def test_options_that_were_being_written_begin_again(
    config: TrainingConfig, tmp_path: Path, damage: str
) -> None:
    partial = partial_directory(tmp_path / "run")
    partial.mkdir()
    (partial / "training.json").write_text(damage)
    with pytest.raises(ConfigError, match="leave --resume out"):
        train(config, tmp_path / "run", resume=True)


def write_users(log: Path, directory: Path) -> Path:
    """The log with a user file and kinds of items; a user's group says where they start."""
    shutil.copytree(log, directory)
    rows = [f"u{user}\t{20 + user}\tg{user % (ITEMS - 1) % 2}" for user in range(USERS)]
    header = "user_id:token\tage:token\tgroup:token"
    (directory / "tiny.user").write_text("\n".join([header, *rows]))
    header, *items = (directory / "tiny.item").read_text().splitlines()
    kinds = [f"{line}\tk{place % 2}" for place, line in enumerate(items)]
    (directory / "tiny.item").write_text("\n".join([f"{header}\tkind:token", *kinds]))
    return directory


def test_profiles_are_learnt_chosen_on_and_kept(
    config: TrainingConfig, log: Path, tmp_path: Path
) -> None:
    data = DataConfig(
        write_users(log, tmp_path / "data"),
        text="{title}",
        profile=("age", "group"),
        item_profile=("kind",),
    )
    train(replace(config, data=data, tune_epochs=0), tmp_path / "run")
    model = load_checkpoint(tmp_path / "run")
    age, group = model.profile
    assert age.edges is not None
    assert group.values == ("g0", "g1")
    (kind,) = model.item_profile
    assert kind.values == ("k0", "k1")
    tables = [*model.adapter.profile, *model.adapter.item_profile]
    assert all(table[1:].abs().max() > 0 for table in tables)
    assert model.adapter.item_ids is not None
    assert model.adapter.item_ids[:, 0].tolist() == [1 + item % 2 for item in range(ITEMS)]
    validation = load_validation(tmp_path / "run")
    assert validation.histories.profiles is not None
    assert validation.histories.profiles.shape == (USERS, 2)
    # The very figures of the table come again, so evaluation reads profiles as training did.
    run = load_run(tmp_path / "run")
    found = rank_holdout(run.model.scorer(), run.split.test, ITEMS).ndcg(10)
    (row,) = (each for each in figures(tmp_path / "run") if each["name"] == NAMES[6])
    assert found == pytest.approx(row["metrics"]["ndcg@10"])
    blank = replace(run.split.test.histories, profiles=None)
    scores = run.model.scorer().scores(run.split.test.histories)
    assert not np.allclose(run.model.scorer().scores(blank), scores)

    # A warm start goes on with the columns and values that the run knows, and with no others.
    again = replace(config, data=data, tune_epochs=0, warm_start=str(tmp_path / "run"))
    train(again, tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").profile == model.profile
    assert load_checkpoint(tmp_path / "again").item_profile == model.item_profile
    with pytest.raises(ConfigError, match="--profile age: the run of --warm-start knows age,group"):
        train(
            replace(again, data=replace(data, profile=("age",))),
            tmp_path / "other",
        )
    with pytest.raises(
        ConfigError, match=r"--item-profile left out: the run of .* knows kind; give"
    ):
        train(replace(again, data=replace(data, item_profile=())), tmp_path / "third")


HOURS = 2
"""That belong to an item of the log below."""
WEEKS = 2811 * 7 * 86_400
"""From 1970 to the first day of the log below, of whole weeks."""


def write_hours(log: Path, directory: Path) -> Path:
    """A log in which the hour of the request alone says what comes next."""
    shutil.copytree(log, directory)
    hours = np.random.default_rng(0).integers(0, HOURS * (ITEMS - 1), (USERS, 7))
    events = [
        f"u{user}\ti{hour // HOURS}\t{WEEKS + 86_400 * (1 + day) + 3_600 * int(hour)}"
        for user, row in enumerate(hours)
        for day, hour in enumerate(row)
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (directory / "tiny.inter").write_text("\n".join([header, *events]))
    return directory


def test_the_time_of_a_request_is_learnt_and_known_wherever_it_counts(
    config: TrainingConfig, log: Path, tmp_path: Path
) -> None:
    data = DataConfig(
        write_hours(log, tmp_path / "data"),
        text="{title}",
        request_time=("weekday", "hour"),
        time_zone="Etc/GMT-1",
    )
    timed = replace(
        config, data=data, epochs=30, patience=30, tune_epochs=0, feature_dropout=0.1, refit="none"
    )
    train(timed, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert [column.name for column in run.model.profile] == ["hour", "weekday"]
    histories = run.split.test.histories
    known = rank_holdout(run.model.scorer(), run.split.test, ITEMS).ndcg(10)
    assert known > 0.8
    # The very figures of the table come again, and the gates of an export know the times too.
    (row,) = (each for each in figures(tmp_path / "run") if each["name"].endswith("full model"))
    assert known == pytest.approx(row["metrics"]["ndcg@10"])
    assert rank_holdout(run.model.scorer(), load_validation(tmp_path / "run"), ITEMS).ndcg(10) > 0.8
    unknown = replace(run.split.test, histories=replace(histories, profiles=None))
    # At the first place, for within ten of twelve items a guess has .6.
    told, untold = (
        rank_holdout(run.model.scorer(), each, ITEMS).ndcg(1) for each in (run.split.test, unknown)
    )
    assert told > 0.8
    assert untold < 0.4

    again = replace(timed, epochs=1, warm_start=str(tmp_path / "run"))
    train(again, tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").profile == run.model.profile
    for changed, message in (
        ({"request_time": ("hour",)}, "--request-time hour: the run of --warm-start knows weekday"),
        ({"time_zone": "UTC"}, "--time-zone UTC: the run of --warm-start goes by Etc/GMT-1"),
    ):
        other = replace(again, data=replace(data, **changed))
        with pytest.raises(ConfigError, match=message):
            train(other, tmp_path / "other")


def write_images(log: Path, directory: Path) -> Path:
    """All texts are alike; items follow each other as their images, which have strays, say."""
    shutil.copytree(log, directory)
    random = np.random.default_rng(0)
    images = np.repeat(np.eye(2), ITEMS // 2, axis=0) * 100 + random.normal(size=(ITEMS, 2))
    rows = [f"i{item}\ta film\t{x:.4f} {y:.4f}" for item, (x, y) in enumerate(images)]
    header = "item_id:token\ttitle:token_seq\timage:float_seq"
    (directory / "tiny.item").write_text("\n".join([header, *rows]))
    half = ITEMS // 2
    events = [
        f"u{user}\ti{user % 2 * half + item}\t{60 * (1 + place)}"
        for user in range(USERS)
        for place, item in enumerate(random.integers(half, size=12))
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (directory / "tiny.inter").write_text("\n".join([header, *events]))
    return directory


def test_what_images_alone_say_is_learnt_also_for_items_without_training_events(
    config: TrainingConfig, log: Path, tmp_path: Path
) -> None:
    data = DataConfig(write_images(log, tmp_path / "data"), item_vectors=("image",))
    images = replace(
        config, data=data, epochs=20, patience=20, tune_epochs=0, dropout=0.0, id_dropout=0.5,
        hold_out_items=0.3,
    )  # fmt: skip
    train(images, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert list(run.model.modalities) == ["image"]
    # Each half of the catalogue has its users; a held-out item is told by its image alone.
    cold = run.split.cold
    scores = run.model.scorer("text").scores(cold.histories)
    half = ITEMS // 2
    items = run.split.cold_items
    assert len({int(item) // half for item in items}) == 2
    for row in range(len(cold)):
        own = cold.histories.items_of(row)[0] // half
        liked = scores[row, items[items // half == own]]
        others = scores[row, items[items // half != own]]
        assert liked.min() > others.max()

    # A run with items held out is not continued.
    images = replace(images, epochs=1, hold_out_items=0.0)
    train(images, tmp_path / "whole")
    again = replace(images, learning_rate=1e-9, warm_start=str(tmp_path / "whole"))
    train(again, tmp_path / "again")
    warm, before = (load_checkpoint(tmp_path / name).adapter for name in ("again", "whole"))
    torch.testing.assert_close(warm.modality[0], before.modality[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(warm.item_modalities, before.item_modalities)
    with pytest.raises(ConfigError, match="--item-vectors left out: the run of --warm-start knows"):
        train(replace(again, data=replace(data, item_vectors=())), tmp_path / "other")


def test_a_user_file_without_profile_changes_nothing(
    run: Path, config: TrainingConfig, log: Path, tmp_path: Path
) -> None:
    data = DataConfig(write_users(log, tmp_path / "data"), text="{title}")
    train(replace(config, data=data), tmp_path / "run")
    assert figures(tmp_path / "run") == figures(run)
