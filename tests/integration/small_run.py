"""A real, small training run: MovieLens' 200 busiest films and a real BERT, in seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from builder.data import DataConfig
from builder.training.config import TrainingConfig

FILMS = 200


def reduce_movielens(movielens: Path, directory: Path) -> Path:
    """Write the log and the items of the `FILMS` films with the most events."""
    log = pd.read_csv(movielens / "ml-100k.inter", sep="\t", dtype=str)
    items = pd.read_csv(movielens / "ml-100k.item", sep="\t", dtype=str, keep_default_na=False)
    busiest = log["item_id:token"].value_counts(sort=True).index[:FILMS]
    directory.mkdir(parents=True)
    log[log["item_id:token"].isin(busiest)].to_csv(directory / "small.inter", sep="\t", index=False)
    items[items["item_id:token"].isin(busiest)].to_csv(
        directory / "small.item", sep="\t", index=False
    )
    return directory


def small_config(data: Path, backbone: Path, seed: int = 0) -> TrainingConfig:
    return TrainingConfig(
        DataConfig(data, min_rating=4, min_events=30),
        str(backbone),
        epochs=4,
        tune_epochs=1,
        freeze="-1",
        width=32,
        max_history=30,
        seed=seed,
    )
