"""Hugging Face's Trainer, validated by a full ranking of the catalogue in place of a loss."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_utils import SchedulerType

from builder import unfinished_run
from builder.data.splits import Holdout
from builder.errors import TrainingError
from builder.evaluation.baselines import View
from builder.evaluation.ranking import ndcg_gain, rank_scores, user_chunk
from builder.model.recommender import item_vectors
from builder.model.scoring import network_scores
from builder.progress import Progress, silent
from builder.training import tasks
from builder.training.adversarial import START, perturbed
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import Plan
from builder.training.gradient_accumulation import accumulated_step
from builder.training.objective import NextItemObjective
from builder.training.parallel import is_main, of_main, wait, world
from builder.training.progress import ReportProgress, ReportRound, Round, ignore
from builder.training.text_vectors import TunedTextVectors
from builder.training.trackers import TellOptions
from builder.training.trainer_state import Patience, last_state
from builder.training.windows import Batch, Windows, collate
from builder.whole_files import put_in_place, unfinished_name

log = logging.getLogger(__name__)

SELECTION: Final = "ndcg@10_mean"
"""What the best epoch is chosen by: the mean of NDCG@10 with and without the items' ids on the
validation users, since the first serves known items and the second new ones."""


class NextItemTrainer(Trainer):
    """Trains a `NextItemObjective`; evaluates by full ranking of the validation users."""

    def __init__(
        self,
        objective: NextItemObjective,
        args: TrainingArguments,
        windows: Windows,
        validation: Holdout,
        *,
        encoder_learning_rate: float | None,
        adversarial: float = 0.0,
        accumulate: int = 1,
        view: View | None = None,
    ) -> None:
        self._view = view
        self._windows = windows
        self._accumulate = accumulate
        self._validation = validation
        self._encoder_learning_rate = encoder_learning_rate
        self._adversarial = adversarial
        super().__init__(
            model=objective,
            args=args,
            train_dataset=windows,
            eval_dataset=windows,  # asked for; `evaluate` ranks `validation` instead
            data_collator=collate,  # type: ignore[arg-type]
        )
        self.remove_callback(PrinterCallback)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Rank the validation users with the network, with and without the items' ids."""
        text_vectors = self.settle()
        model: NextItemObjective = self.model  # type: ignore[assignment]
        figures = {
            f"eval_{name}": self._ndcg(model, text_vectors, text_only=text_only)
            for name, text_only in (("ndcg@10", False), ("ndcg@10_text", True))
        }
        # One process decides for all: on a GPU no two runs of a sum need agree in their last digit.
        figures = of_main(lambda: figures)
        figures[f"eval_{SELECTION}"] = sum(figures.values()) / len(figures)
        self.log(figures)
        log.info(
            "epoch %.3g: validation NDCG@10 %.4f, by text alone %.4f",
            self.state.epoch or 0,
            figures["eval_ndcg@10"],
            figures["eval_ndcg@10_text"],
        )
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, figures
        )
        return figures

    def settle(self) -> Tensor:
        """Bring the adapter up to date with the text vectors FP [n, h], which are returned."""
        model: NextItemObjective = self.model  # type: ignore[assignment]
        model.eval()
        with torch.no_grad():
            text_vectors: Tensor = model.text(torch.arange(model.adapter.config.items))
        model.settle(text_vectors)
        return text_vectors

    def _ndcg(self, model: NextItemObjective, text_vectors: Tensor, *, text_only: bool) -> float:
        with torch.no_grad():
            items = item_vectors(model.ranking_adapter, text_vectors, text_only=text_only)
        gains = []
        for part in self._validation.chunks(user_chunk(model.adapter.config.items)):
            known = part.histories if self._view is None else self._view(part.histories)
            scores = network_scores(model.ranking_adapter, *items, known)
            if not np.isfinite(scores).all():
                option = "tune-learning-rate" if self._encoder_learning_rate else "learning-rate"
                raise TrainingError(
                    f"training diverged by epoch {self.state.epoch or 0:.3g}: the network's "
                    f"logits are not finite any more; give a lower --{option}"
                )
            rank = rank_scores(scores, part.histories, part.targets)
            gains.append(ndcg_gain(rank, 10))
        return float(np.concatenate(gains).mean())

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Of whole steps in every process: `accumulated_step` takes a process's part of them."""
        if world() == 1:
            return super().get_train_dataloader()
        loader: DataLoader[Any] = prepare_data_loader(
            DataLoader(
                self._windows,
                self.args.train_batch_size,
                sampler=RandomSampler(self._windows),
                collate_fn=collate,
                pin_memory=self.args.dataloader_pin_memory,
            ),
            device=self.args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            use_seedable_sampler=True,
        )
        return loader

    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        """Of the examples as they are, and where it is asked for of adversarial ones as well."""
        step = self._step
        if not self._adversarial or self.state.global_step < START * self.state.max_steps:
            return step(*arguments, **options)
        objective: NextItemObjective = self.model  # type: ignore[assignment]
        text: TunedTextVectors = objective.text  # type: ignore[assignment]
        words = text.encoder.backbone.get_input_embeddings().weight  # type: ignore[operator]
        with torch.random.fork_rng():  # so that the same texts are drawn again
            loss = step(*arguments, **options)
        latest = text.latest.clone()
        with perturbed(words, self._adversarial):
            step(*arguments, **options)
        text.latest.copy_(latest)
        return loss

    def _step(self, model: nn.Module, inputs: dict[str, Any], *others: Any, **named: Any) -> Tensor:
        if world() == self._accumulate == 1:
            return super().training_step(model, inputs, *others, **named)
        objective: NextItemObjective = self.model  # type: ignore[assignment]
        objective.train()
        batch: Batch = self._prepare_inputs(inputs)  # type: ignore[assignment]
        return accumulated_step(objective, batch, self._accumulate)

    def create_optimizer(self, *_: Any, **__: Any) -> torch.optim.Optimizer:
        """No decay for biases, norms and weights of tasks; these and the encoder have own rates."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad:
                rate = self.args.learning_rate
                if name.startswith("text.") and self._encoder_learning_rate:
                    rate = self._encoder_learning_rate
                elif name.startswith("tasks."):
                    rate = tasks.LEARNING_RATE
                groups.setdefault((rate, parameter.dim() > 1), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": rate,
                    "weight_decay": self.args.weight_decay if matrix else 0.0,
                }
                for (rate, matrix), parameters in groups.items()
            ]
        )
        return self.optimizer


_SCHEDULES: Final = {
    "constant": SchedulerType.CONSTANT_WITH_WARMUP,
    "linear": SchedulerType.LINEAR,
    "cosine": SchedulerType.COSINE,
}


class _AfterStep(TrainerCallback):
    def __init__(self, objective: NextItemObjective) -> None:
        self._objective = objective

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._objective.after_step()


def run_stage(
    name: str,
    objective: NextItemObjective,
    windows: Windows,
    validation: Holdout,
    config: TrainingConfig,
    plan: Plan,
    directory: Path,
    *,
    tuning: bool,
    steps: int | None = None,
    on_round: Round = ignore,
    track: Sequence[str] = (),
    view: View | None = None,
    end: TrainerCallback | None = None,
    progress: Progress = silent,
) -> int:
    """Train until `plan.patience` runs out; `objective` is left at its best epoch.

    Returns how many steps that epoch took. Where so many ``steps`` are asked for, the stage has
    these and `validation` is not looked at. ``view`` is what the network is shown of the histories
    there. ``end`` may end the stage sooner.

    Continues from the stage's last checkpoint where there is one, and does not train again what
    has been trained to its end.
    """
    if not is_main():
        track = ()
    trained = directory / name / "trained.safetensors"
    if trained.is_file():
        load_model(objective, trained)
        objective.eval()
        return _steps_of(trained)
    schedule = plan.tuning if tuning else plan.adapter
    choose = steps is None
    args = TrainingArguments(
        output_dir=str(directory / name),
        max_steps=schedule.total if steps is None else steps,
        per_device_train_batch_size=plan.batch_size,
        # What the first stage learnt is refined here, not learnt again.
        learning_rate=config.learning_rate * (0.5 if tuning else 1.0),
        weight_decay=config.weight_decay,
        lr_scheduler_type=_SCHEDULES[_schedule(config.schedule, tuning=tuning)],
        warmup_steps=schedule.warmup,
        max_grad_norm=1.0,
        eval_strategy="steps" if choose else "no",
        eval_steps=schedule.steps,
        save_strategy="steps",
        save_steps=schedule.steps,
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=schedule.steps,
        load_best_model_at_end=choose,
        metric_for_best_model=SELECTION,
        greater_is_better=True,
        report_to=list(track),
        run_name=f"{unfinished_run.name_of(directory)} {name}",
        disable_tqdm=True,  # `progress` is told instead
        remove_unused_columns=False,
        label_names=[],
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=world() > 1 and not torch.cuda.is_available(),  # it would look for GPUs
    )
    # transformers would copy the model to every GPU that it sees, and multiply the batch by them;
    # several GPUs are for `torchrun`, see `builder.training.parallel`.
    args._n_gpu = min(args.n_gpu, 1)  # noqa: SLF001
    trainer = NextItemTrainer(
        objective,
        args,
        windows,
        validation,
        encoder_learning_rate=config.tune_learning_rate if tuning else None,
        adversarial=config.adversarial if tuning else 0.0,
        accumulate=config.accumulate,
        view=view,
    )
    patience = Patience(plan.patience * schedule.steps)
    if choose:
        trainer.add_callback(patience)
    trainer.add_callback(_AfterStep(objective))
    if end is not None:
        trainer.add_callback(end)
    task = "train BERT along" if tuning else "train the network"
    trainer.add_callback(ReportProgress(task if choose else f"{task} again", progress))
    first = plan.adapter.rounds if tuning else 0
    trainer.add_callback(ReportRound(on_round, SELECTION, first=first, steps=schedule.steps))
    options = TellOptions(track, config.to_dict())
    trainer.add_callback(options)
    with ExitStack() as open_files:
        if is_main():
            writer = open_files.enter_context(SummaryWriter(str(directory / "tensorboard" / name)))
            trainer.add_callback(TensorBoardCallback(writer))
        state = of_main(lambda: last_state(directory / name, patience if choose else None))
        trainer.train(resume_from_checkpoint=state)
    options.end()
    if steps is None:
        steps = int(trainer.state.best_global_step or 0)
    else:
        trainer.settle()
    objective.finish()
    objective.eval()
    objective.cpu()
    wait()  # for those that still read the best state
    if is_main():
        _keep(objective, trained, steps)
    wait()
    return steps


def _schedule(option: str, *, tuning: bool) -> str:
    if option != "auto":
        return option
    # Tuning has few epochs, and ends on the plateau that the decay brings; the first stage ends by
    # patience, at a step that is not known beforehand.
    return "linear" if tuning else "constant"


def _keep(objective: NextItemObjective, trained: Path, steps: int) -> None:
    """Write what a stage has come to, after how many steps, and remove the states on the way."""
    unfinished = unfinished_name(trained)
    save_model(objective, str(unfinished), metadata={_STEPS: str(steps)})
    put_in_place(unfinished, trained)
    for state in trained.parent.glob("checkpoint-*"):
        shutil.rmtree(state)


def _steps_of(trained: Path) -> int:
    with safe_open(trained, framework="pt") as file:
        return int(file.metadata()[_STEPS])


_STEPS: Final = "steps"
