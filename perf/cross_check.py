"""Compares our load generator with perf_analyzer, on a server that both can drive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perf.analyzer import Load
from perf.benchmark import BATCH, Run
from perf.load import closed_loop, infer_request, triton_infer
from perf.measurement import Contender, Measurement, take_turns

_ROUNDS = 3


def cross_check(run: Run, seconds: float) -> dict[str, float]:
    """Drive our server with both in turns; returns the rate by ours over that by perf_analyzer."""
    ours = run.systems.ours
    analyzed = run.analyzed("", ours, "recommend", run.histories(), Load(clients=1)).measure
    return {
        "encode, single texts, 16 clients": _encoding(run, 1, 16, seconds),
        "encode, 128 texts, 2 clients": _encoding(run, BATCH, 2, seconds),
        "recommend, 1 client": _ratio(
            ours,
            [infer_request("recommend", entry) for entry in run.histories()],
            1, analyzed, seconds,
        ),
    }  # fmt: skip


def _encoding(run: Run, batch: int, clients: int, seconds: float) -> float:
    ours = run.systems.ours
    requests = [
        infer_request("encode", {"TEXT": texts}, batched=True)
        for texts in run.requests(ours, batch, _ROUNDS * seconds)
    ]
    analyzed = partial(run.ours_encoding, ours, batch, clients)
    return _ratio(ours, requests, clients, analyzed, seconds)


def _ratio(
    address: str,
    requests: list[bytes],
    clients: int,
    analyzed: Callable[[float], Measurement],
    seconds: float,
) -> float:
    share = max(1, len(requests) // _ROUNDS)
    shares = [requests[i * share : (i + 1) * share] for i in range(_ROUNDS)]
    rounds = iter(shares)  # each round has requests of its own: no text twice
    contenders = [
        Contender(
            "python",
            lambda seconds: closed_loop(triton_infer(address, next(rounds)), clients, seconds),
        ),
        Contender("perf_analyzer", analyzed),
    ]
    measured = take_turns(contenders, _ROUNDS, seconds)
    return measured["python"].median("rate") / measured["perf_analyzer"].median("rate")
