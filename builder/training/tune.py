"""Searches for better options with Optuna (Akiba et al. 2019).

Each trial is a training as `builder.training.learning.learn` does it, with other options, and its
figure what a training itself chooses by: the mean of NDCG@10 of the full model and by text alone
on the validation users. No trial ranks for a test user, so that what is found can still be tested.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.trial import FrozenTrial, TrialState

from builder.errors import BuilderError, ConfigError, TrainingError
from builder.progress import Progress, silent
from builder.training.config import TrainingConfig
from builder.training.learning import learn
from builder.training.lora import check_installed
from builder.training.preparation import Prepared, prepare
from builder.training.search_space import Space

log = logging.getLogger(__name__)

_NAME: Final = "tritonrec"
_STARTUP: Final = 4
"""Trials that are not pruned, for others to be compared with."""
_ROUNDS: Final = 5
"""Validations before which none is pruned: the first ones say more of the learning rate's warmup
than of what a training comes to."""
_SETTLED: Final = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes
    ----------
    trials
        Those that are settled: the finished ones, the best first, and those that were pruned.
    importances
        Share of each option in what sets the better trials apart from the others (PED-ANOVA,
        Watanabe et al. 2023); empty where there are too few trials to tell.
    """

    trials: list[FrozenTrial]
    importances: dict[str, float]

    @property
    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE]

    @property
    def best(self) -> FrozenTrial | None:
        return next(iter(self.finished), None)

    @property
    def pruned(self) -> int:
        return len(self.trials) - len(self.finished)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "finished": len(self.finished),
            "pruned": self.pruned,
            "importances": self.importances,
            "trials": [
                {
                    "number": trial.number,
                    "figure": trial.value,
                    **trial.user_attrs,
                    "options": trial.params,
                }
                for trial in self.finished
            ],
        }


def tune(
    config: TrainingConfig,
    space: Space,
    file: Path,
    *,
    trials: int,
    seconds: float | None = None,
    on_best: Callable[[dict[str, Any]], None],
    progress: Progress = silent,
) -> StudyResult:
    """Try options from `space` until the study has so many settled trials, or the time is up.

    Parameters
    ----------
    config
        What is the same in all trials, and tried as it is first.
    file
        The study, an SQLite file. An existing one is continued; what was cut short is tried again.
    trials
        In all, with those that the study has.
    on_best
        Called with the options of each trial that is better than all before.

    Raises
    ------
    ConfigError
        `file` is no study, or one of other options or another space; LoRA is searched without peft.
    """
    if "lora_rank" in space and any(space["lora_rank"].ends):
        check_installed()  # else no trial with LoRA would come to anything
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_new = not file.exists()
    study = _open(file, config, space)
    missing = trials - len(_settled(study))
    if missing > 0:
        with tempfile.TemporaryDirectory() as directory:
            try:
                prepared = prepare(config, Path(directory), progress=progress)
            except BuilderError:
                if is_new:
                    file.unlink()  # else the mended command would meet a study of other options
                raise

            def settled(study: Study, trial: FrozenTrial) -> None:
                _log_trial(study, trial)
                progress("trials", len(_settled(study)), trials)
                if trial.state == TrialState.COMPLETE and study.best_trial == trial:
                    on_best(trial.params)

            progress("trials", trials - missing, trials)
            study.optimize(
                lambda trial: _figure(trial, config, space, prepared, progress),
                n_trials=missing,
                timeout=seconds,
                callbacks=[settled],
            )
    found = StudyResult(sorted(_settled(study), key=_worst_last), _importances(study))
    if found.best is not None:
        on_best(found.best.params)
    return found


def _worst_last(trial: FrozenTrial) -> float:
    """A pruned trial has the value that it was pruned at, or none."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return math.inf
    return -trial.value


def _figure(
    trial: Trial, config: TrainingConfig, space: Space, prepared: Prepared, progress: Progress
) -> float:
    """Train with options from `space`; the figure that it comes to."""
    options: dict[str, Any] = {
        name: dimension.suggest(trial, name) for name, dimension in space.items()
    }

    def judge(number: int, figure: float) -> None:
        trial.report(figure, number)
        if trial.should_prune():
            raise TrialPruned

    with tempfile.TemporaryDirectory() as directory:
        try:
            learnt = learn(
                replace(config, **options),
                prepared,
                Path(directory),
                on_round=judge,
                progress=progress,
            )
        except (TrainingError, ConfigError) as error:
            # It diverged, or its options exclude each other: as bad as options can be.
            log.info("trial %d: %s", trial.number, " ".join(str(error).split()))
            raise TrialPruned(str(error)) from error
    best = learnt.best()
    trial.set_user_attr("ndcg@10", best.ndcg)
    trial.set_user_attr("ndcg@10_text", best.text_ndcg)
    return best.figure


def _open(file: Path, config: TrainingConfig, space: Space) -> Study:
    asked = {
        "options": {name: value for name, value in _plain(config).items() if name not in space},
        "space": {name: str(dimension) for name, dimension in space.items()},
    }
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file.absolute()}",
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(_STARTUP, _ROUNDS + 1),
        )
        begun = study.user_attrs.get("asked")
    except Exception as error:  # the storage's own, and those of what is below it
        raise ConfigError(
            f"--study {file}: cannot be read or written as a study "
            f"({str(error).splitlines()[0]}); give another file"
        ) from error
    if begun is None:
        study.set_user_attr("asked", asked)
        study.enqueue_trial(_in_space(config, space))
    elif begun != asked:
        different = [
            name
            for part in asked
            for name in sorted({*asked[part], *begun[part]})
            if asked[part].get(name) != begun[part].get(name)
        ]
        raise ConfigError(
            f"--study {file}: it was begun with other values of {', '.join(different)}; repeat "
            "its options to continue it, or give another file"
        )
    _try_again(study)
    # Seeded alike, each call would begin with the draws that the first began with.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    return study


def _plain(config: TrainingConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return plain


def _in_space(config: TrainingConfig, space: Space) -> dict[str, Any]:
    """The options as they are given, those of them that could have been drawn."""
    given = {name: getattr(config, name) for name in space}
    return {name: value for name, value in given.items() if value in space[name]}


def _try_again(study: Study) -> None:
    """Queue trials that Ctrl-C or a kill ended: no other process works on the study."""
    queued = study.get_trials(states=(TrialState.WAITING,))
    tried = [trial.params for trial in _settled(study)]
    tried += [trial.system_attrs.get("fixed_params", {}) for trial in queued]
    for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.params not in tried:
            study.enqueue_trial(trial.params)
            tried.append(trial.params)


def _settled(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_SETTLED)


def _importances(study: Study) -> dict[str, float]:
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():  # that a figure of few trials says little; the caller knows
        warnings.simplefilter("ignore")
        try:
            return optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (RuntimeError, ValueError):  # fewer than two trials, or all alike
            return {}


def _log_trial(study: Study, trial: FrozenTrial) -> None:
    options = ", ".join(f"{name} {short(value)}" for name, value in trial.params.items())
    if trial.state != TrialState.COMPLETE:
        log.info("trial %d: given up; %s", trial.number, options)
    else:
        log.info(
            "trial %d: %.4f, the best is trial %d with %.4f; %s",
            trial.number,
            trial.value,
            study.best_trial.number,
            study.best_value,
            options,
        )


def short(value: Any) -> str:
    """As it is shown to people."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
