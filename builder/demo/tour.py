"""Asks a served repository what it would recommend, as a service would, and shows the answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from builder import console
from builder.data import Catalogue, Holdout, leave_one_out, read
from builder.data.config import DataConfig
from builder.data.sequences import Sequences
from builder.model.checkpoint import load_checkpoint, read_config
from builder.serving import TritonServer
from client import Event, Item, RecommenderClient

SHOWN: Final = 8
NEW_ITEM: Final = Item("new", "The Matrix (1999) Action Sci-Fi Thriller")
"""A film younger than every one of MovieLens-100K: known to the model by its text alone."""


def tour(run: Path, repository: Path) -> None:
    """Serve `repository` and print recommendations for a user of the run's test set."""
    screen = console.output()
    # The answers are what this shows; what Triton says of its starting and stopping is not.
    logging.getLogger("builder.serving").setLevel(logging.WARNING)
    catalogue = load_checkpoint(run).catalogue
    interactions, _ = read(DataConfig.from_dict(read_config(run)["training"]["data"]))
    minimum = int(read_config(run)["training"]["data"]["min_events"])
    test = leave_one_out(Sequences.from_interactions(interactions, minimum)).test
    with (
        TritonServer(repository) as server,
        RecommenderClient(server.grpc_address, timeout=10) as client,
    ):
        screen.print(f"  tritonserver at {server.grpc_address}")
        _show_user(screen, client, catalogue, test, _typical(test), interactions.actions)


def _typical(test: Holdout) -> int:
    """The user with a history of median length."""
    return int(np.argsort(test.histories.lengths, kind="stable")[len(test) // 2])


def _show_user(
    screen: Console,
    client: RecommenderClient,
    catalogue: Catalogue,
    test: Holdout,
    user: int,
    names: Sequence[str],
) -> None:
    alone = test.histories.rows(user, user + 1)
    items = alone.items.tolist()
    times, actions = alone.times, alone.actions
    history = [
        Event(
            catalogue.item_ids[item],
            time=None if times is None else int(times[place]),
            action=names[actions[place] - 1] if actions is not None and actions[place] else None,
        )
        for place, item in enumerate(items)
    ]
    liked = alone.without_context().items.tolist()
    screen.print(
        Text.assemble(
            (f"\nUser {alone.user_ids[0]}", "bold"),
            f" liked {len(liked)} of the {len(items)} films seen, lately:",
        )
    )
    for item in liked[-SHOWN:]:
        screen.print(f"  {catalogue.texts[item]}")
    table = Table("rank", "interest", "recommended", title="Recommended next", title_justify="left")
    target = catalogue.item_ids[int(test.targets[user])]
    for rank, best in enumerate(client.recommend(history, top_k=10), 1):
        mark = "  <- the next item, held out" if best.id == target else ""
        text = catalogue.texts[catalogue.index[best.id]]
        table.add_row(str(rank), f"{best.interest:.3f}", text + mark)
    screen.print(table)
    seen = set(items)
    unseen = [item for place, item in enumerate(catalogue.item_ids) if place not in seen]
    ranking = client.rank(history, [*unseen, NEW_ITEM]).sorted()
    rank = next(rank for rank, each in enumerate(ranking, 1) if each.id == NEW_ITEM.id)
    screen.print(
        f"New, given only as text: {NEW_ITEM.text}\n"
        f"  rank {rank} of {len(ranking)} unseen films, "
        f"interest {ranking[rank - 1].interest:.3f}",
    )
