"""RecTools' sequence models under our protocol, as outside peers, in an environment of their own.

::

    python -m venv rectools-env
    rectools-env/bin/pip install torch==2.13.0 'rectools[torch]==0.19.0'
    rectools-env/bin/python -P perf/rectools_models.py ml-100k/ml-100k.inter scores.npz \
        --model sasrec --min-rating 4 --min-events 8 --seed 0
    python -m builder baselines --data ml-100k --min-rating 4 --min-events 8 \
        --scores 'RecTools SASRec=scores.npz'

``-P`` (Python 3.11), since the modules beside this one would hide those of the standard library.
The log is RecBole's ``.inter``, MovieLens' ``ratings.csv`` or ``ratings.dat``. The split is made
here once more, so that a mistake in ours would show: of the events of at least ``--min-rating``,
users with at least ``--min-events``; the last is the test, the one before it validation.

RecTools trains with its own code. What differs from its defaults is in ``RECIPES``, with where its
authors say it; ``--parameters`` changes more. Two trainings are made. The first leaves validation
out and is asked for NDCG@10 on it after each epoch. The second learns from validation too, for as
many epochs as were best, as our own model and baselines do. What it scores for each test history
is written. Test events are only left out: nothing is chosen by them.

UniSRec reads items by vectors of their texts: ``--vectors`` is an ``.npz`` with ``item_ids`` [n]
and ``vectors`` [n, k], such as those of a sentence encoder.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Callback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers import UniSRecModel
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

log = logging.getLogger(__name__)

SEPARATORS = {".inter": "\t", ".csv": ",", ".dat": "::"}
# The width that RecTools' authors take for MovieLens-1M in transformer_benchmark. RecTools' default
# batch, 128 users, would make 8 steps an epoch of MovieLens-100K; this one makes 58.
SMALL: dict[str, Any] = {"n_factors": 64, "n_heads": 1, "batch_size": 16}
RECIPES: dict[str, tuple[type, dict[str, Any]]] = {
    "sasrec": (SASRecModel, SMALL),
    # Tikhonovich et al. 2025, https://arxiv.org/abs/2508.06450, and transformer_benchmark.
    "esasrec": (
        SASRecModel,
        {
            **SMALL,
            "transformer_layers_type": LiGRLayers,
            "use_key_padding_mask": True,
            "loss": "sampled_softmax",
            "n_negatives": 256,
        },
    ),
    # RecTools' tutorial of HSTU, for MovieLens-1M.
    "hstu": (
        HSTUModel,
        {
            "loss": "sampled_softmax",
            "n_negatives": 128,
            "lightning_module_kwargs": {"logits_t": 0.05},
            **SMALL,
            "n_factors": 50,
        },
    ),
    "bert4rec": (BERT4RecModel, SMALL),
    "unisrec": (UniSRecModel, {"batch_size": 16}),
}


@dataclass(frozen=True)
class Scored:
    """Scores FP32 [U, m] of all items that a model knows, by users and items."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    scores: np.ndarray


Score = Callable[[torch.nn.Module], Scored]


def main() -> None:
    """Train twice, write the scores, print what was chosen as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("log", type=Path, help="the ratings: .inter, .csv or .dat")
    arguments.add_argument(
        "scores", type=Path, nargs="?", help="the .npz to write; without it only the first training"
    )
    arguments.add_argument("--model", choices=RECIPES, default="sasrec")
    arguments.add_argument("--min-rating", type=float, default=4)
    arguments.add_argument("--min-events", type=int, default=8)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--history", type=int, default=50, help="events of a user")
    arguments.add_argument("--epochs", type=int, default=200, help="at most; it stops early")
    arguments.add_argument("--patience", type=int, default=20, help="epochs without a better one")
    arguments.add_argument("--minutes", type=float, default=5, help="of CPU, first training")
    arguments.add_argument("--parameters", type=json.loads, default={}, help="of RecTools, JSON")
    arguments.add_argument("--vectors", type=Path, help="an .npz; UniSRec needs it")
    given = arguments.parse_args()
    if given.log.suffix not in SEPARATORS:
        arguments.error(f"the log must be one of {', '.join(SEPARATORS)}")
    if given.model == "unisrec" and given.vectors is None:
        arguments.error("--model unisrec needs --vectors")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    events = _events(given.log, given.min_rating, given.min_events)
    from_last = events.groupby(Columns.User, sort=False).cumcount(ascending=False)
    train, known = events[from_last >= 2], events[from_last >= 1]
    validation, test = events[from_last == 1], events[from_last == 0]

    fit = functools.partial(_fit, given, vectors=_vectors(given.vectors, events))
    watch = Watch(train, validation, given.patience, given.minutes)
    fit(train, validation, epochs=given.epochs, watch=watch)
    if given.scores is not None:
        found = fit(known, test, epochs=watch.epochs)
        np.savez_compressed(
            given.scores,
            user_ids=found.user_ids.astype(str),
            item_ids=found.item_ids.astype(str),
            scores=found.scores,
        )
    chosen = {
        "model": given.model,
        "test users": len(test),
        "epochs": watch.epochs,
        "validation ndcg@10": round(watch.best, 4),
        "parameters": _parameters(given),
        "CPU minutes": round(time.process_time() / 60, 1),
    }
    print(json.dumps(chosen, default=lambda kind: kind.__name__))  # noqa: T201


def _parameters(given: argparse.Namespace) -> dict[str, Any]:
    """What RecTools' model is made with, where it is not RecTools' default."""
    return {**RECIPES[given.model][1], "session_max_len": given.history, **given.parameters}


def _events(file: Path, min_rating: float, min_events: int) -> pd.DataFrame:
    """Targets of users with enough of them, by time; equal times keep the order of the log."""
    columns = [Columns.User, Columns.Item, "rating", Columns.Datetime]
    events = pd.read_csv(
        file,
        sep=SEPARATORS[file.suffix],
        header=None if file.suffix == ".dat" else 0,
        names=columns,
        dtype=str,  # ids keep their zeros
        engine="python",
    )
    events = events[events.pop("rating").astype(float) >= min_rating]
    size = events.groupby(Columns.User)[Columns.Item].transform("size")
    events = events[size >= min_events]
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime].astype(float), unit="s")
    return events.sort_values(Columns.Datetime, kind="stable").assign(**{Columns.Weight: 1.0})


def _vectors(file: Path | None, events: pd.DataFrame) -> pd.DataFrame | None:
    """Vectors FP32 of the items of the log, by item."""
    if file is None:
        return None
    with np.load(file) as found:
        vectors = pd.DataFrame(found["vectors"].astype(np.float32), index=found["item_ids"])
    return vectors.reindex(events[Columns.Item].unique(), fill_value=0)


class Watch(Callback):
    """Measures NDCG@10 on validation after each epoch, and stops when it no longer rises."""

    def __init__(
        self, seen: pd.DataFrame, targets: pd.DataFrame, patience: int, minutes: float
    ) -> None:
        self.seen, self.targets = seen, targets
        self.patience, self.minutes = patience, minutes
        self.score: Score | None = None
        self.best, self.epochs = -1.0, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        """RecTools trains with a copy of the trainer, which shall tell this one."""
        return self

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = _ndcg(self.score(pl_module), self.seen, self.targets)
        done = trainer.current_epoch + 1
        minutes = time.process_time() / 60
        log.info("epoch %d: NDCG@10 %.4f on validation, %.1f CPU minutes", done, value, minutes)
        if value > self.best:
            self.best, self.epochs = value, done
        if done >= self.epochs + self.patience or minutes >= self.minutes:
            trainer.should_stop = True


def _ndcg(found: Scored, seen: pd.DataFrame, targets: pd.DataFrame, k: int = 10) -> float:
    """NDCG@k; seen items are masked, ties count against the target, unknown targets are missed."""
    row = pd.Index(found.user_ids)
    column = pd.Index(found.item_ids)
    scores = found.scores.copy()
    scores[row.get_indexer(seen[Columns.User]), column.get_indexer(seen[Columns.Item])] = -np.inf
    columns = column.get_indexer(targets[Columns.Item])
    rows, columns = row.get_indexer(targets[Columns.User])[columns >= 0], columns[columns >= 0]
    rank = (scores[rows] >= scores[rows, columns][:, None]).sum(1)
    return float((1 / np.log2(1 + rank))[rank <= k].sum() / len(targets))


def _fit(
    given: argparse.Namespace,
    learnt: pd.DataFrame,
    asked: pd.DataFrame,
    *,
    epochs: int,
    vectors: pd.DataFrame | None,
    watch: Watch | None = None,
) -> Scored:
    """Train on what is learnt and score it, as histories, for the users that are asked about."""
    seed_everything(given.seed)
    kind, parameters = RECIPES[given.model][0], _parameters(given)
    if kind is UniSRecModel:
        return _fit_unisrec(learnt, vectors, epochs, parameters, watch)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs,
            deterministic=True,
            devices=1,
            callbacks=[] if watch is None else [watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = kind(**parameters, get_trainer_func=trainer)
    dataset = Dataset.construct(learnt)

    def score(net: torch.nn.Module) -> Scored:
        return _transformer_scores(model, net, dataset, asked)

    if watch is not None:
        watch.score = lambda module: score(module.torch_model)
    model.fit(dataset)
    return score(model.torch_model)


@torch.no_grad()
def _transformer_scores(
    model: SASRecModel | BERT4RecModel | HSTUModel,
    net: torch.nn.Module,
    dataset: Dataset,
    asked: pd.DataFrame,
) -> Scored:
    """HSTU is told when it is asked, which is when the event that is asked about happened."""
    preparator = model.data_preparator
    context = asked.drop(columns=Columns.Item) if model.require_recommend_context else None
    histories = preparator.transform_dataset_u2i(dataset, asked[Columns.User].to_numpy(), context)
    was_training = net.training
    net.eval()
    items = net.item_model.get_all_embeddings()
    parts = []
    for batch in preparator.get_dataloader_recommend(histories, model.recommend_batch_size):
        on_device = {name: values.to(items.device) for name, values in batch.items()}
        last = net.encode_sessions(on_device, items)[:, -1]
        parts.append(net.similarity_module(last, items).cpu().numpy())
    net.train(was_training)
    return Scored(
        histories.user_id_map.external_ids,
        preparator.get_known_item_ids(),
        np.concatenate(parts)[:, preparator.n_item_extra_tokens :],
    )


class _WatchedUniSRec(UniSRecModel):
    """RecTools' UniSRec can stop early by what it learns from alone; this one is watched."""

    watch: Watch | None = None

    def _make_trainer(self, max_epochs: int, val_dl: object = None) -> Trainer:
        trainer = super()._make_trainer(max_epochs, val_dl)
        if self.watch is not None:
            trainer.callbacks.append(self.watch)
        return trainer


def _fit_unisrec(
    learnt: pd.DataFrame,
    vectors: pd.DataFrame,
    epochs: int,
    parameters: dict[str, Any],
    watch: Watch | None,
) -> Scored:
    """Train UniSRec, whose items are numbers from 1, and score as `_fit` does."""
    item_ids = vectors.index.to_numpy()
    items = torch.from_numpy(vectors.index.get_indexer(learnt[Columns.Item]) + 1)
    users, user_ids = pd.factorize(learnt[Columns.User])
    times = torch.arange(len(learnt))  # they are in order
    padded = torch.nn.functional.pad(torch.from_numpy(vectors.to_numpy()), (0, 0, 1, 0))
    model = _WatchedUniSRec(padded, epochs=epochs, **parameters)
    model.watch = watch

    @torch.no_grad()
    def score(net: torch.nn.Module) -> Scored:
        length = model.session_max_len
        histories = torch.zeros(len(user_ids), length, dtype=torch.long)
        numbers = model.map_item_ids(items)
        for user, places in learnt.groupby(users).indices.items():
            last = numbers[places[-length:]]
            histories[user, length - len(last) :] = last
        was_training = net.training
        net.eval()
        device = next(net.parameters()).device
        known = net.project_all().T
        parts = [(net.encode_last(part.to(device)) @ known).cpu() for part in histories.split(256)]
        net.train(was_training)
        return Scored(
            user_ids.to_numpy(),
            item_ids[model.item_id_mapping.numpy() - 1],
            torch.cat(parts)[:, 1:].numpy(),
        )

    if watch is not None:
        watch.score = lambda module: score(module.net)
    model.fit(torch.from_numpy(users), items, times)
    return score(model.net)


if __name__ == "__main__":
    main()
