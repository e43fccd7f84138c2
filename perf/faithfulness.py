"""``python -m perf faithfulness``: whether what reasons name is what counts, events and words.

After the sufficiency and comprehensiveness of DeYoung et al. (2020): an item that is recommended
should stay in the list with the named events alone, and go without them. So it is with the words
of a text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from builder.data import Holdout
from builder.model.scoring import LoggedTrend, TorchUserEncoder, catalogue_of, histories_of
from builder.options import command
from builder.reports.trained_run import TrainedRun, load_run
from model_repository.core.arrays import Floats, Indices
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.core.reasons import event_effects, latest_of_each, only, strongest
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from perf.errors import PerfError
from perf.faithful_words import word_figures
from perf.kept_shares import kept_shares, table
from perf.options import Json, note

K: Final = 10
"""Length of a list."""
WAYS: Final = ("named", "leave-one-out", "mean of both", "latest", "random")
"""How events are chosen: as reasons do, by what the logit loses without each, by the mean of both
effects; as many of the latest, and as many at random."""
_EVERY: Final = 100


@command
def faithfulness(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run of `builder train`.")],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    on: Annotated[
        Literal["test", "validation"], typer.Option(help="The users whose lists are explained.")
    ] = "test",
    users: Annotated[int, typer.Option(min=1, help="How many of them, evenly spread.")] = 1_000,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures here as JSON too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep only the named events of each recommended item, or all others, and recommend again.

    Then keep only the named words of texts that the catalogue lacks, or all others, likewise.

    Example: python -m perf faithfulness runs/demo --output perf/results/faithfulness.json
    """
    loaded = load_run(run, data)
    asked = (loaded.split.test if on == "test" else loaded.split.validation).spread(users)
    figures = {
        "on": on,
        **faithfulness_figures(loaded, asked),
        "words": word_figures(loaded, asked),
    }
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(figures, indent=1) if as_json else tables(figures))


def faithfulness_figures(loaded: TrainedRun, asked: Holdout) -> dict[str, Any]:
    """For each of `WAYS`, the share of a user's items that stay in the first ten, with intervals.

    ``alone`` is with the chosen events as the whole history, ``without`` is with all others. What
    was seen is left out all the same. Shares are means over users.

    Raises
    ------
    PerfError
        No item of any user has a reason.
    """
    lists = _Lists(loaded, asked)
    shares, items = [], 0
    for user in range(len(asked)):
        if user % _EVERY == 0:
            note(f"user {user} of {len(asked)}")
        stays = lists.stays(user)
        items += stays.shape[-1]
        if stays.size:
            shares.append(stays.mean(axis=-1).ravel())
    if not shares:
        raise PerfError("no item has a reason, so nothing can be told of them; train for longer")
    return {
        "users": len(shares),
        "items": items,
        "faithfulness": kept_shares(shares, WAYS),
    }


class _Lists:
    """The lists of users, as a server would make them of any part of their histories."""

    def __init__(self, loaded: TrainedRun, asked: Holdout) -> None:
        catalogue = catalogue_of(loaded.model)
        log, self._sequences = loaded.split.counted, asked.histories
        trend = None
        if catalogue.trend and log.times is not None:
            trend = LoggedTrend(catalogue.trend, log)
        self._timed = trend is not None
        self._scorer = Scorer(catalogue, TorchUserEncoder(loaded.model.adapter), trend=trend)
        self._histories = histories_of(asked.histories, loaded.model.adapter.config.max_history)
        self._random = np.random.default_rng(0)

    def stays(self, user: int) -> NDArray[np.bool_]:
        """BOOL [2, WAYS, m]: whether the m items that have reasons stay in the list.

        First with the chosen events alone, then without them.
        """
        history = self._histories[user]
        (items,) = self._best(user, [history])
        chosen = [each for each in zip(items, self._chosen(history, items), strict=True) if each[1]]
        everything = range(len(history.slots))
        parts = [
            only(history, [event for event in everything if (event in events) == kept])
            for kept in (True, False)
            for way in WAYS
            for _, by_way in chosen
            for events in [by_way[way]]
        ]
        due = [item for _ in range(2 * len(WAYS)) for item, _ in chosen]
        found = self._best(user, parts) if parts else []
        stays = [item in best for item, best in zip(due, found, strict=True)]
        return np.array(stays, np.bool_).reshape(2, len(WAYS), len(chosen))

    def _chosen(self, history: History, items: Indices) -> list[dict[str, set[int]]]:
        """For each item the events that each way chooses; nothing where reasons name none."""
        events = latest_of_each(history)
        alone = event_effects(self._scorer, history, events, items, NO_NEW_ITEMS)
        without = self._lost_without(history, events, items)
        effects = {"named": alone, "leave-one-out": without, "mean of both": (alone + without) / 2}
        found, length = [], len(history.slots)
        for column in range(len(items)):
            number = len(strongest(alone[:, column]))
            order = {way: np.argsort(-each[:, column]) for way, each in effects.items()}
            by_way = {way: set(events[each[:number]].tolist()) for way, each in order.items()}
            by_way["latest"] = set(range(length - number, length))
            by_way["random"] = set(self._random.choice(events, number, replace=False).tolist())
            found.append(by_way if number else {})
        return found

    def _lost_without(self, history: History, events: Indices, items: Indices) -> Floats:
        """What the logits FP32 [E, m] of items lose without each event."""
        everything = np.arange(len(history.slots))
        parts = [only(history, np.delete(everything, event).tolist()) for event in events]
        logits = self._scorer.logits_of(self._scorer.users([history, *parts]), items)
        lost: Floats = logits[0] - logits[1:]
        return lost

    def _best(self, user: int, histories: Sequence[History]) -> list[Indices]:
        """The first ten items for each history, if it were the user's."""
        number, all_of_them = len(histories), self._sequences
        profile, times = all_of_them.profiles, all_of_them.request_times
        users = self._scorer.users(
            histories,
            profiles=None if profile is None else np.repeat(profile[[user]], number, axis=0),
            times=[int(times[user])] * number if self._timed and times is not None else None,
        )
        seen = all_of_them.items_of(user)
        return [each.index for each in self._scorer.best(users, [seen] * number, [K] * number)]


def tables(figures: dict[str, Any]) -> str:
    """Tables in Markdown: of events, and of words where there are figures."""
    found = [table("events", figures["faithfulness"])]
    if figures["words"]:
        found.append(table("words", figures["words"]["faithfulness"]))
    return "\n\n".join(found)
