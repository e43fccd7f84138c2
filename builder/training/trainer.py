"""Hugging Face's Trainer, taught to rank the whole catalogue where it would compute a loss."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from transformers import EarlyStoppingCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_utils import SchedulerType, get_last_checkpoint

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.evaluation.ranking import rank_holdout
from builder.model.recommender import item_vectors, network_scores
from builder.training.config import TrainingConfig
from builder.training.objective import NextItemObjective
from builder.training.windows import Windows, collate

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
    ) -> None:
        self._validation = validation
        self._encoder_learning_rate = encoder_learning_rate
        super().__init__(
            model=objective,
            args=args,
            train_dataset=windows,
            eval_dataset=windows,  # asked for; `evaluate` ranks `validation` instead
            data_collator=collate,  # type: ignore[arg-type]
        )
        self.remove_callback(ProgressCallback)
        self.add_callback(_QuietProgress)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Rank the validation users with the network, with and without the items' ids."""
        model: NextItemObjective = self.model  # type: ignore[assignment]
        model.eval()
        with torch.no_grad():
            text_vectors = model.text(torch.arange(model.adapter.config.items))
        model.settle(text_vectors)
        scorers = {
            name: _NetworkScorer(model, text_vectors, text_only=text_only)
            for name, text_only in (("ndcg@10", False), ("ndcg@10_text", True))
        }
        items = model.adapter.config.items
        figures = {
            f"eval_{name}": rank_holdout(scorer, self._validation, items).ndcg(10)
            for name, scorer in scorers.items()
        }
        figures[f"eval_{SELECTION}"] = sum(figures.values()) / len(figures)
        self.log(figures)
        log.info(
            "epoch %g: validation NDCG@10 %.4f, by text alone %.4f",
            self.state.epoch or 0,
            figures["eval_ndcg@10"],
            figures["eval_ndcg@10_text"],
        )
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, figures
        )
        return figures

    def create_optimizer(self, *_: Any, **__: Any) -> torch.optim.Optimizer:
        """AdamW; no decay for biases and norms; the encoder learns at its own rate."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad:
                key = (name.startswith("text."), parameter.dim() > 1)
                groups.setdefault(key, []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": (self._encoder_learning_rate if of_encoder else None)
                    or self.args.learning_rate,
                    "weight_decay": self.args.weight_decay if matrix else 0.0,
                }
                for (of_encoder, matrix), parameters in groups.items()
            ]
        )
        return self.optimizer


class _NetworkScorer:
    def __init__(self, model: NextItemObjective, text_vectors: Tensor, *, text_only: bool) -> None:
        self._adapter = model.adapter
        with torch.no_grad():
            self._items = item_vectors(model.adapter, text_vectors, text_only=text_only)

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return network_scores(self._adapter, *self._items, histories)


class _QuietProgress(ProgressCallback):
    """The progress bar without the dictionaries that are printed through it."""

    def on_log(self, *_: Any, **__: Any) -> None: ...


def run_stage(
    name: str,
    objective: NextItemObjective,
    windows: Windows,
    validation: Holdout,
    config: TrainingConfig,
    directory: Path,
    *,
    tuning: bool,
) -> None:
    """Train until `config.patience`; `objective` is left at its best epoch.

    Continues from the stage's last checkpoint where there is one.
    """
    warmup_epochs = min(config.warmup_epochs, 0.1 * config.tune_epochs if tuning else np.inf)
    args = TrainingArguments(
        output_dir=str(directory / name),
        num_train_epochs=config.tune_epochs if tuning else config.epochs,
        per_device_train_batch_size=config.batch_size,
        # What the first stage learnt is refined here, not learnt again.
        learning_rate=config.learning_rate * (0.5 if tuning else 1.0),
        weight_decay=config.weight_decay,
        # Tuning has few epochs, and ends on the plateau that the decay brings; the first stage
        # ends by patience, at a horizon that nobody knows beforehand.
        lr_scheduler_type=(SchedulerType.LINEAR if tuning else SchedulerType.CONSTANT_WITH_WARMUP),
        warmup_steps=int(warmup_epochs * -(-len(windows) // config.batch_size)),
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=SELECTION,
        greater_is_better=True,
        report_to=[],
        remove_unused_columns=False,
        label_names=[],
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = NextItemTrainer(
        objective,
        args,
        windows,
        validation,
        encoder_learning_rate=config.tune_learning_rate if tuning else None,
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    trainer.add_callback(TensorBoardCallback(SummaryWriter(str(directory / "tensorboard" / name))))
    last = get_last_checkpoint(args.output_dir) if (directory / name).is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    objective.eval()
