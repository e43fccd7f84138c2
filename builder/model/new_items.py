"""Adds new items to the catalogue of a trained model, by their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from builder.data.profiles import item_ids
from builder.data.tables import Catalogue
from builder.data.vectors import side_by_side
from builder.model.cold_items import stand_in
from builder.model.interest import InterestAdapter
from builder.model.recommender import Recommender, encode_texts
from builder.progress import Progress, silent


def with_new_items(
    model: Recommender, new: Catalogue, *, progress: Progress = silent
) -> Recommender:
    """Append the m items of `new` to the model's n; none of them may be known already.

    Each takes the place of its neighbours by text, as an item of the training's own catalogue does
    that had no events, see `stand_in`.
    """
    vectors = encode_texts(model.encoder, model.tokenizer, new.texts, progress=progress)
    known = model.catalogue
    columns = pd.concat([known.columns, new.columns], ignore_index=True).fillna("")
    below = ((0, len(new)), (0, 0))
    grown = replace(
        model,
        adapter=_grown(model, new),
        linear=replace(
            model.linear,
            index=np.pad(model.linear.index, below),
            value=np.pad(model.linear.value, below),
        ),
        catalogue=Catalogue(
            [*known.item_ids, *new.item_ids],
            [*known.texts, *new.texts],
            columns[known.columns.columns],
        ),
        text_vectors=torch.cat([model.text_vectors, vectors]),
        warm=np.pad(model.warm, (0, len(new))),
        trend=replace(
            model.trend,
            level=np.pad(model.trend.level, (0, len(new)), constant_values=-np.inf),
        ),
    )
    return stand_in(grown, np.arange(len(grown.catalogue)) >= len(known))


def with_catalogue(
    model: Recommender, catalogue: Catalogue, actions: Sequence[str], *, context: bool = False
) -> InterestAdapter:
    """The model's network for another catalogue and other actions, to be trained on.

    With ``context``, also on events that are no targets.

    What both know keeps what it has learnt, by id or name, and a cold item its neighbours' place;
    what is new starts as its text alone, or without effect.
    """
    adapter, state = model.adapter, model.adapter.state_dict()
    known = model.catalogue.index
    items = [known.get(item, -1) for item in catalogue.item_ids]
    names = ["", *model.actions]  # row 0 is "not known"
    kinds = [names.index(name) if name in names else -1 for name in ["", *actions]]
    for name, rows in (("residual.weight", items), ("bias", items), ("action.weight", kinds)):
        state[name] = _rows(state[name], rows)
    state |= _beside_text(model, catalogue)
    context |= adapter.config.context
    config = replace(adapter.config, items=len(items), actions=len(actions), context=context)
    other = InterestAdapter(config)
    if other.aside is not None:
        state.setdefault("aside", other.aside.detach())
    other.load_state_dict(state)
    return other


def _rows(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Rows of a tensor in this order; -1 for one of zeros."""
    chosen = torch.tensor(rows)
    found = tensor[chosen.clamp(min=0)]
    found[chosen < 0] = 0
    return found


def _grown(model: Recommender, new: Catalogue) -> InterestAdapter:
    """The model's network with new items at the end."""
    adapter, state = model.adapter, model.adapter.state_dict()
    grown = InterestAdapter(replace(adapter.config, items=adapter.config.items + len(new)))
    for name in ("residual.weight", "bias"):
        state[name] = _zeros_below(state[name], len(new))
    for name, values in _beside_text(model, new).items():
        state[name] = torch.cat([state[name], values])
    grown.load_state_dict(state)
    return grown.eval()


def _beside_text(model: Recommender, items: Catalogue) -> dict[str, Tensor]:
    """The network's buffers of what the model knows of items beside their text, of these."""
    found = {}
    if model.item_profile:
        found["item_ids"] = torch.from_numpy(item_ids(model.item_profile, items.columns))
    if model.modalities:
        widths = dict(zip(model.modalities, model.adapter.config.modalities, strict=True))
        vectors = side_by_side(items.vectors, widths, len(items))
        found["item_modalities"] = model.adapter.standardised(torch.from_numpy(vectors))
    return found


def _zeros_below(tensor: Tensor, rows: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros(rows, *tensor.shape[1:])])
