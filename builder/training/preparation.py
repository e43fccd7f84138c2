"""The inputs of a training: the data, its split, and the backbone with its text vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
import transformers
from torch import nn

from builder.data import Catalogue, Holdout, Sequences, Split, read, split_log
from builder.data.profiles import choose_item_profile, choose_profile, with_profiles
from builder.data.vectors import check_coverage
from builder.errors import DataError
from builder.model.backbone import check_length
from builder.model.checkpoint import load_backbone, load_checkpoint
from builder.model.pooling import Pooling
from builder.model.recommender import Recommender
from builder.model.sentence_modules import SentenceModules, longest_text, read_sentence_modules
from builder.model.text_cache import encode_with_cache
from builder.model.text_encoder import TextEncoder, layer_count
from builder.progress import Progress, silent
from builder.training.config import TrainingConfig, learning_layers
from builder.training.data_dependent_defaults import chosen_on
from builder.training.earlier_run import check_continued
from builder.training.linear_term_choice import Terms, linear_terms
from builder.training.lora import check_installed
from builder.training.masked_language_model import adapt_to_texts, check_mask
from builder.training.parallel import is_main, wait
from model_repository.core.profile import ProfileColumn
from model_repository.engines.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

MLM: Final = "mlm.safetensors"
"""What BERT has learnt of masked words, until the run is complete."""


@dataclass(frozen=True)
class TrainingData:
    """The log and the items of a training, split, with what is known of both.

    Attributes
    ----------
    actions
        Names of the actions of the log.
    profile, item_profile
        Columns that are known of users and their requests, and of items.
    modalities
        Columns of vectors, and their widths.
    """

    catalogue: Catalogue
    split: Split
    actions: Sequence[str]
    profile: Sequence[ProfileColumn]
    item_profile: Sequence[ProfileColumn]
    modalities: Mapping[str, int]

    @cached_property
    def chosen_on(self) -> Holdout:
        """The validation users that everything is chosen on."""
        return chosen_on(self.split.validation, len(self.catalogue))

    @property
    def popularity(self) -> torch.Tensor:
        counts = np.bincount(self.split.train.items, minlength=len(self.catalogue))
        return torch.from_numpy(counts)

    @property
    def has_context(self) -> bool:
        return self.split.train.target is not None

    def learnt_from(self, train: Sequences) -> TrainingData:
        """The same with other training histories."""
        return replace(self, split=replace(self.split, train=train))


@dataclass(frozen=True)
class Prepared:
    """What a training starts from: all that is the same whatever the network and its rates are.

    Attributes
    ----------
    start
        The run to continue from, if there is one.
    text_vectors
        FP32 [n, h], by the encoder as it is.
    random
        State of torch's generator, so that each training from here draws what the first did.
    """

    data: TrainingData
    start: Recommender | None
    encoder: TextEncoder
    tokenizer: TextTokenizer
    text_vectors: torch.Tensor
    terms: Terms
    random: torch.Tensor


def prepare(
    config: TrainingConfig,
    directory: Path,
    *,
    begin: Callable[[], object] = lambda: None,
    progress: Progress = silent,
) -> Prepared:
    """Read the log and the backbone, whose tokenizer is kept in `directory`; seed everything.

    `begin` is called when all was read and found in order, before anything is written.
    """
    transformers.set_seed(config.seed)
    start = None
    if config.warm_start is not None:
        start = load_checkpoint(Path(config.warm_start))
        check_continued(config, Path(config.warm_start))
    data = _read(config, start, progress)
    source = config.backbone if config.warm_start is None else f"{config.warm_start}/encoder"
    backbone, hub_tokenizer = load_backbone(source)
    said = read_sentence_modules(source, f"--backbone {source}")
    max_length = longest_text(config.max_length, backbone, said)
    check_length(max_length, hub_tokenizer, f"--backbone {source}")
    layers_that_learn(config, backbone)  # refused here, before any work
    adapt = config.mlm_epochs and start is None
    if adapt:
        check_mask(hub_tokenizer, source)
    begin()
    if is_main():
        hub_tokenizer.save_pretrained(directory)
    wait()
    tokenizer = TextTokenizer(directory / "tokenizer.json", max_length)
    if adapt:
        adapt_to_texts(
            backbone,
            config.backbone,
            hub_tokenizer,
            data.catalogue.texts,
            epochs=config.mlm_epochs,
            max_length=max_length,
            seed=config.seed,
            file=directory / MLM,
            progress=progress,
        )
    if start is None:
        pooling = _pooling(config, said)
        encoder = TextEncoder(backbone, hub_tokenizer.pad_token_id, pooling)
    else:
        encoder = start.encoder
    vectors = encode_with_cache(
        encoder,
        tokenizer,
        directory / "tokenizer.json",
        data.catalogue.texts,
        write=is_main(),
        progress=progress,
    )
    terms = linear_terms(
        data.split.train, vectors.numpy(), config.linear_entries, progress=progress
    )
    return Prepared(data, start, encoder, tokenizer, vectors, terms, torch.get_rng_state())


def _read(config: TrainingConfig, start: Recommender | None, progress: Progress) -> TrainingData:
    interactions, catalogue = read(config.data, progress)
    split = split_log(
        Sequences.from_interactions(interactions, config.data.min_events),
        len(catalogue),
        method=config.split,
        hold_out_items=config.hold_out_items,
        hold_out=config.hold_out,
        seed=config.seed,
        refit=config.refit == "auto",
    )
    log.info(
        "%d users, %d items, %d training events; %d users for validation, %d for test",
        len(split.train),
        len(catalogue),
        len(split.train.items),
        len(split.validation),
        len(split.test),
    )
    if split.train.target is not None:
        log.info(
            "%d of the training events are targets; the others are context: seen items, "
            "which are not recommended again",
            split.train.target.sum(),
        )
    if config.hold_out_items:
        log.info("%d items are held out of training", len(split.cold_items))
    if interactions.time is None:
        log.info("the log has no times: events are taken in the order of the file")
    if len(split.train.items) < 2:
        raise DataError("there are fewer than 2 training events; give a longer log")
    if start is None:
        warm = np.bincount(split.train.items, minlength=len(catalogue)) > 0
        profile: Sequence[ProfileColumn] = (
            *choose_profile(split, interactions),
            *config.data.clock.columns,
        )
        items: Sequence[ProfileColumn] = choose_item_profile(
            config.data.item_profile, catalogue, warm
        )
        check_coverage(catalogue.vectors, warm)
        modalities = {name: vectors.shape[1] for name, vectors in catalogue.vectors.items()}
    else:
        profile, items = start.profile, start.item_profile
        modalities = dict(zip(start.modalities, start.adapter.config.modalities, strict=True))
    split = with_profiles(split, profile, interactions, config.data.clock)
    return TrainingData(catalogue, split, interactions.actions, profile, items, modalities)


def layers_that_learn(config: TrainingConfig, backbone: nn.Module) -> int:
    """What learns in the second stage, as `learning_layers` counts; 0 where there is none."""
    if config.tune_epochs == 0:
        return 0
    if config.warm_start is not None and config.tune_epochs is None:
        return 0  # BERT was tuned when the run was that this one continues
    layers = layer_count(backbone)
    if not layers:
        log.warning(
            "the layers of %s share their weights: the second stage is left out", config.backbone
        )
        return 0
    learning = learning_layers(config.freeze, layers)
    if learning and config.lora_rank:
        check_installed()
    return learning


def _pooling(config: TrainingConfig, said: SentenceModules) -> Pooling:
    """The pooling that was asked for, or that the backbone says; tells what was chosen."""
    if said.unused:
        log.warning(
            "--backbone %s: its modules.json has what is not used here: %s; the text vectors are "
            "its pooled token states, and what is above them is learnt",
            *(config.backbone, ", ".join(said.unused)),
        )
    pooling = (said.pooling or "mean") if config.pooling == "auto" else config.pooling
    log.info("pooling: %s; the backbone says %s", pooling, said.pooling or "nothing of use")
    return pooling
