"""What is learnt from events that no recommendation is to lead to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from builder.data import Catalogue, DataConfig, Holdout, Sequences
from builder.evaluation.baselines import View, Viewed, baselines, recency_ease
from builder.evaluation.ranking import rank_holdout
from builder.model.checkpoint import load_checkpoint
from builder.model.new_items import with_catalogue
from builder.reports.baselines import BaselineTask, baseline_figures
from builder.reports.trained_run import load_run
from builder.training.config import TrainingConfig
from builder.training.objective import NO_TARGET, NextItemObjective
from builder.training.run import train
from builder.training.sasrec import train_sasrec
from builder.training.text_vectors import FrozenTextVectors
from builder.training.windows import Windows, collate
from tests.unit.builder.model.tiny import ITEMS, TEXTS, adapter, recommender, sequences, split_of
from tests.unit.builder.training.test_objective import BATCH, POPULARITY

MET_FIRST, LIKED_NEXT, DISLIKED_NEXT = 0, 1, 2
USERS = 60


def test_windows_mark_the_context() -> None:
    train = sequences([5, 6, 7, 8], [9], target=[[1, 0, 0, 1], [0]])
    batch = collate([Windows(train, 2)[place] for place in range(3)])
    assert batch["targets"].tolist() == [
        [NO_TARGET, 7, 8],
        [5, 6, NO_TARGET],
        [9, *[NO_TARGET] * 2],
    ]
    assert batch["context"].tolist() == [
        [True, True, False], [False, True, False], [True, False, False],
    ]  # fmt: skip
    assert "context" not in collate([Windows(sequences([5, 6]), 2)[0]])


def objective_of(*, context: bool) -> NextItemObjective:
    text = torch.randn(ITEMS, 16, generator=torch.Generator().manual_seed(0))
    network = adapter(dropout=0, context=context)
    return NextItemObjective(
        network, FrozenTextVectors(text), POPULARITY, id_dropout=0, feature_dropout=0
    ).eval()


@torch.no_grad()
def test_the_context_is_predicted_by_states_that_are_moved_aside() -> None:
    objective = objective_of(context=True)
    aside = objective.adapter.aside
    assert aside is not None
    marked = torch.tensor([[False, True, False, False], [False, False, True, False]])
    found = objective(**BATCH, context=marked)["loss"]
    wanted = {**BATCH, "targets": torch.where(marked, NO_TARGET, BATCH["targets"])}
    others = {**BATCH, "targets": torch.where(marked, BATCH["targets"], NO_TARGET)}
    moved = objective.adapter.states
    objective.adapter.states = lambda *given: moved(*given) + aside  # type: ignore[method-assign]
    of_context = objective(**others)["loss"]
    objective.adapter.states = moved  # type: ignore[method-assign]
    torch.testing.assert_close(found, (4 * objective(**wanted)["loss"] + 2 * of_context) / 6)
    assert not torch.allclose(of_context, objective(**others)["loss"])


def test_without_context_nothing_is_moved_and_nothing_drawn() -> None:
    assert objective_of(context=False).adapter.aside is None
    plain = adapter()
    torch.manual_seed(1)
    first = type(plain)(plain.config).state_dict()
    torch.manual_seed(1)
    second = type(plain)(replace(plain.config, context=True)).state_dict()
    assert not second.pop("aside").any()
    assert all(torch.equal(first[name], second[name]) for name in first)


def write_ratings(directory: Path) -> Path:
    """A log in which only the rating of what was seen tells what is liked next.

    Each user meets item 0, likes 1 if they liked that, 2 otherwise, and dislikes 3 on the way; all
    of them begin with an item of their own that they like.
    """
    directory.mkdir()
    items = [f"i{index}\t{text}" for index, text in enumerate(TEXTS)]
    (directory / "tiny.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *items]))
    rows = []
    for user in range(USERS):
        liked = user // 3 % 2 == 0
        history = [
            (4 + user % 8, 5),
            (4 + (user + 3) % 8, 5),
            (3, 1),
            (MET_FIRST, 5 if liked else 2),
            (LIKED_NEXT if liked else DISLIKED_NEXT, 5),
        ]
        history += history[3:] if user % 2 else []
        rows += [
            f"u{user}\ti{item}\t{rating}\t{60 * at}" for at, (item, rating) in enumerate(history)
        ]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (directory / "tiny.inter").write_text("\n".join([header, *rows]))
    return directory


@pytest.fixture(scope="module")
def rated(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    data = DataConfig(write_ratings(tmp_path_factory.mktemp("rated") / "data"), min_rating=4)
    return TrainingConfig(
        data, str(backbone), width=16, max_history=8, max_length=8, linear_entries=6, epochs=40,
        learning_rate=0.02, batch_size=16, warmup_epochs=1.0, patience=40, tune_epochs=0,
        dropout=0.1, refit="none",
    )  # fmt: skip


def figure(run: Path) -> float:
    loaded = load_run(run)
    return rank_holdout(loaded.model.scorer(), loaded.split.test, ITEMS).ndcg(1)


def test_what_was_not_liked_tells_what_comes_next(rated: TrainingConfig, tmp_path: Path) -> None:
    train(rated, tmp_path / "kept")
    train(replace(rated, data=replace(rated.data, context="drop")), tmp_path / "dropped")
    assert figure(tmp_path / "kept") > figure(tmp_path / "dropped") + 0.1
    model = load_checkpoint(tmp_path / "kept")
    assert list(model.actions) == ["disliked", "liked"]
    assert model.adapter.aside is not None
    assert model.adapter.aside.abs().max() > 0
    assert model.warm[3]  # though nobody ever liked it
    # What has been seen and not liked is not recommended again.
    loaded = load_run(tmp_path / "kept")
    top = rank_holdout(model.scorer(), loaded.split.test, ITEMS).top
    assert not (top == 3).any()
    # The table of the run says the same as a run that is loaded.
    rows = json.loads((tmp_path / "kept" / "metrics.json").read_text())["rows"]
    (full,) = (row for row in rows if row["name"] == "frozen BERT: full model")
    found = rank_holdout(loaded.model.scorer(), loaded.split.test, ITEMS).ndcg(10)
    assert found == pytest.approx(full["metrics"]["ndcg@10"])
    assert load_checkpoint(tmp_path / "dropped").adapter.aside is None


def test_a_run_of_before_is_read_as_it_was_trained(rated: TrainingConfig, tmp_path: Path) -> None:
    train(replace(rated, epochs=1, data=replace(rated.data, context="drop")), tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    values: dict[str, Any] = json.loads(file.read_text())
    for name in ("context", "target_actions"):
        del values["training"]["data"][name]
    del values["adapter"]["context"]
    file.write_text(json.dumps(values))
    assert load_run(tmp_path / "run").split.train.target is None


@pytest.mark.parametrize("context", [False, True])
def test_a_warm_start_may_be_the_first_to_learn_from_context(
    backbone: Path, *, context: bool
) -> None:
    model = recommender(backbone)
    if context:
        model = replace(model, adapter=adapter(context=True))
    items = Catalogue(model.catalogue.item_ids, TEXTS, model.catalogue.columns)
    found = with_catalogue(model, items, ["buy", "view"], context=True)
    assert found.aside is not None
    kept = model.adapter.aside
    torch.testing.assert_close(found.aside, torch.zeros_like(found.aside) if kept is None else kept)
    assert (with_catalogue(model, items, ["buy", "view"]).aside is None) == (not context)


def test_baselines_learn_from_targets_alone_or_from_everything() -> None:
    # Who liked 0 liked 1, and had seen 2 on the way; who liked 2 liked 3.
    train = sequences(*[[0, 2, 1]] * 9, *[[2, 3]] * 8, target=[*[[1, 0, 1]] * 9, *[[1, 1]] * 8])
    asked = Holdout(sequences([0, 2], target=[[1, 0]]), np.array([1], np.int32))
    split = split_of(train, asked)
    usual = baselines(split, 4)["EASE"].scores(asked.histories)[0]
    assert usual[3] == 0  # nothing that this user liked leads there
    alike = baselines(split, 4, type(train).without_distinction)["EASE"].scores(asked.histories)[0]
    assert alike[3] != 0
    assert recency_ease(split, 4).final.scores(asked.histories)[0][3] == 0
    popularity = baselines(split, 4)["popularity"].scores(asked.histories)[0]
    assert popularity.tolist() == [9, 9, 8, 8]
    # What the user has seen is masked all the same, liked or not.
    assert rank_holdout(baselines(split, 4)["ItemKNN"], asked, 4).top[0].tolist() == [1, 3, -1, -1]


def test_a_view_is_what_a_scorer_is_asked_with() -> None:
    class Counts:
        def scores(self, histories: Sequences) -> NDArray[np.float32]:
            return histories.lengths[:, None].astype(np.float32)

    log = sequences([0, 1, 2], [3], target=[[1, 0, 1], [0]])
    viewed = Viewed(Counts(), type(log).without_context)
    assert viewed.scores(log).tolist() == [[2], [0]]


def test_every_baseline_twice_where_there_is_context(rated: TrainingConfig) -> None:
    figures = baseline_figures(BaselineTask.of_data(replace(rated, epochs=1)), {}, with_sasrec=True)
    usual = [
        "popularity", "ItemKNN", "EASE", "EASE with recency", "decayed popularity",
        "decayed popularity + EASE", "ALS", "SASRec",
    ]  # fmt: skip
    assert [row["name"] for row in figures["rows"]] == [
        *usual, *(f"{name}, all events" for name in usual),
    ]  # fmt: skip
    by_name = {row["name"]: row["metrics"] for row in figures["rows"]}
    assert any(by_name[name] != by_name[f"{name}, all events"] for name in usual)


def test_sasrec_learns_from_and_is_asked_with_its_view(
    rated: TrainingConfig, tmp_path: Path
) -> None:
    task = BaselineTask.of_data(replace(rated, epochs=1))
    log, asked = task.split, task.split.test.histories

    def scores(view: View, histories: Sequences) -> NDArray[np.float32]:
        directory = tmp_path / view.__name__
        scorer = train_sasrec(log, ITEMS, task.actions, task.training, directory, view=view)
        return scorer.scores(histories)

    usual = scores(Sequences.without_context, asked)
    assert not usual[:, 3].any()  # nobody ever liked it, so nothing was learnt of it
    np.testing.assert_array_equal(usual, scores(Sequences.without_context, asked.without_context()))
    everything = scores(Sequences.without_distinction, asked)
    assert everything[:, 3].all()
    assert (everything != scores(Sequences.without_distinction, asked.without_context())).any()
