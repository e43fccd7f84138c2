"""A small training run and what it is exported to; made once, and not to be changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from builder.export.options import ModelLayout
from builder.export.targets import TargetOptions
from builder.model.checkpoint import load_checkpoint
from builder.model.recommender import Recommender
from builder.training.run import train
from tests.graph_cache import graphs_exported_once
from tests.integration.small_run import export_run, reduce_movielens, small_config
from tests.shared import made_once

__all__ = ["graphs_exported_once"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, movielens: Path, minilm: Path) -> Path:
    def make(root: Path) -> None:
        data = reduce_movielens(movielens, root / "data")
        with pytest.MonkeyPatch.context() as patch:
            # One epoch may not be enough to be better; the fine-tuned one is what is served here.
            patch.setattr("builder.training.learning.better", lambda _, tuned: tuned)
            train(small_config(data, minilm), root / "checkpoint")

    return made_once(tmp_path_factory, "small-run", make) / "checkpoint"


@pytest.fixture(scope="session")
def model(run: Path) -> Recommender:
    return load_checkpoint(run)


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModelLayout], Path]:
    """Where the run lies as a repository of either layout, exported when it is first asked for."""

    @cache
    def export(layout: ModelLayout) -> Path:
        options = TargetOptions(layout=layout)
        return made_once(
            tmp_path_factory, f"small-{layout}", lambda path: export_run(run, path, options=options)
        )

    return export


@pytest.fixture(scope="session")
def repository(exported: Callable[[ModelLayout], Path]) -> Path:
    return exported("fused")


@pytest.fixture(scope="session")
def ensemble_repository(exported: Callable[[ModelLayout], Path]) -> Path:
    """The same checkpoint, each network a model of its own."""
    return exported("ensemble")
