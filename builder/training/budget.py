"""The time that a training may take: ``train --budget``.

How long each part takes is measured while the training goes on: a step and a validation of each
stage, and putting a model together. What is left is divided by that. The first stage ends early
enough that the others fit; what does not fit is left out, and the log says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, Final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from builder.model.recommender import encode_texts
from builder.model.text_encoder import TextEncoder
from builder.progress import Progress
from builder.training.data_dependent_defaults import Schedule, tune_texts
from builder.training.objective import NextItemObjective
from builder.training.preparation import TrainingData
from builder.training.text_vectors import TunedTextVectors
from builder.training.windows import Windows, collate
from builder.whole_files import write_whole
from model_repository.engines.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

FILE: Final = "budget.json"
"""What was used and measured, for a run that is resumed."""
FIRST: Final = 0.5
"""Share of the first stage in the time of both."""
ENDS: Final = 0.1
"""Share that is kept for all but the stages until it has been measured."""
VALIDATIONS: Final = 0.25
"""Most of the second stage's time that its validations may take."""
FEWEST_STEPS: Final = 25
"""Of the second stage, which is left out where fewer fit: a twelfth of the usual ones."""
_ROWS: Final = 3.5
"""What testing a model costs, in validations of as many users: those rank twice, with the network,
and a test three times, once with all terms, and measures the calibration."""
_SAMPLE: Final = 64
_TASK: Final = "budget, in seconds"


class Budget:
    """Seconds that a training may take, and what its parts were found to take.

    Parameters
    ----------
    minutes
        For the whole training; what an interrupted one has used of it counts.
    directory
        Of the unfinished run, where `keep` writes.
    """

    def __init__(self, minutes: float, directory: Path) -> None:
        self.seconds = 60 * minutes
        self.left_out: list[str] = []
        self._file = directory / FILE
        self._began = monotonic()
        self._shown = -1
        self._before = 0.0
        self._takes: dict[str, float] = {}
        self._tuning: Sequence[int] | None = None
        self.tunes: bool | None = None
        """Whether there is time for the second stage; None until that is known."""
        self._again: bool | None = None

    def resume(self) -> None:
        """Count what an interrupted run has used, if there was one."""
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            self._before = float(kept["used"])
            self._takes = {name: float(each) for name, each in kept["takes"].items()}
            self._tuning, self.tunes = kept["tuning"], kept["tunes"]
            self._again = kept["again"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return  # it had none

    @property
    def used(self) -> float:
        return self._before + monotonic() - self._began

    @property
    def left(self) -> float:
        return self.seconds - self.used

    def keep(self) -> None:
        """Write what was used and measured."""
        kept = {"used": self.used, "takes": self._takes}
        kept |= {"tuning": self._tuning, "tunes": self.tunes, "again": self._again}
        write_whole(self._file, json.dumps(kept))

    def watched(self, progress: Progress) -> Progress:
        """The same, with a bar of its own for the time."""

        def show(task: str, done: int, total: int) -> None:
            progress(task, done, total)
            used = min(int(self.used), int(self.seconds))
            if used > self._shown:
                self._shown = used
                progress(_TASK, used, int(self.seconds))

        return show

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Remember how long this takes."""
        began = monotonic()
        yield
        self._takes[part] = monotonic() - began
        self.keep()

    def takes(self, part: str) -> float:
        """Seconds of a part that was measured; 0 of one that was not."""
        return self._takes.get(part, 0.0)

    def tested(self, models: int, data: TrainingData) -> float:
        """Seconds that it takes to test so many models."""
        share = len(data.split.test) / max(1, len(data.chosen_on))
        return models * _ROWS * share * self.takes("validate")

    def first_stage(self, *, again: bool, least: float) -> EndInTime:
        """Ends the first stage in time for the second and for a training ``again``.

        ``least`` are the seconds of a second stage of `FEWEST_STEPS`; 0 where there is none.
        """
        both = (1 - ENDS) * self.left / (2 if again else 1)
        if self.tunes is None:
            self.tunes = 0 < least <= (1 - FIRST) * both
            if least and not self.tunes:
                self.leave_out(f"the second stage, which would take {least:.0f} s at the least")
        return EndInTime(self, "adapter", self.used + both * (FIRST if self.tunes else 1))

    def second_stage(
        self,
        usual: Schedule,
        objective: NextItemObjective,
        windows: Windows,
        batch_size: int,
        *,
        again: int,
        tested: float,
    ) -> tuple[Schedule, EndInTime] | None:
        """Rounds and steps that fit, and what ends them in time; None where too few fit.

        ``again`` is the number of steps of the first stage that a second training repeats, 0 where
        there is none; ``tested`` the seconds that the tests take.
        """
        step = self._takes.get("tuning") or _seconds_of_a_step(objective, windows, batch_size)
        encode = _seconds_of_texts(objective)
        rest = self.left - self.takes("assemble") - tested
        if again:
            rest -= again * self.takes("adapter") + self.takes("lower layers")
            rest -= self.takes("assemble")
            rest /= 2
        if self._tuning is None:
            fitting = _fitting(usual, rest, step, self.takes("validate") + encode)
        else:
            rounds, steps = self._tuning
            fitting = Schedule(rounds, steps, min(usual.warmup, rounds * steps // 10))
        if fitting.total < min(FEWEST_STEPS // 2, usual.total):
            self.leave_out(f"the second stage, of which {fitting.total} steps would fit")
            return None
        self._tuning = (fitting.rounds, fitting.steps)
        self.keep()
        log.info(
            "budget: %d of %d steps of the second stage, at %.2g s; %.0f s are left",
            fitting.total,
            usual.total,
            step,
            self.left,
        )
        return fitting, EndInTime(self, "tuning", self.used + rest - encode)

    def has_time_again(self, steps: Sequence[int], tested: float) -> bool:
        """Whether a training of as many steps of each stage fits; decided once for a run.

        A run that is resumed after that training began, or ended, would find less time left.
        """
        paces = (self.takes("adapter"), self.takes("tuning"))
        seconds = sum(count * pace for count, pace in zip(steps, paces, strict=False))
        seconds += self.takes("assemble")
        seconds += self.takes("lower layers") if len(steps) > 1 else 0
        if self._again is None:
            self._again = seconds + tested <= self.left
            self.keep()
        if self._again:
            return True
        self.leave_out(
            f"the second training, which would take {seconds:.0f} s where "
            f"{max(0, self.left - tested):.0f} s are left"
        )
        return False

    def leave_out(self, what: str) -> None:
        log.info("budget: there is no time for %s", what)
        self.left_out.append(what)

    def log_end(self) -> None:
        log.info(
            "budget: %.1f of %g min are used; left out for lack of time: %s",
            self.used / 60,
            self.seconds / 60,
            "; ".join(self.left_out) or "nothing",
        )

    def told_step(self, stage: str, seconds: float) -> None:
        self._takes[stage] = seconds


def measured(budget: Budget | None, part: str) -> AbstractContextManager[None]:
    """`Budget.measured`, where there is a budget."""
    return nullcontext() if budget is None else budget.measured(part)


def least_of_tuning(
    encoder: TextEncoder, tokenizer: TextTokenizer, texts: Sequence[str], share: float
) -> float:
    """Seconds of a second stage of `FEWEST_STEPS`, by what it takes to encode some texts.

    ``share`` of BERT's layers learns. A gradient takes twice as long as what it is of. Every text
    goes through BERT twice: here for the lower layers, and in a validation, where the Trainer runs.
    """
    some = list(texts[:: max(1, len(texts) // _SAMPLE)])
    tokens = sum(len(row.tokens) for row in tokenizer(some))
    device = training_device()
    here = there = _seconds_to_encode(encoder, tokenizer, some)
    if device.type != "cpu":
        there = _seconds_to_encode(encoder.to(device), tokenizer, some)
        encoder.cpu()
    learning = min(len(texts), tune_texts(len(texts), tokens / len(some)))
    step = 3 * share * there * learning / len(some)
    return FEWEST_STEPS * step + (here + there) * len(texts) / len(some)


def _seconds_to_encode(
    encoder: TextEncoder, tokenizer: TextTokenizer, texts: Sequence[str]
) -> float:
    encode_texts(encoder, tokenizer, texts[:1])  # the first call takes longer
    found = []
    for _ in range(3):  # the shortest: something else may have run meanwhile
        began = monotonic()
        encode_texts(encoder, tokenizer, texts)
        found.append(monotonic() - began)
    return min(found)


def training_device() -> torch.device:
    """Where a Trainer computes, unless it is told otherwise."""
    return TrainingArguments(report_to=[]).device


def _fitting(usual: Schedule, seconds: float, step: float, validate: float) -> Schedule:
    rounds = usual.rounds
    if validate:
        rounds = max(1, min(rounds, int(VALIDATIONS * seconds / validate)))
    steps = int((seconds - rounds * validate) / step / rounds)
    steps = max(0, min(usual.total // rounds, steps))
    return Schedule(rounds, steps, min(usual.warmup, rounds * steps // 10))


def _seconds_of_a_step(objective: NextItemObjective, windows: Windows, batch_size: int) -> float:
    """Measured with two, of which nothing is learnt."""
    batch = collate([windows[place] for place in range(min(batch_size, len(windows)))])
    with _as_it_will_train(objective) as device:
        there = {name: value.to(device) for name, value in batch.items()}  # type: ignore[attr-defined]
        objective.train()
        found = []
        for _ in range(2):
            began = monotonic()
            objective(**there)["loss"].backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # its work goes on when a call returns
            found.append(monotonic() - began)
            objective.zero_grad()
    return min(found)


@torch.no_grad()
def _seconds_of_texts(objective: NextItemObjective) -> float:
    """What a validation takes for all text vectors, by some of them, worked out twice."""
    text: TunedTextVectors = objective.text  # type: ignore[assignment]
    count = len(text.latest)
    some = torch.arange(0, count, max(1, count // _SAMPLE))
    with _as_it_will_train(objective) as device:
        objective.eval()
        found = []
        for _ in range(2):
            began = monotonic()
            text(some.to(device)).cpu()
            found.append(monotonic() - began)
    return min(found) * count / len(some)


@contextmanager
def _as_it_will_train(objective: NextItemObjective) -> Iterator[torch.device]:
    """Where the Trainer will run; afterwards all is as before, and draws what it would have."""
    text: TunedTextVectors = objective.text  # type: ignore[assignment]
    latest = text.latest.clone()
    device = training_device()
    objective.to(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield device
    objective.cpu()
    text.latest.copy_(latest)


class EndInTime(TrainerCallback):
    """Ends a stage with a validation when the budget has been used up to ``until``, in seconds.

    It measures a step of the stage and a validation on the way.
    """

    def __init__(self, budget: Budget, stage: str, until: float) -> None:
        self._budget = budget
        self._stage = stage
        self._until = until
        self._steps = 0
        self._stepping = 0.0
        self._began = 0.0
        self._ended = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **_: Any,
    ) -> None:
        self._ended = monotonic()
        self._stepping += self._ended - self._began
        self._steps += 1
        self._budget.told_step(self._stage, self._stepping / self._steps)
        if self._budget.used + self._budget.takes("validate") >= self._until:
            control.should_evaluate = control.should_save = control.should_training_stop = True

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        if self._stage == "adapter":
            self._budget.told_step("validate", monotonic() - self._ended)

    def on_save(self, *_: Any, **__: Any) -> None:
        self._budget.keep()
