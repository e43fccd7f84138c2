"""A real, small training run: MovieLens' 200 busiest films and a real BERT, in seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from builder.data import DataConfig
from builder.export.layout import Limits
from builder.export.pipeline import Exported, publish, target_named
from builder.export.recommender import recommender
from builder.export.targets import Target, TargetOptions
from builder.progress import Progress, silent
from builder.training.config import TrainingConfig

FILMS = 200
LIMITS = Limits(max_top_k=50, max_rows=16)


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


def export_run(
    run: Path,
    repository: Path,
    limits: Limits = LIMITS,
    *,
    target: Target | None = None,
    options: TargetOptions | None = None,
    progress: Progress = silent,
) -> Exported:
    """Publish a run; to the embedded target with its ``options``, unless another is given."""
    chosen = target or target_named("embedded", options)
    exportable = recommender(run, chosen, limits)
    return publish(exportable, repository, chosen, progress=progress)
