"""``recommend`` for users whose items are all known, beside users who bring texts.

Arrivals are open: a request is sent when it is due, whether or not the earlier ones have been
answered. Clients that wait for their answers would stop sending whenever the server encodes texts,
and so would hardly meet the wait that is to be measured. The rates leave two cores idle for most of
the time, so that a wait is one for others' texts and not for a server that does not keep up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from perf.analyzer import Entry
from perf.load import infer_request, open_loop, triton_infer
from perf.measurement import Measurement, from_latencies
from perf.workload import User, Workload

KNOWN_RATE: Final = 90.0
"""Requests/s whose items are all known."""

TEXT_RATE: Final = 10.0
"""Requests/s that bring texts."""

NEW_EVENTS: Final = 3
"""Texts that each of these brings, all different."""

_CLIENTS: Final = 32  # requests that can be under way at once

Texts = Callable[[int], list[str]]
"""Gives so many texts that the server has not seen yet."""


def known_beside_texts(
    address: str, workload: Workload, texts: Texts, text_rate: float, seconds: float
) -> Measurement:
    """Measure the known ones, while ``text_rate`` requests/s with texts go to the same server.

    Both kinds arrive by Poisson processes, at the same moments in every block.
    """
    users = itertools.cycle(workload.users)
    known = [
        (moment, infer_request("recommend", {"HISTORY": next(users).history}))
        for moment in _arrivals(KNOWN_RATE, seconds, [workload.seed, 0])
    ]
    bringing = [
        (moment, infer_request("recommend", _new_events(next(users), texts(NEW_EVENTS))))
        for moment in _arrivals(text_rate, seconds, [workload.seed, 1])
    ]
    sent = sorted(known + bringing)
    requests = [request for _, request in [*sent, known[0]]]  # one more, for warming up
    latencies, wall = open_loop(
        triton_infer(address, requests), [moment for moment, _ in sent], _CLIENTS
    )
    apart = {moment for moment, _ in bringing}
    of_known = [
        latency for (moment, _), latency in zip(sent, latencies, strict=True) if moment not in apart
    ]
    measured = from_latencies(of_known, wall)
    return replace(measured, text_rate=len(bringing) / wall) if bringing else measured


def _arrivals(rate: float, seconds: float, seed: list[int]) -> list[float]:
    """Moments of a Poisson process that has exactly ``rate`` events a second in this time."""
    return sorted(np.random.default_rng(seed).uniform(0, seconds, round(rate * seconds)).tolist())


def _new_events(user: User, texts: list[str]) -> Entry:
    """The user's history, whose latest events are on items of which there are only texts."""
    known = user.history[: -len(texts)]
    return {
        "HISTORY": [*known, *(f"new-{number}" for number in range(len(texts)))],
        "HISTORY_TEXT": [""] * len(known) + texts,
    }
