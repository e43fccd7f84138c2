"""``python -m perf exploration``: what `explore` costs, in time and in the quality of lists."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from builder.model.scoring import TorchUserEncoder, catalogue_of, histories_of
from builder.model.uncertainty import uncertainties
from builder.options import command
from builder.reports.trained_run import TrainedRun, load_run
from model_repository.core import policy
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.contract import EXPLORE, EXPLORE_RATE
from model_repository.core.options import OptionsReader
from model_repository.core.policy.facts import Facts
from model_repository.core.requests import UserRequest
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from perf.options import Json, note

TOP_K: Final = 10
CANDIDATES: Final = 200
RATES: Final[Sequence[tuple[str, float]]] = (
    ("", 0.0),
    *(("greedy", rate) for rate in (0.1, 0.3)),
    *(("softmax", rate) for rate in (0.1, 0.2, 0.3, 1.0)),
    *(("thompson", rate) for rate in (0.5, 1.0)),
    *(("ucb", rate) for rate in (0.5, 1.0)),
)
_CHUNK: Final = 256


@dataclass(frozen=True)
class Explored:
    """The lists of all test users, with one method.

    Attributes
    ----------
    cpu
        Microseconds of CPU time for a list, from candidates to outputs.
    hit_rate
        How many lists have the user's next item.
    changed
        The share of their items that are not in the lists without exploration.
    items
        How many items are in any list.
    smallest
        The smallest propensity at a first rank.
    """

    explore: str
    rate: float
    cpu: float
    hit_rate: float
    changed: float
    items: int
    smallest: float


@command
def exploration(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run.")],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data is, if it has moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make lists of 10 out of 200 candidates for the test users, with each method.

    Example: python -m perf exploration runs/demo
    """
    figures = measure(load_run(run, data))
    typer.echo(
        json.dumps([asdict(each) for each in figures], indent=1) if as_json else table(figures)
    )


def measure(loaded: TrainedRun) -> list[Explored]:
    users = _candidates(loaded)
    targets = loaded.split.test.targets
    found: list[Explored] = []
    best: list[set[int]] = []
    for method, rate in RATES:
        note(f"{method or 'none'} {rate:g}")
        plans = [_plan(each.catalogue, method, rate, str(user)) for user, each in enumerate(users)]
        started = time.process_time()
        lists = []
        for plan, each in zip(plans, users, strict=True):
            chosen = plan.choose(each, None)
            plan.outputs(chosen)
            lists.append(chosen)
        seconds = time.process_time() - started
        shown = [set(each.index.tolist()) for each in lists]
        best = best or shown
        found.append(
            Explored(
                method or "none",
                rate,
                seconds / len(lists) * 1e6,
                float(
                    np.mean([target in each for target, each in zip(targets, shown, strict=True)])
                ),
                float(
                    np.mean([len(a - b) / max(1, len(a)) for a, b in zip(shown, best, strict=True)])
                ),
                len(set.union(*shown)),
                min(
                    (float(each.propensity[0]) for each in lists if each.propensity is not None),
                    default=1,
                ),
            )
        )
    return found


def _candidates(loaded: TrainedRun) -> list[Candidates]:
    model, test = loaded.model, loaded.split.test
    catalogue = catalogue_of(model)
    known = uncertainties(model.popularity, loaded.split.learnt, len(catalogue))
    scorer = Scorer(replace(catalogue, uncertainty=known), TorchUserEncoder(model.adapter))
    found: list[Candidates] = []
    for part in test.chunks(_CHUNK):
        histories = part.histories
        users = scorer.users(
            histories_of(histories, model.adapter.config.max_history), profiles=histories.profiles
        )
        seen = [histories.items_of(user) for user in range(len(part))]
        found += scorer.best(users, seen, [CANDIDATES] * len(part))
    return found


def _plan(catalogue: Catalogue, method: str, rate: float, name: str) -> policy.Plan:
    none = np.zeros(0, np.int32)
    reader = OptionsReader(TOP_K, len(catalogue))
    chosen = {EXPLORE.name: method, EXPLORE_RATE.name: rate} if method else {}
    options = reader.read(json.dumps(chosen))
    history = History(none, none, none.astype(np.int64))
    request = UserRequest(options, (), history, none, 0, 0, none, none, none, none, name)
    return policy.plan(request, catalogue, Facts(catalogue.ids))


def table(figures: Sequence[Explored]) -> str:
    """The figures as Markdown."""
    lines = [
        "| explore | rate | CPU us a list | HR@10 | changed | items shown | least propensity |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.explore} | {each.rate:g} | {each.cpu:.0f} | {each.hit_rate:.3f} | "
        f"{each.changed:.0%} | {each.items} | {each.smallest:.2g} |"
        for each in figures
    ]
    return "\n".join(lines)
