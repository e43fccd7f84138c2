"""The command that trains on a data set as it was described."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from typing import Final

from builder.data.config import Columns, DataConfig
from builder.options import options_of
from builder.reports.data_description import FEW_EVENTS, Description
from builder.reports.data_survey import Survey

_MOST_WITH_FEW: Final = 0.1
"""Share of the users that may have too few events to be tested, if these are to be left out."""


def train_line(
    config: DataConfig, found: Survey, description: Description, backbone: str | None
) -> str | None:
    """The options that were given, and those that the log suggests; None: nothing can be learnt."""
    if not description.trainable:
        return None
    columns = config.columns
    if "time" in found.unused:
        columns = replace(columns, time=found.unused["time"])
    min_rating = config.min_rating
    if min_rating is None and not config.target_actions:
        min_rating = found.min_rating
    if min_rating is not None and "rating" in found.unused:
        columns = replace(columns, rating=found.unused["rating"])
    min_events = config.min_events
    if 0 < description.few_events <= _MOST_WITH_FEW * description.users:
        min_events = max(min_events, FEW_EVENTS)
    chosen = replace(config, columns=columns, min_rating=min_rating, min_events=min_events)
    words = ["--data", str(config.directory), *_flags(chosen)]
    words += ["--backbone", backbone or "BERT", "--output", "runs/first"]
    return f"python -m builder train {shlex.join(words)}"


def _flags(config: DataConfig) -> list[str]:
    words = []
    for each, declared in options_of(config):
        value = getattr(config, each.name)
        if value == each.default:
            continue
        flag = declared.flag or f"--{each.name.replace('_', '-')}"
        if isinstance(value, Columns):
            given = [(role.name, getattr(value, role.name)) for role in fields(value)]
            texts = [f"{role}={name}" for role, name in given if name is not None]
        elif isinstance(value, tuple):
            texts = [",".join(value)]
        else:
            texts = [f"{value:g}" if isinstance(value, float) else str(value)]
        for text in texts:
            words += [flag, text]
    return words
