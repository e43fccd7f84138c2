"""What the pages are made of: the servers that they ask, and the run that explains the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.model.checkpoint import load_catalogue, load_validation, read_config
from builder.play.items import ItemTexts
from builder.play.looks import Looks
from builder.play.users import Users
from client import RecommenderClient, RecommenderError
from model_repository.core.contract import OBSERVE, RECOMMEND


@dataclass(frozen=True, slots=True)
class Served:
    """A server as the page names it. ``observes`` says whether it takes events."""

    client: RecommenderClient
    address: str
    version: str
    observes: bool


@dataclass(frozen=True, slots=True)
class Run:
    """What a training run knows of its items and users."""

    directory: Path
    items: ItemTexts
    users: Users
    actions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Contents:
    """``other`` is the server to compare with, None where there is none."""

    server: Served
    other: Served | None
    run: Run
    looks: Looks


def load_run(directory: Path) -> Run:
    """Read the catalogue and the validation users of a checkpoint.

    Raises
    ------
    CheckpointError
        It is missing or damaged.
    """
    actions = list(read_config(directory)["actions"])
    catalogue = load_catalogue(directory)
    items = ItemTexts(catalogue.item_ids, catalogue.texts)
    users = Users(load_validation(directory), items, actions)
    return Run(directory, items, users, actions)


def look_at(client: RecommenderClient, address: str) -> Served:
    """Ask a server for its version, and whether it takes events.

    Raises
    ------
    RecommenderError
        It does not answer, or has no model ``recommend``.
    """
    described = client.metadata(models=[RECOMMEND.name]).models[RECOMMEND.name]
    try:
        observes = client.ready(models=[OBSERVE.name])
    except RecommenderError:
        observes = False
    return Served(client, address, ", ".join(described.versions), observes)
