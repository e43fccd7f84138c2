"""The cases: which systems take turns under which load.

Our own servers and the empty models are driven by perf_analyzer, peers behind HTTP and mixed
traffic by ``perf.load``, libraries from inside their own process (``perf.peers.in_process``).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.serving import TritonServer
from client import RecommenderClient
from perf import goals
from perf.agreement import (
    LEAST_COSINE,
    LEAST_COSINE_INT8,
    Encode,
    check_recommendations,
    check_same_items,
    check_vectors,
)
from perf.analyzer import Analyzer, Entry, Load, is_batched, write_data
from perf.errors import PerfError
from perf.floor import EMPTY, EMPTY_BATCHED
from perf.load import closed_loop
from perf.measurement import Contender, Measurement, Summary, from_latencies, take_turns
from perf.mixed import TEXT_RATE, known_beside_texts
from perf.steps import StepCost, read_statistics, step_costs
from perf.systems import HttpService, InProcess
from perf.two_step import TwoStep
from perf.usage import with_usage
from perf.workload import Workload

BATCH: Final = 128
_TEXTS_PER_SECOND: Final = 6000  # as many different ones are ready; a run that needs more says so
_SATURATED: Final = 64
_TIMEOUT: Final = 60.0
CURVE_CLIENTS: Final = (1, 2, 4, 8, 16, 32)
CURVE_BATCHES: Final = (1, 8, 32, 128)


@dataclass(slots=True)
class Systems:
    """What takes part in a run; None: it does not.

    ``tritons`` are ours and those of other repositories, as name → host:port. Each takes part in
    every case.
    """

    tritons: dict[str, str]
    floor: str | None = None
    infinity: HttpService | None = None
    infinity_onnx: HttpService | None = None
    textbook: HttpService | None = None
    library: InProcess | None = None
    cross_encoder: InProcess | None = None
    engine: InProcess | None = None
    two_step: TwoStep | None = None

    @property
    def ours(self) -> str:
        return self.tritons[goals.OURS]

    def http(self) -> list[HttpService]:
        return [each for each in (self.infinity, self.infinity_onnx, self.textbook) if each]

    def libraries(self) -> list[InProcess]:
        return [each for each in (self.library, self.engine) if each]


@dataclass(slots=True)
class Run:
    """A run: its systems, its load, and how often and how long each block is."""

    systems: Systems
    analyzer: Analyzer
    workload: Workload
    repetitions: int
    seconds: float
    report: Callable[[str], None]
    scratch: Path
    results: dict[str, dict[str, Summary]] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    streams: dict[str, Iterator[str]] = field(default_factory=dict)

    def take(self, name: str, contenders: Sequence[Contender], repetitions: int = 0) -> None:
        self.results[name] = take_turns(
            contenders,
            repetitions or self.repetitions,
            self.seconds,
            lambda system, number: self.report(f"{name}: {system}, repetition {number + 1}"),
        )

    def texts(self, system: str, count: int) -> list[str]:
        """Take texts that this system has not seen yet; each system gets the same, in one order."""
        stream = self.streams.setdefault(system, self.workload.endless_texts())
        found = list(itertools.islice(stream, count))
        if len(found) < count:
            raise PerfError(
                "the run has used up all the texts that this catalogue's words give; take fewer "
                "or shorter repetitions, or a checkpoint with a larger catalogue"
            )
        return found

    def requests(self, system: str, batch: int, seconds: float) -> list[list[str]]:
        """Take the texts of a block, as requests of ``batch`` texts."""
        count = max(8, int(_TEXTS_PER_SECOND * seconds / batch))
        texts = self.texts(system, count * batch)
        return [texts[start : start + batch] for start in range(0, len(texts), batch)]

    # Contenders: each block of them gets texts of its own.

    def ours_encoding(self, address: str, batch: int, clients: int, seconds: float) -> Measurement:
        requests = self.requests(address, batch, seconds)
        data = self.scratch / "encode.json"
        entries = [{"TEXT": [text]} for request in requests for text in request]
        write_data(data, entries, batched=True)
        measured = self.analyzer.measure(
            address, "encode", data, Load(clients), seconds, batch=batch
        )
        return self.had_enough(address, measured, requests)

    def http_encoding(
        self, service: HttpService, batch: int, clients: int, seconds: float
    ) -> Measurement:
        requests = self.requests(service.name, batch, seconds)
        bodies = [service.body(texts) for texts in requests]
        return self.had_enough(service.name, service.measure(bodies, clients, seconds), requests)

    def in_process_encoding(self, library: InProcess, batch: int, seconds: float) -> Measurement:
        return library.measure(self.requests(library.name, batch, seconds), seconds)

    def had_enough(
        self, system: str, measured: Measurement, requests: Sequence[object]
    ) -> Measurement:
        """Hand the figures on, after noting it where texts came twice, so that a cache may help."""
        if measured.requests > len(requests):
            self.repeated.add(system)
            self.report(
                f"{system} answered {measured.requests} requests, of which only {len(requests)} "
                "differ; raise _TEXTS_PER_SECOND in perf/benchmark.py"
            )
        return measured

    def encoders(self, batch: int, clients: int, *, libraries: bool) -> list[Contender]:
        """Everything that encodes, in requests of ``batch`` texts."""
        found = [
            Contender(name, partial(self.ours_encoding, address, batch, clients))
            for name, address in self.systems.tritons.items()
        ]
        found += [
            Contender(service.name, partial(self.http_encoding, service, batch, clients))
            for service in self.systems.http()
        ]
        if libraries:
            found += [
                Contender(library.name, partial(self.in_process_encoding, library, batch))
                for library in self.systems.libraries()
            ]
        return found

    def analyzed(
        self, name: str, address: str, model: str, entries: Sequence[Entry], load: Load
    ) -> Contender:
        """A model under the same requests in every block, driven by perf_analyzer."""
        batched = is_batched(address, model)  # in one layout, and not in the other
        file = self.scratch / f"{model}-{'batched' if batched else 'single'}.json"
        write_data(file, entries, batched=batched)
        parameters = {"top_k": 10} if model == "recommend" else None
        measure = partial(self.analyzer.measure, address, model, file, load, parameters=parameters)
        return Contender(name, partial(with_usage, address, model, measure))

    def recommending(self, load: Load) -> list[Contender]:
        """Every Triton of ours that recommends to users with known histories."""
        return [
            self.analyzed(name, address, "recommend", self.histories(), load)
            for name, address in self.systems.tritons.items()
        ]

    def histories(self) -> list[Entry]:
        return [{"HISTORY": user.history} for user in self.workload.users]


def encode_128(run: Run) -> None:
    # Two clients, so that a server has its next request while it sends an answer.
    run.take("encode-128", run.encoders(BATCH, 2, libraries=True))


def encode_16_clients(run: Run) -> None:
    run.take("encode-16-clients", run.encoders(1, 16, libraries=False))


def encode_1_client(run: Run) -> None:
    run.take("encode-1-client", run.encoders(1, 1, libraries=True))


def recommend_1_client(run: Run) -> None:
    one = Load(clients=1)
    contenders = run.recommending(one)
    if run.systems.floor:
        contenders.append(run.analyzed(goals.FLOOR, run.systems.floor, EMPTY, run.histories(), one))
    if run.systems.two_step:
        connect = run.systems.two_step.connect(run.workload)
        contenders.append(Contender(goals.TWO_STEP, lambda s: closed_loop(connect, 1, s)))
    run.take("recommend-1-client", contenders)


def recommend_16_clients(run: Run) -> None:
    run.take("recommend-16-clients", run.recommending(Load(clients=16)))


def recommend_saturated(run: Run) -> None:
    many = Load(clients=_SATURATED)
    contenders = run.recommending(many)
    if run.systems.floor:
        contenders.append(
            run.analyzed(
                goals.FLOOR_BATCHED, run.systems.floor, EMPTY_BATCHED, run.histories(), many
            )
        )
    run.take("recommend-saturated", contenders)


def recommend_mixed(run: Run) -> None:
    """Whether users whose items are all known wait for the BERT of others."""
    contenders = []
    for name, address in run.systems.tritons.items():
        texts = partial(run.texts, address)
        for situation, text_rate in ((goals.ALONE, 0.0), (goals.BESIDE_TEXTS, TEXT_RATE)):
            measure = partial(known_beside_texts, address, run.workload, texts, text_rate)
            contenders.append(
                Contender(
                    f"{name}, {situation}", partial(with_usage, address, "recommend", measure)
                )
            )
    run.take("recommend-mixed", contenders)


def rank_100_known(run: Run) -> None:
    one = Load(clients=1)
    known = [
        {"HISTORY": user.history, "CANDIDATE": run.workload.candidates(number)}
        for number, user in enumerate(run.workload.users)
    ]
    contenders = []
    for name, address in run.systems.tritons.items():
        contenders += [
            run.analyzed(name, address, "rank", known, one),
            run.analyzed(f"{name} recommend", address, "recommend", run.histories(), one),
        ]
    run.take("rank-100-known", contenders)


def rank_100_unseen(run: Run) -> None:
    candidates = 100
    users = itertools.cycle(run.workload.users)

    def ours(address: str, seconds: float) -> Measurement:
        # As in `had_enough`, of texts that no cache knows.
        requests = run.requests(address, candidates, seconds)
        entries: list[Entry] = [
            {
                "HISTORY": next(users).history,
                "CANDIDATE": [f"unseen-{number}" for number in range(candidates)],
                "CANDIDATE_TEXT": texts,
            }
            for texts in requests
        ]
        file = run.scratch / "unseen.json"
        write_data(file, entries, batched=is_batched(address, "rank"))
        measured = run.analyzer.measure(address, "rank", file, Load(clients=1), seconds)
        return run.had_enough(address, measured, requests)

    contenders = [
        Contender(name, partial(ours, address)) for name, address in run.systems.tritons.items()
    ]
    library = run.systems.cross_encoder
    if library is not None:

        def pairs(seconds: float) -> Measurement:
            calls = []
            for _ in range(max(4, int(seconds * 4))):
                history = "; ".join(run.workload.history_texts(next(users)))
                calls.append([[history, text] for text in run.texts(library.name, candidates)])
            return library.measure(calls, seconds)

        contenders.append(Contender(goals.CROSS_ENCODER, pairs))
    run.take("rank-100-unseen", contenders)


def latency_curve(run: Run) -> None:
    """Single texts from more and more clients."""
    for clients in CURVE_CLIENTS:
        run.take(f"encode-curve-{clients}", run.encoders(1, clients, libraries=False), 1)


def batch_curve(run: Run) -> None:
    """More and more texts a request, from one client."""
    for batch in CURVE_BATCHES:
        run.take(f"batch-curve-{batch}", run.encoders(batch, 1, libraries=True), 1)


def open_loop(run: Run) -> None:
    """``recommend`` and ``rank`` under Poisson arrivals at parts of what they take at most."""
    saturated = run.results.get("recommend-saturated")
    if saturated is None:
        return
    contenders = []
    for name, address in run.systems.tritons.items():
        prefix = "" if name == goals.OURS else f"{name}, "
        most = saturated[name].median("rate")
        contenders += [
            run.analyzed(
                f"{prefix}{share:.0%} of saturation", address, "recommend", run.histories(),
                Load(rate=share * most),
            )
            for share in (0.25, 0.5, 0.75)
        ]  # fmt: skip
    run.take("recommend-open-loop", contenders, 1)


CASES: Final[Mapping[str, Callable[[Run], None]]] = {
    "encode-128": encode_128,
    "encode-16-clients": encode_16_clients,
    "encode-1-client": encode_1_client,
    "recommend-1-client": recommend_1_client,
    "recommend-16-clients": recommend_16_clients,
    "recommend-saturated": recommend_saturated,
    "recommend-mixed": recommend_mixed,
    "rank-100-known": rank_100_known,
    "rank-100-unseen": rank_100_unseen,
    "open-loop": open_loop,
    "latency-curve": latency_curve,
    "batch-curve": batch_curve,
}


def check_agreement(run: Run) -> dict[str, Any]:
    """Hold all answers against ours, before anything is timed; raises where they disagree."""
    systems = run.systems
    texts = run.workload.texts[:BATCH]
    with RecommenderClient(systems.ours, timeout=_TIMEOUT) as client:
        ours = partial(_encode, client)
        peers: dict[str, Encode] = {service.name: service.vectors for service in systems.http()}
        peers |= {library.name: library.answer for library in systems.libraries()}
        cosines = check_vectors(ours, peers, texts)
        best = check_recommendations(client, run.workload)
        shared = {}
        for name, address in systems.tritons.items():
            if name == goals.OURS:
                continue
            least = LEAST_COSINE_INT8 if "INT8" in name else LEAST_COSINE
            with RecommenderClient(address, timeout=_TIMEOUT) as other:
                cosines |= check_vectors(ours, {name: partial(_encode, other)}, texts, least)
                shared[name] = check_same_items(
                    name, best, check_recommendations(other, run.workload)
                )
    return {"cosine": cosines, "recommendations": len(best), "same items": shared}


def stage_costs(run: Run, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """What each model costs in a request of ``recommend``, ``rank`` and ``encode``, one client."""
    ours = run.systems.ours
    loads: dict[str, Callable[[float], Measurement]] = {
        "recommend": run.analyzed(
            "", ours, "recommend", run.histories(), Load(clients=1)
        ).measure,
        "rank": run.analyzed(
            "", ours, "rank",
            [
                {"HISTORY": user.history, "CANDIDATE": run.workload.candidates(number)}
                for number, user in enumerate(run.workload.users)
            ],
            Load(clients=1),
        ).measure,
        "encode": partial(run.ours_encoding, ours, 1, 1),
    }  # fmt: skip
    costs = {}
    for name, measure in loads.items():
        before = read_statistics(ours)
        measure(seconds)
        steps: list[StepCost] = step_costs(before, read_statistics(ours))
        costs[name] = [asdict(step) for step in steps]
    return costs


def start_times(repositories: Mapping[str, Path], repetitions: int) -> dict[str, Summary]:
    """Start and stop a server of each repository in turn; the figures are its time to ready."""

    def start(repository: Path, _seconds: float) -> Measurement:
        began = time.perf_counter()
        with TritonServer(repository):
            took = time.perf_counter() - began
        return from_latencies([took], took)

    contenders = [
        Contender(name, partial(start, repository)) for name, repository in repositories.items()
    ]
    return take_turns(contenders, repetitions, 0.0)


def _encode(client: RecommenderClient, texts: Sequence[str]) -> NDArray[np.float32]:
    return client.encode(texts).vectors
