"""Fine-tunes a pretrained encoder into a classifier; the result is a plain Hugging Face checkpoint.

Beside it lie ``README.md``, the model card, ``metrics.json``, and ``examples.jsonl``, validation
texts that an export is held against.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import EvalPrediction, SchedulerType

from builder import unfinished_run
from builder.classifier.checkpoint import (
    LONGEST,
    check_tokenizer,
    save_examples,
    uses_token_types,
)
from builder.classifier.config import ClassifierConfig
from builder.classifier.data import Examples, LabelledTexts, read_labelled_texts
from builder.classifier.metrics import classification_metrics
from builder.classifier.model_card import classifier_card
from builder.classifier.report import PROTOCOL, Row
from builder.errors import CheckpointError, ConfigError
from builder.model.backbone import (
    FILES,
    check_length,
    fit_embeddings,
    load_tokenizer,
    load_weights,
    try_out,
)
from builder.model.recommender import pad_rows
from builder.model.sentence_modules import longest_text, read_sentence_modules
from builder.model.text_encoder import layer_count, layer_list
from builder.progress import Progress, silent
from builder.training.progress import ReportProgress
from builder.training.trainer_state import Patience, last_state
from builder.unfinished_run import partial_directory
from model_repository.core.length_batches import length_batches
from model_repository.engines.tokenizer import TextTokenizer, TokenRow

log = logging.getLogger(__name__)

_TRAINER: Final = "trainer"
_EVALUATION_BATCH: Final = 128
_WARMUP: Final = 0.1
_SAVED_EXAMPLES: Final = 200


def train_classifier(
    config: ClassifierConfig, output: Path, *, resume: bool = False, progress: Progress = silent
) -> list[Row]:
    """Train and write the checkpoint `output`; the table that it ends with is returned.

    Until the run is complete it lives in ``output.partial``, so `output` is never half written.

    Raises
    ------
    ConfigError
        `output` exists, or `resume` finds a run with other options, or none.
    DataError, CheckpointError
        The data or the backbone cannot be read.
    """
    partial = partial_directory(output)
    unfinished_run.check(output, config.to_dict(), resume=resume)
    data = read_labelled_texts(config.data, config.seed, config.dialect)
    transformers.set_seed(config.seed)
    model, hub_tokenizer = _load_backbone(config, data.labels)
    if config.tune_layers is not None:
        _freeze_below(model, config.tune_layers)
    where = f"--backbone {config.backbone}"
    # The head is Hugging Face's own, and with it what it pools.
    said = read_sentence_modules(config.backbone, where)
    longest = longest_text(min(config.max_length, LONGEST), model, said)
    check_length(longest, hub_tokenizer, where, pairs=True)
    if not resume:
        unfinished_run.begin(output, config.to_dict())
    hub_tokenizer.model_max_length = longest
    hub_tokenizer.save_pretrained(partial)
    tokenize = TextTokenizer(partial / "tokenizer.json", longest)
    batches = _Batches(hub_tokenizer.pad_token_id, types=uses_token_types(model, hub_tokenizer))
    train, validation, test = (
        _TokenizedExamples(part, tokenize) for part in (data.train, data.validation, data.test)
    )
    log.info(
        "%d labels; %d examples for training, %d for validation, %d for the test",
        *(len(data.labels), len(train), len(validation), len(test)),
    )
    if repeated := data.repeated():
        log.warning(
            "the texts of %d of %d test examples are in the training split too", repeated, len(test)
        )
    rows = [_row("majority class", _majority(data), data.test)]
    found = predict(model, test.rows, batches, progress=progress)
    rows.append(_row("before fine-tuning", found, data.test))
    _fit(config, model, train, validation, batches, partial, progress)
    found = predict(model, test.rows, batches, progress=progress)
    rows.append(_row("after fine-tuning", found, data.test))
    model.save_pretrained(partial)  # type: ignore[operator]
    save_examples(partial, list(data.validation.pairs[:_SAVED_EXAMPLES]))
    _write_metrics(config, data, rows, partial)
    (partial / "README.md").write_text(classifier_card(config, data, rows), "utf-8")
    shutil.rmtree(partial / _TRAINER, ignore_errors=True)
    unfinished_run.finish(partial, output)
    return rows


@torch.no_grad()
def predict(
    model: nn.Module, rows: Sequence[TokenRow], batches: _Batches, *, progress: Progress = silent
) -> NDArray[np.float32]:
    """Probabilities FP32 [n, labels] of token rows."""
    model.eval()
    device = next(model.parameters()).device
    found: NDArray[np.float32] | None = None
    done = 0
    for part in length_batches([len(row.tokens) for row in rows], most=_EVALUATION_BATCH):
        inputs = batches.inputs([rows[index] for index in part])
        logits = model(**{name: value.to(device) for name, value in inputs.items()}).logits
        answers = logits.float().softmax(-1).cpu().numpy()
        if found is None:
            found = np.empty((len(rows), answers.shape[1]), np.float32)
        found[part] = answers
        done += len(part)
        progress("evaluate", done, len(rows))
    assert found is not None  # no split is empty
    return found


class _Batches:
    """Puts token rows together as the network takes them, padded to the longest."""

    def __init__(self, pad_id: int, *, types: bool) -> None:
        self._pad_id = pad_id
        self._types = types

    def inputs(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        ids = pad_rows([row.tokens for row in rows], self._pad_id)
        inputs = {"input_ids": ids, "attention_mask": (ids != self._pad_id).long()}
        if self._types:
            inputs["token_type_ids"] = pad_rows([row.types for row in rows], 0)
        return inputs

    def __call__(self, examples: Sequence[tuple[TokenRow, int]]) -> dict[str, Tensor]:
        rows, labels = zip(*examples, strict=True)
        return {**self.inputs(rows), "labels": torch.tensor(labels)}


class _TokenizedExamples(Dataset[tuple[TokenRow, int]]):
    def __init__(self, examples: Examples, tokenize: TextTokenizer) -> None:
        self.rows = tokenize(
            [text for text, _ in examples.pairs], [second for _, second in examples.pairs]
        )
        self.labels = examples.labels.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[TokenRow, int]:
        return self.rows[index], self.labels[index]


def _fit(
    config: ClassifierConfig,
    model: nn.Module,
    train: _TokenizedExamples,
    validation: _TokenizedExamples,
    batches: _Batches,
    partial: Path,
    progress: Progress,
) -> None:
    """Train to the end or until patience; `model` is left at its best epoch."""
    steps = config.epochs * -(-len(train) // config.batch_size)
    args = TrainingArguments(
        output_dir=str(partial / _TRAINER),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=_EVALUATION_BATCH,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type=SchedulerType.LINEAR,
        warmup_steps=int(_WARMUP * steps),
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="roc_auc",
        greater_is_better=True,
        report_to=[],
        disable_tqdm=True,  # `progress` is told instead
        remove_unused_columns=False,
        label_names=["labels"],
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # Several GPUs have as many times the batch.
    patience = Patience(config.patience * -(-len(train) // args.train_batch_size))
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=batches,
        compute_metrics=_validation_figures,
        callbacks=[patience],
    )
    trainer.add_callback(ReportProgress("train the classifier", progress))
    trainer.train(resume_from_checkpoint=last_state(partial / _TRAINER, patience))
    model.eval()


def _validation_figures(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = torch.from_numpy(prediction.predictions), np.asarray(prediction.label_ids)
    figures = classification_metrics(logits.softmax(-1).numpy(), labels)
    log.info("validation ROC-AUC %.4f, accuracy %.4f", figures["roc_auc"], figures["accuracy"])
    return figures


def _load_backbone(config: ClassifierConfig, labels: Sequence[str]) -> tuple[nn.Module, Any]:
    where = f"--backbone {config.backbone}"
    try:
        tokenizer = load_tokenizer(config.backbone, where)
        # The head of another classifier is replaced where it has another number of labels.
        model = load_weights(
            AutoModelForSequenceClassification,
            config.backbone,
            where,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type="single_label_classification",
        ).model
        fit_embeddings(model, tokenizer.backend_tokenizer, where)
        try_out(model, tokenizer, where)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a file of somebody else's leads to
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{where}: it cannot be loaded as a classifier ({reason}); {FILES}"
        ) from error
    check_tokenizer(tokenizer, where)
    return model, tokenizer


def _freeze_below(model: nn.Module, trainable: int) -> None:
    """Let only the last `trainable` layers of the encoder learn, and what is above."""
    encoder = model.base_model
    assert isinstance(encoder, nn.Module)
    if not layer_count(encoder):
        raise ConfigError(
            f"tune_layers {trainable}: the layers of the backbone share their weights, so none can "
            "be chosen; leave --tune-layers out"
        )
    _, _, layers = layer_list(encoder)
    if trainable > len(layers):
        raise ConfigError(
            f"tune_layers {trainable}: the backbone has {len(layers)} layers; choose 1 to "
            f"{len(layers)}"
        )
    embeddings = [
        module
        for name in ("embeddings", "embeddings_project")
        if isinstance(module := getattr(encoder, name, None), nn.Module)
    ]
    for module in (*embeddings, *layers[: len(layers) - trainable]):
        module.requires_grad_(requires_grad=False)


def _majority(data: LabelledTexts) -> NDArray[np.float32]:
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    shares = (counts / counts.sum()).astype(np.float32)
    return np.tile(shares, (len(data.test), 1))


def _row(name: str, probabilities: NDArray[np.float32], test: Examples) -> Row:
    return Row(name, len(test), classification_metrics(probabilities, test.labels))


def _write_metrics(
    config: ClassifierConfig, data: LabelledTexts, rows: Sequence[Row], partial: Path
) -> None:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    metrics = {
        "protocol": PROTOCOL,
        "labels": list(data.labels),
        "examples": {name: len(part) for name, part in parts.items()},
        "test_texts_also_in_training": data.repeated(),
        "rows": [row.to_dict() for row in rows],
        "training": config.to_dict(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"
    (partial / "metrics.json").write_text(text, "utf-8")
