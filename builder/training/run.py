"""A training run from data to checkpoint."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from torch import nn

from builder.data import Catalogue, DataConfig, Holdout, Sequences, Split, read, split_log
from builder.data.profiles import choose_item_profile, choose_profile, item_ids, with_profiles
from builder.data.vectors import check_met, side_by_side
from builder.errors import CheckpointError, ConfigError, DataError
from builder.evaluation.baselines import baselines
from builder.evaluation.ranking import rank_holdout
from builder.evaluation.report import PROTOCOL, Row, labelled_logits, model_rows, row
from builder.model.calibration import Calibration, fit_calibration
from builder.model.checkpoint import load_backbone, load_checkpoint, read_config, save_checkpoint
from builder.model.cold_items import stand_in
from builder.model.interest import AdapterConfig, InterestAdapter
from builder.model.new_items import with_catalogue
from builder.model.recommender import (
    Recommender,
    encode_texts,
    length_batches,
    pad_rows,
)
from builder.model.text_encoder import LowerLayers, NoLowerLayers, TextEncoder, layer_count
from builder.progress import Progress, silent
from builder.training.adapt import (
    MOST_USERS,
    choose_max_history,
    choose_tune_texts,
    chosen_on,
    plan_stages,
)
from builder.training.cold_choice import choose_cut
from builder.training.config import TrainingConfig, learning_layers, partial_directory
from builder.training.linear_choice import Terms, choose_companions, linear_terms
from builder.training.lora import check_installed, low_rank
from builder.training.objective import Loss, NextItemObjective, TuningObjective
from builder.training.parallel import check_parts, is_main, of_main, wait, world
from builder.training.progress import Round, nobody
from builder.training.text_vectors import FrozenTextVectors, TunedTextVectors
from builder.training.trackers import untracked
from builder.training.trainer import run_stage
from builder.training.windows import Windows
from model_repository.profile import ProfileColumn
from model_repository.text_tokenizer import TextTokenizer

log = logging.getLogger(__name__)

_OPTIONS: Final = "training.json"
_CALIBRATION_SEED: Final = 1
"""Not the one that the table's calibration error is measured with."""
_TUNING_ID_DROPOUT: Final = 0.5
"""Tuning is for what the text says, so in half of the cases an item stands as its text alone."""


@dataclass(frozen=True)
class _Data:
    catalogue: Catalogue
    split: Split
    actions: Sequence[str]
    profile: Sequence[ProfileColumn]
    item_profile: Sequence[ProfileColumn]
    modalities: Mapping[str, int]
    """Columns of vectors, and their widths."""

    @cached_property
    def chosen_on(self) -> Holdout:
        """The validation users that everything is chosen on."""
        return chosen_on(self.split.validation, len(self.catalogue))

    @property
    def popularity(self) -> torch.Tensor:
        counts = np.bincount(self.split.train.items, minlength=len(self.catalogue))
        return torch.from_numpy(counts)


def train(
    config: TrainingConfig,
    output: Path,
    *,
    resume: bool = False,
    track: Sequence[str] = (),
    progress: Progress = silent,
) -> list[Row]:
    """Train and write the checkpoint `output`; the table that it ends with is returned.

    Until the run is complete it lives in ``output.partial``, so `output` exists only as a whole.
    Where there are several processes, the main one has the table and writes.

    Raises
    ------
    ConfigError
        `output` exists, or `resume` finds a run with other options, or none; one of the trackers
        that `track` names is not there.
    DataError, CheckpointError
        The data or the backbone cannot be read.
    TrainingError
        The training diverged.
    """
    if problems := untracked(track):
        raise ConfigError("\n".join(problems))
    check_precision(config.precision)
    directory, rows = of_main(lambda: _begin(config, output, resume=resume))
    if rows is not None:
        return rows
    prepared = prepare(config, directory / "encoder", progress=progress)
    learnt = learn(config, prepared, directory, track=track, progress=progress)
    if not is_main():
        return []
    split = prepared.data.split
    rows = _baseline_rows(prepared.data)
    for name, candidate in (("frozen BERT: ", learnt.frozen), ("fine-tuned: ", learnt.tuned)):
        if candidate is not None:
            rows += model_rows(name, candidate.model, split.test, progress=progress)
    _save(config, learnt.best().model, split, rows, directory)
    return _publish(directory, output)


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

    data: _Data
    start: Recommender | None
    encoder: TextEncoder
    tokenizer: TextTokenizer
    text_vectors: torch.Tensor
    terms: Terms
    random: torch.Tensor


def prepare(config: TrainingConfig, directory: Path, *, progress: Progress = silent) -> Prepared:
    """Read the log and the backbone, whose tokenizer is kept in `directory`; seed everything."""
    transformers.set_seed(config.seed)
    start = None if config.warm_start is None else load_checkpoint(Path(config.warm_start))
    data = _read(config, start)
    backbone, hub_tokenizer = load_backbone(
        config.backbone if config.warm_start is None else f"{config.warm_start}/encoder"
    )
    if is_main():
        hub_tokenizer.save_pretrained(directory)
    wait()
    tokenizer = TextTokenizer(directory / "tokenizer.json", _max_length(config, backbone))
    _learning_layers(config, backbone)  # refused here, before any work
    encoder = TextEncoder(backbone, hub_tokenizer.pad_token_id, config.pooling)
    if start is not None:
        encoder = start.encoder
    vectors = encode_texts(encoder, tokenizer, data.catalogue.texts, progress=progress)
    terms = linear_terms(
        data.split.train, vectors.numpy(), config.linear_entries, progress=progress
    )
    return Prepared(data, start, encoder, tokenizer, vectors, terms, torch.get_rng_state())


def learn(
    config: TrainingConfig,
    prepared: Prepared,
    directory: Path,
    *,
    on_round: Round = nobody,
    track: Sequence[str] = (),
    progress: Progress = silent,
) -> Learnt:
    """Both stages, and what is chosen on validation users; test users are not looked at.

    `prepared` stays as it is. ``directory`` holds the state of the stages, from which they
    continue.
    """
    torch.set_rng_state(prepared.random)
    data, start, frozen_vectors = prepared.data, prepared.start, prepared.text_vectors
    encoder, tokenizer, terms = prepared.encoder, prepared.tokenizer, prepared.terms
    max_history = choose_max_history(config, data.split)
    if start is not None:
        max_history = start.adapter.config.max_history
    windows = Windows(data.split.train, max_history, config.data.clock)
    plan = plan_stages(config, len(windows), len(data.split.train.items))
    check_parts(plan.batch_size, config.accumulate)
    if start is None:
        adapter = _new_adapter(config, max_history, data, frozen_vectors)
    else:
        adapter = with_catalogue(start, data.catalogue, data.actions)
    with torch.no_grad():  # nothing can be learnt of an item without training events
        adapter.residual.weight[data.popularity == 0] = 0
        adapter.bias[data.popularity == 0] = 0

    log.info("stage 1: the adapter on frozen text vectors")
    objective = NextItemObjective(
        adapter,
        FrozenTextVectors(frozen_vectors),
        data.popularity,
        id_dropout=config.id_dropout,
        feature_dropout=config.feature_dropout,
        loss=_loss(config),
        bf16=config.precision == "bf16",
    )
    stage = partial(
        run_stage,
        windows=windows,
        validation=data.chosen_on,
        config=config,
        plan=plan,
        directory=directory,
        on_round=on_round,
        track=track,
        progress=progress,
    )
    stage("adapter", objective, tuning=False)
    frozen = _assemble(config, data, encoder, tokenizer, adapter, frozen_vectors, terms, progress)
    learning = _learning_layers(config, encoder.backbone)
    if not learning:
        return Learnt(frozen, None)
    encoder, adapter = copy.deepcopy(encoder), copy.deepcopy(adapter)
    _tune(config, data, encoder, tokenizer, adapter, frozen_vectors, learning, stage, progress)
    vectors = encode_texts(encoder, tokenizer, data.catalogue.texts, progress=progress)
    return Learnt(
        frozen, _assemble(config, data, encoder, tokenizer, adapter, vectors, terms, progress)
    )


def _begin(config: TrainingConfig, output: Path, *, resume: bool) -> tuple[Path, list[Row] | None]:
    """Where the run lives, and its table if it was complete but for its name."""
    directory = _open(config, output, resume=resume)
    complete = (directory / "config.json").is_file()
    return directory, _publish(directory, output) if complete else None


def _open(config: TrainingConfig, output: Path, *, resume: bool) -> Path:
    partial = partial_directory(output)
    options = partial / _OPTIONS
    if output.exists():
        raise ConfigError(f"--output {output} exists; choose another, or remove it to train again")
    if resume:
        if not options.is_file():
            raise ConfigError(
                f"--resume: there is no interrupted run at {partial}; leave --resume out"
            )
        try:
            begun = json.loads(options.read_text("utf-8"))
        except ValueError as error:
            raise ConfigError(
                f"--resume: {options} was not written to its end; leave --resume out"
            ) from error
        asked = _options(config)
        different = [name for name in asked if asked[name] != begun.get(name)]
        if different:
            raise ConfigError(
                f"--resume: the interrupted run had other options for {', '.join(different)}; "
                "repeat its options, or leave --resume out to begin again"
            )
        return partial
    if partial.exists():
        log.warning("an interrupted run at %s begins again; --resume would continue it", partial)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    options.write_text(json.dumps(_options(config), indent=2), "utf-8")
    return partial


def _options(config: TrainingConfig) -> dict[str, Any]:
    """What a run has to be continued with, as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return {**plain, "processes": world()}


def _read(config: TrainingConfig, start: Recommender | None) -> _Data:
    interactions, catalogue = read(config.data)
    split = split_log(
        Sequences.from_interactions(interactions, config.data.min_events),
        len(catalogue),
        method=config.split,
        hold_out_items=config.hold_out_items,
        seed=config.seed,
    )
    log.info(
        "%d users, %d items, %d training events; %d users for validation, %d for test",
        len(split.train),
        len(catalogue),
        len(split.train.items),
        len(split.validation),
        len(split.test),
    )
    if config.hold_out_items:
        log.info("%d items are held out of training altogether", len(split.cold_items))
    if interactions.time is None:
        log.info("the log has no times: the order of the file is taken for the order of events")
    if len(split.train.items) < 2:
        raise DataError("there are fewer than 2 training events; give a longer log")
    if start is None:
        met = np.bincount(split.train.items, minlength=len(catalogue)) > 0
        profile: Sequence[ProfileColumn] = (
            *choose_profile(split, interactions),
            *config.data.clock.columns,
        )
        items: Sequence[ProfileColumn] = choose_item_profile(
            config.data.item_profile, catalogue, met
        )
        check_met(catalogue.vectors, met)
        modalities = {name: vectors.shape[1] for name, vectors in catalogue.vectors.items()}
    else:
        profile, items = start.profile, start.item_profile
        modalities = dict(zip(start.modalities, start.adapter.config.modalities, strict=True))
        _check_same_columns(config)
    split = with_profiles(split, profile, interactions, config.data.clock)
    return _Data(catalogue, split, interactions.actions, profile, items, modalities)


def _check_same_columns(config: TrainingConfig) -> None:
    """Raise unless the run that is continued was told the same of users, items and requests."""
    training = read_config(Path(str(config.warm_start)))["training"]
    before = DataConfig.from_dict(training["data"])
    for name in ("profile", "item_profile", "item_vectors", "request_time"):
        asked, known = getattr(config.data, name), getattr(before, name)
        if set(known) != set(asked):
            raise ConfigError(
                f"--{name.replace('_', '-')} {','.join(asked) or 'left out'}: the run of "
                f"--warm-start knows {','.join(known) or 'none'}; give the same"
            )
    if config.data.time_zone != before.time_zone:
        raise ConfigError(
            f"--time-zone {config.data.time_zone}: the run of --warm-start goes by "
            f"{before.time_zone}; give the same"
        )


def _learning_layers(config: TrainingConfig, backbone: nn.Module) -> int:
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


def _max_length(config: TrainingConfig, backbone: nn.Module) -> int:
    positions = getattr(backbone.config, "max_position_embeddings", config.max_length)
    # RoBERTa and its kin number positions from pad_id + 1.
    return min(config.max_length, int(positions) - 2) if positions else config.max_length


def _new_adapter(
    config: TrainingConfig, max_history: int, data: _Data, text_vectors: torch.Tensor
) -> InterestAdapter:
    adapter = InterestAdapter(
        AdapterConfig(
            items=len(data.catalogue),
            text_width=text_vectors.shape[1],
            actions=len(data.actions),
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
            max_history=max_history,
            profile=tuple(column.ids for column in data.profile),
            item_profile=tuple(column.ids for column in data.item_profile),
            modalities=tuple(data.modalities.values()),
        )
    )
    if data.modalities:
        vectors = side_by_side(data.catalogue.vectors, data.modalities, len(data.catalogue))
        adapter.fit_modalities(torch.from_numpy(vectors), data.popularity > 0)
    if adapter.item_ids is not None:
        ids = item_ids(data.item_profile, data.catalogue.columns)
        adapter.item_ids.copy_(torch.from_numpy(ids))
    adapter.fit_whitening(text_vectors)
    return adapter


def _tune(
    config: TrainingConfig,
    data: _Data,
    encoder: TextEncoder,
    tokenizer: TextTokenizer,
    adapter: InterestAdapter,
    text_vectors: torch.Tensor,
    learning: int,
    stage: Callable[..., None],
    progress: Progress,
) -> None:
    """Train the last parts of the encoder, `learning` of them, and the adapter, in place."""
    lower: LowerLayers | NoLowerLayers
    if learning > layer_count(encoder.backbone):
        log.info("stage 2: all of BERT with the adapter")
        lower = NoLowerLayers(encoder)
    else:
        log.info("stage 2: the last %d BERT layers with the adapter", learning)
        lower = LowerLayers(encoder, learning)
    rows = [each.tokens for each in tokenizer(data.catalogue.texts)]
    states: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    encoder.eval()
    done = 0
    for part in length_batches([len(tokens) for tokens in rows], 128):
        hidden = lower.hidden(pad_rows([rows[index] for index in part], encoder.pad_id))
        for index, state in zip(part, hidden, strict=True):
            states[index] = state[: len(rows[index])].clone()
        done += len(part)
        progress("cache the lower layers", done, len(rows))
    lower.take_off()
    with ExitStack() as afterwards:
        afterwards.callback(lower.rejoin)
        if config.lora_rank:
            afterwards.enter_context(low_rank(encoder.backbone, lower.learning, config.lora_rank))
        texts = choose_tune_texts(config, [len(tokens) for tokens in rows])
        text = TunedTextVectors(
            encoder, lower, states, text_vectors, learning=texts, pieces=config.accumulate
        )
        objective = TuningObjective(
            adapter,
            text,
            data.popularity,
            text_vectors,
            id_dropout=max(config.id_dropout, _TUNING_ID_DROPOUT),
            feature_dropout=config.feature_dropout,
            loss=_loss(config),
            bf16=config.precision == "bf16",
        )
        stage("tuning", objective, tuning=True, depth=lower.depth())


def _loss(config: TrainingConfig) -> Loss:
    return Loss(config.loss, config.label_smoothing, config.contrastive)


def check_precision(precision: str) -> None:
    """Raise `ConfigError` where this machine's GPU cannot train in it; CPUs can."""
    if precision != "bf16" or not torch.cuda.is_available():
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"--precision bf16: {torch.cuda.get_device_name()} has no BF16, which NVIDIA GPUs have "
            "from Ampere on; give fp32"
        )


@dataclass(frozen=True)
class Candidate:
    """A model, and its validation NDCG@10: of the whole, and by text alone."""

    model: Recommender
    whole: float
    text: float

    @property
    def figure(self) -> float:
        """What is chosen by: the whole serves known items, and the text new ones."""
        return (self.whole + self.text) / 2


@dataclass(frozen=True)
class Learnt:
    """What both stages came to; the second may have been left out."""

    frozen: Candidate
    tuned: Candidate | None

    def best(self) -> Candidate:
        return self.frozen if self.tuned is None else better(self.frozen, self.tuned)


def _assemble(
    config: TrainingConfig,
    data: _Data,
    encoder: TextEncoder,
    tokenizer: TextTokenizer,
    adapter: InterestAdapter,
    text_vectors: torch.Tensor,
    terms: Terms,
    progress: Progress,
) -> Candidate:
    """Choose what stands beside the network, and the calibration, and put the model together."""
    model = Recommender(
        encoder=encoder,
        tokenizer=tokenizer,
        adapter=copy.deepcopy(adapter),
        linear=terms.text,
        calibration=Calibration(),
        catalogue=data.catalogue,
        text_vectors=text_vectors,
        actions=data.actions,
        met=data.popularity.numpy() > 0,
        profile=data.profile,
        item_profile=data.item_profile,
        modalities=tuple(data.modalities),
    )
    users = data.chosen_on
    companions = choose_companions(
        terms,
        model.scorer("network").scores(users.histories),
        users,
        data.split.train,
        adapter.config.max_history,
        progress=progress,
    )
    with torch.no_grad():
        model.adapter.bias.add_(torch.from_numpy(companions.prior))
    cold = ~model.met
    model = stand_in(replace(model, linear=companions.linear), cold)
    cut = choose_cut(model.scorer().scores(users.histories), cold, users, config.cold_cost)
    with torch.no_grad():
        model.adapter.bias[torch.from_numpy(cold)] -= cut
    model = replace(model, cold_cut=cut)
    pairs = labelled_logits(model.scorer(), users, seed=_CALIBRATION_SEED)
    text = rank_holdout(model.scorer("text"), users, len(data.catalogue)).ndcg(10)
    return Candidate(replace(model, calibration=fit_calibration(pairs)), companions.ndcg, text)


def better(frozen: Candidate, tuned: Candidate) -> Candidate:
    """Which of the two has the higher mean of NDCG@10 of the whole and by text alone."""
    keep = tuned if tuned.figure >= frozen.figure else frozen
    log.info(
        "validation NDCG@10, frozen and fine-tuned: whole model %.4f and %.4f, by text alone %.4f "
        "and %.4f; the %s one is kept",
        frozen.whole,
        tuned.whole,
        frozen.text,
        tuned.text,
        "fine-tuned" if keep is tuned else "frozen",
    )
    return keep


def _baseline_rows(data: _Data) -> list[Row]:
    items = len(data.catalogue)
    found = baselines(data.split.train, data.split.validation, items)
    return [row(name, scorer, data.split.test, items) for name, scorer in found.items()]


def _save(
    config: TrainingConfig, model: Recommender, split: Split, rows: list[Row], directory: Path
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
        config={"training": config.to_dict(), "versions": versions},
        metrics=metrics,
    )


def _publish(directory: Path, output: Path) -> list[Row]:
    """Give the complete run its own name; return its table."""
    for name in ("adapter", "tuning"):
        shutil.rmtree(directory / name, ignore_errors=True)
    metrics = json.loads((directory / "metrics.json").read_text("utf-8"))
    try:
        os.rename(directory, output)  # noqa: PTH104 - Path.rename on Windows replaces; this must not
    except OSError as error:
        raise CheckpointError(
            f"the run is complete at {directory} but could not be renamed to {output}: {error}"
        ) from error
    (output / _OPTIONS).unlink()
    return [Row(**row) for row in metrics["rows"]]
