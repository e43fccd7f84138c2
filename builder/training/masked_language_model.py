"""Domain adaptation without labels: BERT guesses masked words of the items' texts first.

The task is that of its pretraining (Devlin et al. 2019). Gururangan et al. 2020 measured what it
brings where texts are unlike those of the pretraining.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    get_linear_schedule_with_warmup,
)

from builder.errors import ConfigError
from builder.model.backbone import fit_embeddings, load_weights
from builder.progress import Progress, silent
from builder.training.parallel import is_main, wait
from builder.whole_files import put_in_place, unfinished_name

log = logging.getLogger(__name__)

MASKED: Final = 0.15
LEARNING_RATE: Final = 5e-5
BATCH: Final = 64
WARMUP: Final = 0.1
"""Share of the steps: a head that the checkpoint lacks begins at random."""


def adapt_to_texts(
    backbone: nn.Module,
    source: str,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    epochs: int,
    max_length: int,
    seed: int,
    file: Path,
    progress: Progress = silent,
) -> None:
    """Give `backbone` the weights that ``epochs`` over the texts lead to.

    Parameters
    ----------
    backbone, source, tokenizer
        An encoder, where it was loaded from, and its Hugging Face tokenizer.
    max_length
        Tokens after which a text is cut.
    file
        Where the weights are kept, for a run that is resumed and for the other processes.

    Raises
    ------
    ConfigError
        The architecture has no head for the task.
    """
    if is_main() and not file.is_file():
        with torch.random.fork_rng():  # what follows draws the same when the file is there
            torch.manual_seed(seed)
            weights = _learnt(source, tokenizer, texts, epochs, max_length, progress)
        unfinished = unfinished_name(file)
        save_file(weights, unfinished)
        put_in_place(unfinished, file)
    wait()
    missing, _ = backbone.load_state_dict(load_file(file), strict=False)
    # A pooler stands behind the token states, and nothing here or in the task reads it.
    if unknown := [name for name in missing if not name.startswith("pooler.")]:
        raise ConfigError(f"--mlm-epochs: {source} does not keep {unknown[0]} in this task")


def check_mask(tokenizer: Any, source: str) -> None:
    """Raise `ConfigError` where the tokenizer has no mask."""
    if tokenizer.mask_token is None:
        raise ConfigError(f"--mlm-epochs: the tokenizer of {source} has no mask; leave it out")


def _learnt(
    source: str,
    tokenizer: Any,
    texts: Sequence[str],
    epochs: int,
    max_length: int,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    """Weights of the encoder by name."""
    try:
        model: Any = load_weights(AutoModelForMaskedLM, source, f"--backbone {source}").model
    except ValueError as error:
        raise ConfigError(
            f"--mlm-epochs: {source} has no head that guesses masked words; leave it out"
        ) from error
    fit_embeddings(model, tokenizer.backend_tokenizer, f"--backbone {source}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    found = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    rows = [row for row in found if row]  # without special tokens a text may have none
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    steps = ceil(len(rows) / BATCH)
    total = epochs * steps
    schedule = get_linear_schedule_with_warmup(optimiser, ceil(WARMUP * total), total)
    losses = []
    for done in range(total):
        if done % steps == 0:
            order = torch.randperm(len(rows)).tolist()
        part = order[done % steps * BATCH : (done % steps + 1) * BATCH]
        batch = collate([{"input_ids": rows[index]} for index in part]).to(device)
        progress("guess masked words", done + 1, total)
        if (batch["labels"] != -100).any():  # of a few short texts none may be masked
            loss = model(**batch).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
    log.info(
        "masked words of the texts: loss %.3f in the first epoch, %.3f in the last of %d",
        sum(losses[:steps]) / max(len(losses[:steps]), 1),
        sum(losses[-steps:]) / max(len(losses[-steps:]), 1),
        epochs,
    )
    return {
        name: weight.detach().cpu().contiguous().clone()
        for name, weight in model.base_model.state_dict().items()
    }
