"""A training run from data to checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from builder import unfinished_run
from builder.data import Split
from builder.errors import ConfigError
from builder.evaluation.report import PROTOCOL, Row, model_rows
from builder.model.checkpoint import save_checkpoint
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from builder.training.budget import FILE, Budget
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import MOST_USERS
from builder.training.learning import (
    AGAIN,
    Candidate,
    Learnt,
    learn,
    learn_again,
    second_training,
)
from builder.training.model_card import model_card
from builder.training.parallel import is_main, of_main, world
from builder.training.preparation import MLM, Prepared, prepare
from builder.training.trackers import untracked
from builder.unfinished_run import partial_directory

log = logging.getLogger(__name__)

# What the rows of each model begin with.
_FROZEN: Final = "frozen BERT: "
_TUNED: Final = "fine-tuned: "
_AGAIN: Final = "trained again: "


def train(
    config: TrainingConfig,
    output: Path,
    *,
    resume: bool = False,
    track: Sequence[str] = (),
    minutes: float | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """Train and write the checkpoint `output`; the table that it ends with is returned.

    ``minutes`` is what the training may take, an interrupted run's time included; None for as long
    as it needs.

    Until the run is complete it lives in ``output.partial``, so `output` is never half written.
    Where there are several processes, the main one has the table and writes.

    Raises
    ------
    ConfigError
        `output` exists, or `resume` finds a run with other options, or none; one of the trackers
        that `track` names is not there; there are ``minutes`` for several processes.
    DataError, CheckpointError
        The data or the backbone cannot be read.
    TrainingError
        The training diverged.
    """
    if problems := untracked(track):
        raise ConfigError("\n".join(problems))
    check_precision(config.precision)
    directory = partial_directory(output)
    budget = _budget(minutes, directory)
    options = _options(config, minutes)
    if budget is not None:
        progress = budget.watched(progress)
    rows = of_main(lambda: _finished(options, output, resume=resume))
    if rows is not None:
        return rows
    if budget is not None and resume:
        budget.resume()
    prepared = prepare(
        config,
        directory / "encoder",
        begin=lambda: resume or of_main(lambda: unfinished_run.begin(output, options)),
        progress=progress,
    )
    learnt = learn(config, prepared, directory, track=track, budget=budget, progress=progress)
    best = learnt.best()
    again = _trained_again(config, prepared, learnt, best, directory, track, budget, progress)
    if not is_main():
        return []
    tested = again if config.refit != "all" else None
    split = prepared.data.split
    if again is None:  # no time for it: as `load_run` will split the log
        split = replace(split, refit=None)
    rows = _rows(learnt, tested, split, progress)
    if budget is not None:
        budget.log_end()
    saved = best.model if again is None else again
    name = _name(learnt, best) if tested is None else _AGAIN
    card = model_card(config, saved, split, rows, name)
    (directory / "README.md").write_text(card, "utf-8")
    _save(config, saved, split, rows, directory, trained_again=again is not None)
    return _publish(directory, output)


def _budget(minutes: float | None, directory: Path) -> Budget | None:
    if minutes is None:
        return None
    if world() > 1:
        raise ConfigError("--budget is for one process; leave it out, or start without torchrun")
    return Budget(minutes, directory)


def _trained_again(
    config: TrainingConfig,
    prepared: Prepared,
    learnt: Learnt,
    best: Candidate,
    directory: Path,
    track: Sequence[str],
    budget: Budget | None,
    progress: Progress,
) -> Recommender | None:
    """What a second training comes to; None where there is none, or no time for it."""
    histories = second_training(config, prepared.data.split)
    if histories is None:
        return None
    # With "all" it is this training that was asked for, so it is not left out.
    if budget is not None and config.refit != "all":
        tests = budget.tested(2 if learnt.tuned is None else 3, prepared.data)
        if not budget.has_time_again(best.steps, tests):
            return None
    return learn_again(config, prepared, best, histories, directory, track=track, progress=progress)


def _name(learnt: Learnt, best: Candidate) -> str:
    return _FROZEN if best is learnt.frozen else _TUNED


def _rows(learnt: Learnt, again: Recommender | None, split: Split, progress: Progress) -> list[Row]:
    models = {
        _FROZEN: learnt.frozen.model,
        _TUNED: None if learnt.tuned is None else learnt.tuned.model,
        _AGAIN: again,
    }
    return [
        row
        for name, model in models.items()
        if model is not None
        for row in model_rows(name, model, split.test, split.counted, progress=progress)
    ]


def _finished(options: dict[str, Any], output: Path, *, resume: bool) -> list[Row] | None:
    """The table of a run that was complete but for its name; raise where none can begin."""
    unfinished_run.check(output, options, resume=resume)
    directory = partial_directory(output)
    complete = resume and (directory / "config.json").is_file()
    return _publish(directory, output) if complete else None


def _options(config: TrainingConfig, minutes: float | None) -> dict[str, Any]:
    """What a run has to be continued with, as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return {**plain, "processes": world(), "budget": minutes}


def check_precision(precision: str) -> None:
    """Raise `ConfigError` where this machine's GPU cannot train in it; CPUs can."""
    if precision != "bf16" or not torch.cuda.is_available():
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"--precision bf16: {torch.cuda.get_device_name()} has no BF16, which NVIDIA GPUs have "
            "from Ampere on; give fp32"
        )


def _save(
    config: TrainingConfig,
    model: Recommender,
    split: Split,
    rows: list[Row],
    directory: Path,
    *,
    trained_again: bool,
) -> None:
    metrics: dict[str, Any] = {
        "protocol": PROTOCOL,
        "split": config.split,
        "rows": [each.to_dict() for each in rows],
    }
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    save_checkpoint(
        directory,
        model,
        split.validation.spread(MOST_USERS),
        config={
            "training": config.to_dict(),
            "trained_again": trained_again,
            "versions": versions,
        },
        metrics=metrics,
    )


def _publish(directory: Path, output: Path) -> list[Row]:
    """Give the complete run its own name; return its table."""
    for name in ("adapter", "tuning", f"adapter{AGAIN}", f"tuning{AGAIN}"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / "encoder" / MLM).unlink(missing_ok=True)
    (directory / FILE).unlink(missing_ok=True)
    metrics = json.loads((directory / "metrics.json").read_text("utf-8"))
    unfinished_run.finish(directory, output)
    return [Row(**row) for row in metrics["rows"]]
