"""The training objective: predict the next item at every position of every history.

By default softmax cross-entropy over the catalogue. Above `FULL_SOFTMAX_LIMIT` items, or where it
is asked for, the items of the batch and uniformly drawn ones compete, see
`builder.training.losses`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from builder.model.interest import InterestAdapter
from builder.model.recommender import item_vectors
from builder.training.losses import contrastive, softmax
from builder.training.tasks import TaskWeights
from builder.training.text_vectors import TextVectors

AVERAGED: Final = 0.95
"""What a moving average of the weights keeps in a step: the last 20 steps or so count."""
FULL_SOFTMAX_LIMIT: Final = 8_192
SAMPLED_ITEMS: Final = 4_096
NO_TARGET: Final = -100
PARTS: Final = 4
FEWEST_ROWS: Final = 8
"""A step's histories go through the network in so many parts at most, and none but the last has
fewer of them than this."""
NEXT: Final = "next"
CONTRAST: Final = "contrast"
PULL: Final = "pull"


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Attributes
    ----------
    kind
        One of `builder.training.config.LossKind`.
    smoothing
        Share of each target that all candidates have.
    contrastive
        Weight of the contrastive loss between the texts and the items of the targets of a step.
    text_pull
        Weight of the pull of each text to its item, in the second stage.
    task_weights
        What becomes of the weights of these and of the next item, which has 1: one of
        `builder.training.config.TaskWeighting`.
    """

    kind: str = "softmax"
    smoothing: float = 0.0
    contrastive: float = 0.0
    text_pull: float = 1.0
    task_weights: str = "fixed"


class ItemVectors(NamedTuple):
    """Of m items, FP [m, d] each: by text alone, as the item itself, and as it stands in a step.

    ``bias`` is FP [m], ``pull`` how far the texts are from where they are drawn to, FP [], if they
    are.
    """

    text: Tensor
    item: Tensor
    used: Tensor
    bias: Tensor
    pull: Tensor | None


class Step(NamedTuple):
    """What all histories of a step have in common.

    ``place`` INT64 [n] is where a catalogue item stands among the vectors; those that compete stand
    first, and ``chance`` FP [C] is the logarithm of the chance of each to do so. ``targets`` INT64
    are the places of the target items, each once.
    """

    vectors: ItemVectors
    place: Tensor
    chance: Tensor
    targets: Tensor


class NextItemObjective(nn.Module):
    """The adapter, the text vectors that it reads, and the loss, as one module for a Trainer.

    Parameters
    ----------
    adapter
        Learns.
    text
        Gives the text vectors of catalogue items; learns or not.
    popularity
        Training events of each item, INT64 [n]; the sampled softmax corrects by it.
    id_dropout
        Share of items that are known by their text alone in a step.
    feature_dropout
        Share of histories and profiles whose features are not known in a step.
    loss
        What is minimised; which tasks it has must not change afterwards where weights are learnt.
    bf16
        Run BERT and the layers over the history in BF16.
    """

    popularity: Tensor

    def __init__(
        self,
        adapter: InterestAdapter,
        text: TextVectors,
        popularity: Tensor,
        *,
        id_dropout: float,
        feature_dropout: float,
        loss: Loss = Loss(),
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.text = text
        self.id_dropout = id_dropout
        self.feature_dropout = feature_dropout
        self.loss = loss
        self.bf16 = bf16
        self.register_buffer("popularity", popularity, persistent=False)
        self.average = self._new_average()
        self.tasks = TaskWeights(loss.task_weights, self._tasks())

    def _tasks(self) -> tuple[str, ...]:
        """Those that have a weight above 0."""
        return (NEXT, CONTRAST) if self.loss.contrastive else (NEXT,)

    def _new_average(self) -> AveragedModel | None:
        """A moving average of the adapter's weights (Polyak & Juditsky 1992).

        The first stage ends by patience at a constant rate, where one epoch's figures differ by
        chance: those of seed 0 on MovieLens-100K went .0995, .0935, .1006, .0931 on validation,
        and the average's .1023, .1028, .1012, .0950. Part of the Trainer's checkpoint, as a module.
        """
        average = AveragedModel(self.adapter, multi_avg_fn=_towards)
        return average.requires_grad_(requires_grad=False)

    @property
    def ranking_adapter(self) -> InterestAdapter:
        """The weights that rank: the average's where there is one."""
        if self.average is None:
            return self.adapter
        averaged: InterestAdapter = self.average.module  # type: ignore[assignment]
        return averaged

    def after_step(self) -> None:
        """Called after every step of the optimiser."""
        if self.average is not None:
            self.average.update_parameters(self.adapter)

    def finish(self) -> None:
        """Leave the weights that rank in the adapter."""
        self.adapter.load_state_dict(self.ranking_adapter.state_dict())

    def forward(
        self,
        items: Tensor,
        targets: Tensor,
        actions: Tensor,
        gaps: Tensor,
        profiles: Tensor | None = None,
        context: Tensor | None = None,
    ) -> dict[str, Any]:
        """Mean loss of the next item, with what the other tasks add.

        Parameters
        ----------
        items, actions, gaps
            INT64 [B, S], padded on the right with 0.
        targets
            INT64 [B, S + 1]: what follows the first 0, 1, … S events, else `NO_TARGET`.
        profiles
            INT64 [B, P], or [B, S + 1, P]: ids of the users' profiles, if there are any, or of
            their profiles and the times of the requests that the targets answer.
        context
            BOOL [B, S + 1], which of the targets are events that no recommendation is to lead to:
            they are predicted as such, by states that are moved by the adapter's ``aside``.
        """
        step = self.begin(items, targets)
        loss = self.of_histories(step, items, targets, actions, gaps, profiles, context)
        return {"loss": loss + self.of_items(step)}

    def begin(self, items: Tensor, targets: Tensor) -> Step:
        """What all histories of a step have in common; for the parameters see `forward`."""
        candidates, chance = self._candidates(targets)
        # Events that are no target need a vector too, behind those that compete.
        read = torch.unique(items)
        wanted = torch.cat([candidates, read[~torch.isin(read, candidates)]])
        found = self._item_vectors(wanted)
        place = torch.zeros(self.adapter.config.items, dtype=torch.long, device=items.device)
        place[wanted] = torch.arange(len(wanted), device=items.device)
        return Step(found, place, chance, torch.unique(place[targets[targets != NO_TARGET]]))

    def of_histories(
        self,
        step: Step,
        items: Tensor,
        targets: Tensor,
        actions: Tensor,
        gaps: Tensor,
        profiles: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Mean loss FP [] of the targets of some of the step's histories, see `forward`.

        As its task counts: the mean over the parts of a step is that of the step.
        """
        found, place, chance, _ = step
        if self.training and self.feature_dropout:
            # An event whose action or time is not known must read well too.
            known = torch.rand(2, len(items), 1, device=items.device) >= self.feature_dropout
            actions, gaps = actions * known[0], gaps * known[1]
            if profiles is not None and self.adapter.config.profile:
                profiles = profiles * self._known_of_profiles(profiles)
        found_states, found_targets = [], []
        for rows, events in _of_like_length(targets):
            with self._precision(items.device):
                states = self.adapter.states(
                    found.used[place[items[rows, :events]]],
                    actions[rows, :events],
                    gaps[rows, :events],
                    _until(profiles, rows, events),
                )
            if context is not None and self.adapter.aside is not None:
                states = states + context[rows, : events + 1, None] * self.adapter.aside
            wanted = targets[rows, : events + 1]
            found_states.append(states.float()[wanted != NO_TARGET])
            found_targets.append(wanted[wanted != NO_TARGET])
        competing = slice(len(chance))
        mean = softmax(
            torch.cat(found_states),
            found.used[competing],
            found.bias[competing] - chance,
            place[torch.cat(found_targets)],
            smoothing=self.loss.smoothing,
        )
        counted: Tensor = self.tasks(NEXT, mean)
        return counted

    def of_items(self, step: Step) -> Tensor:
        """What the step's items add to the loss, FP []; the same for every history."""
        found = step.vectors
        added = found.text.new_zeros(())
        if self.loss.contrastive:
            apart = contrastive(found.text[step.targets], found.item[step.targets])
            added = added + self.tasks(CONTRAST, self.loss.contrastive * apart)
        if found.pull is not None:
            added = added + self.tasks(PULL, self.loss.text_pull * found.pull)
        return added

    def _precision(self, device: torch.device) -> torch.autocast:
        """What runs the networks in BF16 where that is asked for; logits and losses stay FP32."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bf16)

    def _known_of_profiles(self, profiles: Tensor) -> Tensor:
        """BOOL [B, P]: a user may come without a profile, and a profile without a column.

        [B, 1, P] for profiles INT64 [B, S + 1, P].
        """
        users, columns = len(profiles), profiles.shape[-1]
        drawn = torch.rand(users, 1 + columns, device=profiles.device) >= self.feature_dropout
        known = drawn[:, :1] & drawn[:, 1:]
        return known.unsqueeze(1) if profiles.dim() == 3 else known

    def settle(self, text_vectors: Tensor) -> None:
        """Bring the adapter up to date with text vectors FP [n, h]; called before it is used."""

    def _item_vectors(self, items: Tensor) -> ItemVectors:
        """Vectors of items INT64 [m]."""
        text = self._from_text(items)
        by_id = self._known_by_id(items).to(text.dtype)
        residual = self.adapter.residual(items)
        return ItemVectors(
            text,
            text + residual,
            text + residual * by_id.unsqueeze(-1),
            self.adapter.bias[items] * by_id,
            None,
        )

    def _from_text(self, items: Tensor) -> Tensor:
        """Vectors FP [m, d] of items INT64 [m] that their ids say nothing of."""
        ids = self.adapter.item_ids
        if ids is not None:
            ids = ids[items]
            if self.training:  # a new item may come with its text alone
                ids = ids * self._known_of_profiles(ids)
        modalities = self.adapter.item_modalities
        if modalities is not None:
            modalities = modalities[items]
            if self.training:
                modalities = modalities * self._known_modalities(len(items))
        with self._precision(items.device):
            text = self.text(items)
        return self.adapter.from_text(text.float(), ids, modalities)

    def _known_modalities(self, items: int) -> Tensor:
        """BOOL [items, K]: an item may come without any of its vectors, as without its profile."""
        widths = torch.tensor(self.adapter.config.modalities, device=self.popularity.device)
        columns = torch.ones(items, len(widths), dtype=torch.int64, device=widths.device)
        return self._known_of_profiles(columns).repeat_interleave(widths, dim=1)

    def _known_by_id(self, items: Tensor) -> Tensor:
        """BOOL [m]: which items are known by their id in this step.

        Without training events there is nothing to learn a residual from but that the item was
        never the next one; such an item stays what its text says.
        """
        known = self.popularity[items] > 0
        if self.training:
            known &= torch.rand(len(items), device=items.device) >= self.id_dropout
        return known

    def _candidates(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Which items compete, and the logarithm of the chance of each to do so."""
        items = self.adapter.config.items
        if items <= FULL_SOFTMAX_LIMIT and self.loss.kind != "sampled":
            everything = torch.arange(items, device=targets.device)
            return everything, torch.zeros(items, device=targets.device)
        asked = targets[targets != NO_TARGET]
        count = SAMPLED_ITEMS if items > FULL_SOFTMAX_LIMIT else ceil(items / 4)
        drawn = torch.randint(items, (count,), device=targets.device)
        candidates = torch.unique(torch.cat([asked, drawn]))
        share = self.popularity[candidates] / self.popularity.sum()
        missed = (1 - share) ** len(asked) * (1 - 1 / items) ** count
        return candidates, torch.log1p(-missed).clamp(min=-30)


def _of_like_length(targets: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows of targets INT64 [B, S + 1] that have about as many events, and how many at most.

    Together they would all be padded to the longest. With MovieLens-100K, where half of the windows
    have 64 events at most and a tenth has 200, a step of the first stage takes .58 of the time so.
    """
    places = torch.arange(targets.shape[1], device=targets.device)
    events = torch.where(targets == NO_TARGET, 0, places).amax(1)
    order = torch.argsort(events, stable=True)
    for rows in torch.split(order, max(FEWEST_ROWS, ceil(len(order) / PARTS))):
        yield rows, int(events[rows[-1]])


def _until(profiles: Tensor | None, rows: Tensor, events: int) -> Tensor | None:
    """Of some rows, and where a row has profiles INT64 [S + 1, P] those of so many events."""
    if profiles is None:
        return None
    return profiles[rows] if profiles.dim() == 2 else profiles[rows, : events + 1]


Tensors = tuple[Tensor, ...] | list[Tensor]


def _towards(average: Tensors, current: Tensors, steps: Tensor | int) -> None:
    """Moving average in place; the first steps weigh less than they would, being far off."""
    kept = min(AVERAGED, (1.0 + float(steps)) / (10.0 + float(steps)))
    torch._foreach_lerp_(average, current, 1 - kept)


class TuningObjective(NextItemObjective):
    """The same, while the text vectors learn too.

    An item's full vector is a parameter of its own here, not its text's plus a residual, so that
    a text vector that moves does not drag along what is known by id. In a step an item stands
    either as its full vector or as its text alone; and each text is drawn to where its item is.
    `settle` makes the residual what is left
    between the two.

    On MovieLens-100K, from the same first stage, 80 steps took text alone from .0673 to .0708
    NDCG@10 on the test users, and the network from .0918 to .0894; with text plus residual in one
    sum the same steps ended at .0664 and .0841 (one seed, standard error .007).
    """

    def __init__(
        self,
        adapter: InterestAdapter,
        text: TextVectors,
        popularity: Tensor,
        text_vectors: Tensor,
        *,
        id_dropout: float,
        feature_dropout: float,
        loss: Loss = Loss(),
        bf16: bool = False,
    ) -> None:
        super().__init__(
            adapter,
            text,
            popularity,
            id_dropout=id_dropout,
            feature_dropout=feature_dropout,
            loss=loss,
            bf16=bf16,
        )
        with torch.no_grad():
            full, _ = item_vectors(adapter, text_vectors)
        self.whole = nn.Parameter(full)  # named so in the state of an interrupted stage

    def _new_average(self) -> None:
        """None: a rate that falls to 0 ends on a plateau by itself."""

    def _tasks(self) -> tuple[str, ...]:
        return (*super()._tasks(), PULL) if self.loss.text_pull else super()._tasks()

    def _item_vectors(self, items: Tensor) -> ItemVectors:
        text, full = self._from_text(items), self.whole[items]
        by_id = self._known_by_id(items).to(text.dtype)
        vectors = torch.where(by_id.unsqueeze(-1) > 0, full, text)
        warm = (self.popularity[items] > 0).to(text.dtype)
        distance = (text - full.detach()).square().sum(-1)
        pull = (distance * warm).sum() / warm.sum()
        return ItemVectors(text, full, vectors, self.adapter.bias[items] * by_id, pull)

    @torch.no_grad()
    def settle(self, text_vectors: Tensor) -> None:
        left = self.whole - self.adapter.of_catalogue(text_vectors)
        warm = (self.popularity > 0).to(left.dtype)
        self.adapter.residual.weight.copy_(left * warm.unsqueeze(-1))
