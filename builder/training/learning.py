"""Runs both stages of a training, and chooses the rest of the model on the validation users."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from builder.data import Sequences, Split
from builder.data.profiles import item_ids
from builder.data.vectors import side_by_side
from builder.evaluation.ranking import rank_holdout
from builder.evaluation.report import labelled_logits
from builder.model.calibration import fit_calibration
from builder.model.cold_items import stand_in
from builder.model.dropout import quicken
from builder.model.interest import AdapterConfig, InterestAdapter
from builder.model.linear import LinearTerm
from builder.model.new_items import with_catalogue
from builder.model.popularity import Popularity
from builder.model.recommender import Recommender, pad_rows
from builder.model.scoring import counted
from builder.model.text_encoder import LowerLayers, NoLowerLayers, TextEncoder, layer_count
from builder.progress import Progress, silent
from builder.training.budget import Budget, least_of_tuning, measured
from builder.training.cold_rank import choose_cold_rank
from builder.training.config import TrainingConfig
from builder.training.data_dependent_defaults import (
    Plan,
    choose_max_history,
    choose_tune_texts,
    plan_stages,
)
from builder.training.linear_term_choice import Recipe, choose_closed_form, linear_terms
from builder.training.lora import low_rank
from builder.training.objective import Loss, NextItemObjective, TuningObjective
from builder.training.parallel import check_parts, of_main
from builder.training.preparation import Prepared, layers_that_learn
from builder.training.progress import Round, ignore
from builder.training.text_vectors import FrozenTextVectors, TunedTextVectors
from builder.training.trainer import run_stage
from builder.training.trend_choice import choose_trend
from builder.training.windows import Windows
from model_repository.core.calibration import Calibration
from model_repository.core.length_batches import length_batches

log = logging.getLogger(__name__)

_CALIBRATION_SEED: Final = 1
"""Not the one that the table's calibration error is measured with."""
AGAIN: Final = "-again"
"""What a stage's name ends with in the second training."""
_TUNING_ID_DROPOUT: Final = 0.5
"""Tuning is for what the text says, so in half of the cases an item stands as its text alone."""


@dataclass(frozen=True)
class Candidate:
    """A model, and what was chosen for it on the validation users.

    Attributes
    ----------
    ndcg, text_ndcg
        Validation NDCG@10: of the full model, and by text alone.
    recipe
        Of what stands beside the network.
    steps
        How many each of its stages took to its best epoch.
    """

    model: Recommender
    ndcg: float
    text_ndcg: float
    recipe: Recipe
    steps: tuple[int, ...]

    @property
    def figure(self) -> float:
        """What is chosen by: the full model serves known items, and the text new ones."""
        return (self.ndcg + self.text_ndcg) / 2


@dataclass(frozen=True)
class Learnt:
    """What both stages came to; the second may have been left out."""

    frozen: Candidate
    tuned: Candidate | None

    def best(self) -> Candidate:
        """The better one, in every process the same: on a GPU their figures need not agree."""
        tuned = self.tuned
        if tuned is None or not of_main(lambda: better(self.frozen, tuned) is tuned):
            return self.frozen
        return tuned


def learn(
    config: TrainingConfig,
    prepared: Prepared,
    directory: Path,
    *,
    on_round: Round = ignore,
    track: Sequence[str] = (),
    budget: Budget | None = None,
    progress: Progress = silent,
) -> Learnt:
    """Both stages, and what is chosen on validation users; test users are not looked at.

    `prepared` stays as it is. ``directory`` holds the state of the stages, from which they
    continue. ``budget`` is what they may take, None for as long as they need.
    """
    course = _Course(config, prepared, directory, None, on_round, track, progress, budget)
    learning = layers_that_learn(config, prepared.encoder.backbone)
    first = course.first()
    with measured(budget, "assemble"):
        frozen = course.assembled(first)
    if not learning or (budget is not None and not budget.tunes):
        return Learnt(frozen, None)
    second = course.second(first, learning)
    return Learnt(frozen, None if second is None else course.assembled(second))


def learn_again(
    config: TrainingConfig,
    prepared: Prepared,
    chosen: Candidate,
    train: Sequences,
    directory: Path,
    *,
    track: Sequence[str] = (),
    progress: Progress = silent,
) -> Recommender:
    """The same on other training histories, held-out events among them, with what was `chosen`.

    For as many steps; what stands beside the network is worked out anew by its recipe, the cut of
    cold items and the calibration stay.
    """
    log.info(
        "training again with the held-out events: %d events instead of %d",
        len(train.items),
        len(prepared.data.split.train.items),
    )
    terms = linear_terms(
        train,
        prepared.text_vectors.numpy(),
        config.linear_entries,
        only=chosen.recipe.term,
        progress=progress,
    )
    prepared = replace(prepared, data=prepared.data.learnt_from(train), terms=terms)
    course = _Course(config, prepared, directory, chosen, ignore, track, progress)
    network = course.first()
    if len(chosen.steps) > 1:
        second = course.second(network, layers_that_learn(config, prepared.encoder.backbone))
        assert second is not None  # without a budget nothing is left out
        network = second
    return course.assembled(network).model


@dataclass(frozen=True)
class _Network:
    """What the stages so far came to.

    Attributes
    ----------
    text_vectors
        FP32 [n, h], by the encoder.
    steps
        How many each stage took to its best epoch.
    """

    encoder: TextEncoder
    adapter: InterestAdapter
    text_vectors: torch.Tensor
    steps: tuple[int, ...]


@dataclass(frozen=True)
class _Course:
    """One way through the stages: everything is chosen on it, or has been `chosen` before."""

    config: TrainingConfig
    prepared: Prepared
    directory: Path
    chosen: Candidate | None
    on_round: Round
    track: Sequence[str]
    progress: Progress
    budget: Budget | None = None

    @cached_property
    def max_history(self) -> int:
        start = self.prepared.start
        if start is not None:
            return start.adapter.config.max_history
        return choose_max_history(self.config, self.prepared.data.split.test.histories)

    @cached_property
    def windows(self) -> Windows:
        train = self.prepared.data.split.train
        return Windows(train, self.max_history, self.config.data.clock)

    @cached_property
    def plan(self) -> Plan:
        events = len(self.prepared.data.split.train.items)
        plan = plan_stages(self.config, len(self.windows), events)
        check_parts(plan.batch_size, self.config.accumulate)
        return plan

    def first(self) -> _Network:
        """The adapter, learnt on the text vectors as they are."""
        torch.set_rng_state(self.prepared.random)
        config, data, start = self.config, self.prepared.data, self.prepared.start
        if start is None:
            adapter = self._new_adapter()
        else:
            adapter = with_catalogue(start, data.catalogue, data.actions, context=data.has_context)
        with torch.no_grad():  # nothing can be learnt of an item without training events
            adapter.residual.weight[data.popularity == 0] = 0
            adapter.bias[data.popularity == 0] = 0
        log.info("stage 1: the adapter on frozen text vectors")
        objective = NextItemObjective(
            adapter,
            FrozenTextVectors(self.prepared.text_vectors),
            data.popularity,
            id_dropout=config.id_dropout,
            feature_dropout=config.feature_dropout,
            loss=_loss(config),
            bf16=config.precision == "bf16",
        )
        steps = self._stage("adapter", objective, tuning=False)
        assert steps is not None  # the first stage is never left out
        return _Network(self.prepared.encoder, adapter, self.prepared.text_vectors, (steps,))

    def second(self, first: _Network, learning: int) -> _Network | None:
        """Copies of encoder and adapter, of which the last `learning` parts of BERT learnt along.

        None where there is no time for it.
        """
        # What LoRA draws must not depend on whether this process ran the first stage.
        torch.set_rng_state(self.prepared.random)
        config, data = self.config, self.prepared.data
        encoder, adapter = copy.deepcopy(first.encoder), copy.deepcopy(first.adapter)
        lower: LowerLayers | NoLowerLayers
        if learning > layer_count(encoder.backbone):
            log.info("stage 2: all of BERT with the adapter")
            lower = NoLowerLayers(encoder)
        else:
            log.info("stage 2: the last %d BERT layers with the adapter", learning)
            lower = LowerLayers(encoder, learning)
        rows = [each.tokens for each in self.prepared.tokenizer(data.catalogue.texts)]
        with measured(self.budget, "lower layers"):
            states = self._lower_states(lower, encoder, rows)
        lower.take_off()
        quicken(encoder.backbone)
        with ExitStack() as afterwards:
            afterwards.callback(lower.rejoin)
            if config.lora_rank:
                low = low_rank(encoder.backbone, lower.learning, config.lora_rank)
                afterwards.enter_context(low)
            texts = choose_tune_texts(config, [len(tokens) for tokens in rows])
            text = TunedTextVectors(
                encoder,
                lower,
                states,
                self.prepared.text_vectors,
                learning=texts,
                accumulate=config.accumulate,
            )
            objective = TuningObjective(
                adapter,
                text,
                data.popularity,
                self.prepared.text_vectors,
                id_dropout=max(config.id_dropout, _TUNING_ID_DROPOUT),
                feature_dropout=config.feature_dropout,
                loss=_loss(config),
                bf16=config.precision == "bf16",
            )
            steps = self._stage("tuning", objective, tuning=True, before=first.steps[0])
        if steps is None:
            return None
        # The stage ended by bringing all of them up to date.
        return _Network(encoder, adapter, text.latest.cpu(), (*first.steps, steps))

    def assembled(self, network: _Network) -> Candidate:
        """Put a model together: with what stands beside the network, and a calibration."""
        data, terms, chosen = self.prepared.data, self.prepared.terms, self.chosen
        model = Recommender(
            encoder=network.encoder,
            tokenizer=self.prepared.tokenizer,
            adapter=copy.deepcopy(network.adapter),
            linear=terms.text,
            calibration=Calibration(),
            catalogue=data.catalogue,
            text_vectors=network.text_vectors,
            actions=data.actions,
            warm=data.popularity.numpy() > 0,
            profile=data.profile,
            item_profile=data.item_profile,
            modalities=tuple(data.modalities),
            popularity=Popularity.of(data.split.train, len(data.catalogue)),
        )
        cold = ~model.warm
        if chosen is not None:
            linear, prior = terms.by(chosen.recipe)
            model = stand_in(_with_closed_form(model, linear, prior), cold)
            limit, calibration = chosen.model.cold_limit, chosen.model.calibration
            trend = counted(chosen.model.trend, data.split.everything, len(data.catalogue))
            model = replace(model, cold_limit=limit, calibration=calibration, trend=trend)
            return replace(chosen, model=model)
        users, known = data.chosen_on, data.split.counted_on_validation
        scores = model.scorer("network").scores(users.histories)
        longest = network.adapter.config.max_history
        closed_form = choose_closed_form(terms, scores, users, longest, progress=self.progress)
        # Asked last: beside a network alone, a trend can stand in for what other terms know better.
        trend, added = choose_trend(closed_form.logits, users, known, progress=self.progress)
        if trend:
            closed_form = choose_closed_form(
                terms, scores + added, users, longest, progress=self.progress
            )
        model = stand_in(_with_closed_form(model, closed_form.linear, closed_form.prior), cold)
        trend = counted(trend, data.split.everything, len(data.catalogue))
        model = replace(model, trend=trend)
        logits = model.scorer(log=known).logits(users.histories)
        model = replace(model, cold_limit=choose_cold_rank(logits, cold, users))
        pairs = labelled_logits(
            model.scorer(log=known), users, seed=_CALIBRATION_SEED, progress=self.progress
        )
        text = rank_holdout(model.scorer("text"), users, len(data.catalogue)).ndcg(10)
        model = replace(model, calibration=fit_calibration(pairs))
        return Candidate(model, closed_form.ndcg, text, closed_form.recipe, network.steps)

    def _new_adapter(self) -> InterestAdapter:
        config, data, text_vectors = self.config, self.prepared.data, self.prepared.text_vectors
        adapter = InterestAdapter(
            AdapterConfig(
                items=len(data.catalogue),
                text_width=text_vectors.shape[1],
                actions=len(data.actions),
                width=config.width,
                layers=config.layers,
                heads=config.heads,
                dropout=config.dropout,
                max_history=self.max_history,
                profile=tuple(column.ids for column in data.profile),
                item_profile=tuple(column.ids for column in data.item_profile),
                modalities=tuple(data.modalities.values()),
                context=data.has_context,
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

    def _lower_states(
        self, lower: LowerLayers | NoLowerLayers, encoder: TextEncoder, rows: list[list[int]]
    ) -> list[torch.Tensor]:
        """What the layers that do not learn make of each text, FP32 [tokens, h]."""
        states: list[torch.Tensor] = [torch.empty(0)] * len(rows)
        encoder.eval()
        done = 0
        for part in length_batches([len(tokens) for tokens in rows], most=128):
            hidden = lower.hidden(pad_rows([rows[index] for index in part], encoder.pad_id))
            for index, state in zip(part, hidden, strict=True):
                states[index] = state[: len(rows[index])].clone()
            done += len(part)
            self.progress("cache the lower layers", done, len(rows))
        return states

    def _stage(
        self, name: str, objective: NextItemObjective, *, tuning: bool, before: int = 0
    ) -> int | None:
        plan, end, budget = self.plan, None, self.budget
        if budget is not None and self.chosen is None:
            if not tuning:
                end = budget.first_stage(again=self._again, least=self._least_of_tuning())
            else:
                fitting = budget.second_stage(
                    plan.tuning,
                    objective,
                    self.windows,
                    plan.batch_size,
                    again=before if self._again else 0,
                    tested=budget.tested(3 if self._again else 2, self.prepared.data),
                )
                if fitting is None:
                    return None
                schedule, end = fitting
                plan = replace(plan, tuning=schedule)
        return run_stage(
            name if self.chosen is None else f"{name}{AGAIN}",
            objective,
            self.windows,
            self.prepared.data.chosen_on,
            self.config,
            plan,
            self.directory,
            tuning=tuning,
            steps=None if self.chosen is None else self.chosen.steps[tuning],
            on_round=self.on_round,
            track=self.track,
            end=end,
            progress=self.progress,
        )

    def _least_of_tuning(self) -> float:
        prepared = self.prepared
        learning = layers_that_learn(self.config, prepared.encoder.backbone)
        if not learning:
            return 0.0
        share = min(1.0, learning / layer_count(prepared.encoder.backbone))
        texts = prepared.data.catalogue.texts
        return least_of_tuning(prepared.encoder, prepared.tokenizer, texts, share)

    @property
    def _again(self) -> bool:
        """Whether a second training is to follow."""
        return second_training(self.config, self.prepared.data.split) is not None


def second_training(config: TrainingConfig, split: Split) -> Sequences | None:
    """The histories that the model is trained on again, if it is."""
    return split.everything if config.refit == "all" else split.refit


def _with_closed_form(
    model: Recommender, linear: LinearTerm, prior: NDArray[np.float32]
) -> Recommender:
    """The model with its linear term, and the prior added to its biases, in place."""
    with torch.no_grad():
        model.adapter.bias.add_(torch.from_numpy(prior))
    return replace(model, linear=linear)


def better(frozen: Candidate, tuned: Candidate) -> Candidate:
    """Which of the two has the higher mean of NDCG@10 of the full model and by text alone."""
    keep = tuned if tuned.figure >= frozen.figure else frozen
    log.info(
        "validation NDCG@10, frozen and fine-tuned: full model %.4f and %.4f, by text alone %.4f "
        "and %.4f; the %s one is kept",
        frozen.ndcg,
        tuned.ndcg,
        frozen.text_ndcg,
        tuned.text_ndcg,
        "fine-tuned" if keep is tuned else "frozen",
    )
    return keep


def _loss(config: TrainingConfig) -> Loss:
    return Loss(
        config.loss,
        config.label_smoothing,
        config.contrastive,
        config.text_pull,
        config.task_weights,
    )
