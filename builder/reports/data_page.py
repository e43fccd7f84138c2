"""A data set in figures as one HTML file."""

from __future__ import annotations

from pathlib import Path

from builder.reports import plots
from builder.reports.data_description import (
    FEW_EVENTS,
    PERCENTILES,
    TOO_FEW_EVENTS,
    Description,
    repeated_tests,
)
from builder.reports.dates import day, moment
from builder.reports.html_parts import heading, note, page, table


def data_page(directory: Path, description: Description, train: str | None) -> str:
    """Page of a description; ``train`` is the command that fits, if one does."""
    shown = description
    parts = [
        note(f"{directory}"),
        heading("What was read"),
        table(["as", "file or column"], [[role, name] for role, name in shown.read.items()]),
        heading("Events"),
        table(
            ["", "count"],
            [
                ["users", f"{shown.users:,}"],
                ["items", f"{shown.items:,}"],
                ["items with events", f"{shown.items_with_events:,}"],
                ["events", f"{shown.events:,}"],
                ["of which targets", f"{shown.targets:,}"],
                ["repeated pairs of user and item", f"{shown.repeated_pairs:,}"],
                [f"users with fewer than {FEW_EVENTS} events", f"{shown.few_events:,}"],
                [*repeated_tests(shown)],
                ["density", f"{shown.density:.3%}"],
                ["first event", moment(shown.first_event)],
                ["last event", moment(shown.last_event)],
            ],
        ),
    ]
    first, last = shown.first_event, shown.last_event
    if shown.periods and first is not None and last is not None:
        count = len(shown.periods)
        days = [day(first + (last - first) * each // count) for each in range(count)]
        parts += [heading("Events over time"), plots.bars(days, shown.periods, "from", "events")]
    if shown.ratings:
        names = [f"{rating:g}" for rating in shown.ratings]
        parts += [
            heading("Ratings"),
            plots.bars(names, list(shown.ratings.values()), "rating", "events"),
        ]
    lengths = {"events per user": shown.history_length, "events per item": shown.item_events}
    if shown.tokens is not None:
        lengths["tokens per text"] = shown.tokens.length
    for name, found in lengths.items():
        parts += [
            heading(name.capitalize()),
            plots.bars(
                [str(each) for each in PERCENTILES], list(found.values()), "percentile", name
            ),
        ]
    if shown.tokens is not None:
        parts.append(
            note(
                f"Tokens that the backbone does not know: {shown.tokens.unknown:.2%}, in "
                f"{shown.tokens.texts_with_unknown:,} texts."
            )
        )
    parts += [
        heading("Item texts"),
        *map(note, shown.texts),
        heading("To train"),
        note(train or TOO_FEW_EVENTS),
    ]
    return page("Data set", parts)
