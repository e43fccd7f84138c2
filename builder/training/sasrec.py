"""SASRec (Kang & McAuley 2018): the network of the model over item ids alone, as a baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Split
from builder.evaluation.baselines import View, Viewed
from builder.evaluation.ranking import Scorer
from builder.model.interest import AdapterConfig, InterestAdapter
from builder.model.scoring import network_scores
from builder.progress import Progress, silent
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import choose_max_history, chosen_on, plan_stages
from builder.training.objective import NextItemObjective
from builder.training.text_vectors import FrozenTextVectors
from builder.training.trainer import run_stage
from builder.training.windows import Windows


class Sasrec:
    """A trained SASRec (a `builder.evaluation.ranking.Scorer`)."""

    def __init__(self, adapter: InterestAdapter) -> None:
        self._adapter = adapter

    @torch.no_grad()
    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        adapter = self._adapter
        return network_scores(adapter, adapter.residual.weight, adapter.bias, histories)


def train_sasrec(
    split: Split,
    items: int,
    actions: int,
    config: TrainingConfig,
    directory: Path,
    *,
    view: View = Sequences.without_context,
    progress: Progress = silent,
) -> Scorer:
    """Train by the first stage of a run, with its loss and its patience; no item has a text.

    With softmax over the catalogue it is stronger than the original with its one sampled negative
    (Klenitskiy & Vasilev 2023). ``directory`` holds the state of the training. Where a model is
    trained again with the validation events, so is this. ``view`` is of the histories that it
    learns from and is asked with: their targets alone, or all events alike.
    """
    validation = chosen_on(split.validation, items)
    max_history = choose_max_history(config, view(split.test.histories))

    def trained(name: str, train: Sequences, steps: int | None) -> tuple[InterestAdapter, int]:
        torch.manual_seed(config.seed)
        train = view(train)
        windows = Windows(train, max_history)
        adapter = InterestAdapter(
            AdapterConfig(
                items=items,
                text_width=1,
                actions=actions,
                width=config.width,
                layers=config.layers,
                heads=config.heads,
                dropout=config.dropout,
                max_history=max_history,
            )
        )
        popularity = torch.from_numpy(np.bincount(train.items, minlength=items))
        with torch.no_grad():
            adapter.residual.weight[popularity == 0] = 0
        # Vectors of zeros through a projection that stays at zero: nothing is known by its text.
        adapter.project.requires_grad_(requires_grad=False)
        objective = NextItemObjective(
            adapter,
            FrozenTextVectors(torch.zeros(items, 1)),
            popularity,
            id_dropout=0.0,
            feature_dropout=config.feature_dropout,
        )
        plan = plan_stages(config, len(windows), len(train.items))
        steps = run_stage(
            name,
            objective,
            windows,
            validation,
            config,
            plan,
            directory,
            tuning=False,
            steps=steps,
            view=view,
            progress=progress,
        )
        return adapter, steps

    adapter, steps = trained("sasrec", split.train, None)
    if split.refit is not None:
        adapter, _ = trained("sasrec-again", split.refit, steps)
    return Viewed(Sasrec(adapter), view)
