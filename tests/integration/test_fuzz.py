"""Odd requests, drawn by Hypothesis, to a real server, with good ones among them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import pytest

from builder.export.classifier import classifier
from builder.export.layout import Limits
from builder.export.pipeline import publish, target_named
from builder.repository import read_manifest
from builder.repository.golden import GoldenOutput, GoldenRequest, golden_of
from builder.serving import TritonServer
from client import RecommenderClient
from model_repository.steps.event_journal import EventJournal
from perf.__main__ import main
from perf.fuzz import Fault, Tally, send_again, send_odd
from perf.good_requests import of_events
from perf.odd_requests import Call
from perf.wire_requests import INFER, Tensor, framed, message
from tests.integration.breakable import publish_breakable
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.unit.builder.classifier.tiny import write_classifier

TO_STOP: Final = 5.0
"""Seconds. A request that is never released would keep a server for longer."""
LEVEL: Final = 200.0
"""MiB that a process may grow by: what it keeps of the memory that large requests took."""

LIFT: Final = 100 * math.log(2)
"""Of the logit of the item that the log has an event of."""
LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)

RANK = GoldenRequest(
    "rank",
    {"HISTORY": [["i1"]], "CANDIDATE": [["i7", "i2"]]},
    {"LOGIT": GoldenOutput((1, 2), (7.0, 2.0))},
)
OF_USERS = (
    RANK,
    GoldenRequest(
        "recommend",
        {"HISTORY": [["i29"]]},
        {"LOGIT": GoldenOutput((1, 2), (28.0, 27.0))},
        {"top_k": 2},
    ),
    GoldenRequest("encode", {"TEXT": [["toy"]]}, {"VECTOR": GoldenOutput((1, 1), (9.0,))}),
)
OF_TEXTS = GoldenRequest(
    "rank_texts",
    {"HISTORY_TEXT": [[]], "CANDIDATE_TEXT": [["toy"]]},
    {"LOGIT": GoldenOutput((1, 1), (9.0,))},
)


OF_EVENTS = GoldenRequest("observe", {"ITEM": [[]]}, {"ACCEPTED": GoldenOutput((1, 1), (0.0,))})


def as_of_log(golden: GoldenRequest) -> GoldenRequest:
    """The same, whatever was observed: as exports ask."""
    return replace(golden, parameters={**golden.parameters, "time": 1})


OF_USERS_WITH_TREND = (
    as_of_log(RANK),
    as_of_log(replace(OF_USERS[1], outputs={"LOGIT": GoldenOutput((1, 2), (5 + LIFT, 28.0))})),
    OF_USERS[2],
)


def fuzzed(
    repository: Path,
    golden: Sequence[GoldenRequest],
    requests: int,
    merging: str,
    events: Path | None = None,
) -> Tally:
    """What came of odd requests, where the server then stops as it should."""
    with TritonServer(repository, events=events) as server:
        tally = send_odd(server, golden, requests, seed=0)
        with RecommenderClient(server.grpc_address) as client:
            (merged,) = client.statistics(model=merging)
        before = time.monotonic()
    assert time.monotonic() - before < TO_STOP
    # A small classifier is often done before the next request comes.
    assert merging == "classifier" or merged.executions < merged.success.count, "nothing is merged"
    assert tally.requests == requests
    assert max(tally.grown.values()) < LEVEL
    return tally


@pytest.mark.parametrize(
    ("layout", "requests"),
    [
        ("fused", 200),
        pytest.param("fused", 800, marks=pytest.mark.sweep),
        pytest.param("ensemble", 800, marks=pytest.mark.sweep),
    ],
)
def test_odd_requests_are_answered_and_harm_no_good_ones(
    layout: Layout, requests: int, tmp_path: Path
) -> None:
    write_tiny_repository(tmp_path, layout=layout, batch=8, delay_microseconds=1000)
    golden = OF_USERS if layout == "fused" else (*OF_USERS, OF_TEXTS)
    ends = fuzzed(tmp_path, golden, requests, "recommend").ends
    assert min(ends["OK"], ends["INVALID_ARGUMENT"], ends["INTERNAL"]) > 0


@pytest.mark.parametrize(
    ("layout", "requests"),
    [("fused", 200), *(pytest.param(each, 800, marks=pytest.mark.sweep) for each in LAYOUTS)],
)
def test_nor_do_odd_events_and_those_that_are_counted_are_kept(
    layout: Layout, requests: int, tmp_path: Path
) -> None:
    write_tiny_repository(tmp_path / "models", layout=layout, batch=8, trend=True)
    golden = (*OF_USERS_WITH_TREND, OF_EVENTS, *([OF_TEXTS] if layout == "ensemble" else []))
    events = tmp_path / "events"
    fuzzed(tmp_path / "models", golden, requests, "observe", events)
    complaints: list[str] = []
    journal = EventJournal(events, complaints.append)
    kept = Counter(event.item for event, _ in journal.read())
    journal.close()
    assert complaints == []
    # Good requests are known in number. How many odd ones are accepted is left to the draw.
    (good,) = of_events(golden)
    for item in good.inputs["ITEM"][0]:
        assert kept[item.encode()] > requests / 10, item
    with TritonServer(tmp_path / "models", events=events) as server:
        assert send_again(server, golden, [asking(b"i2")]).requests == 1


@pytest.mark.sweep
def test_nor_do_those_to_a_classifier(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "bert", labels=("no", "yes"))
    repository = tmp_path / "models"
    publish(classifier(str(source), Limits(max_rows=8)), repository, target_named("embedded"))
    manifest = read_manifest(repository)
    ends = fuzzed(repository, golden_of(manifest.versions[manifest.active]), 400, "classifier").ends
    assert min(ends["OK"], ends["INVALID_ARGUMENT"], ends["INTERNAL"]) > 0


@pytest.fixture
def breakable(tmp_path: Path) -> Path:
    publish_breakable(tmp_path / "models")
    return tmp_path / "models"


def asking(candidate: bytes) -> str:
    """The line of a sound request to ``rank``."""
    tensors = {
        "HISTORY": Tensor("BYTES", (1, 1), framed(b"a")),
        "CANDIDATE": Tensor("BYTES", (1, 2), framed(candidate, b"c")),
    }
    return Call(INFER, message("rank", tensors).SerializeToString()).line


@pytest.mark.parametrize(
    ("candidate", "told"),
    [(b"wrong", "LOGIT is "), (b"die", "rank has ended")],
)
def test_what_a_server_does_not_survive_is_told(
    candidate: bytes, told: str, breakable: Path
) -> None:
    manifest = read_manifest(breakable)
    golden = golden_of(manifest.versions[manifest.active])

    def send() -> None:
        for _ in range(2):  # the first time, the good requests may have been answered before
            send_again(server, golden, [asking(candidate)] * 4)

    with TritonServer(breakable) as server, pytest.raises(Fault, match=told):
        send()


def test_the_command_sends_requests_again(
    breakable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines"
    lines.write_text(asking(b"b"))
    assert main(["fuzz", "--repository", str(breakable), "--again", str(lines)]) == 0
    assert "1 odd requests: 1 OK\n" in capsys.readouterr().out


def test_the_command_tells_what_a_model_does_not_bear_and_its_seed(
    breakable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its code takes requests without candidates for granted.
    options = ["--repository", str(breakable), "--requests", "400", "--seed", "3"]
    assert main(["fuzz", *options]) == 1
    told = capsys.readouterr().err
    assert "after these requests:\nModelInfer " in told
    assert "(--seed 3)" in told


def test_without_golden_requests_there_is_nothing_to_compare_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_breakable(tmp_path / "models", golden=False)
    assert main(["fuzz", "--repository", str(tmp_path / "models")]) == 1
    assert "has no golden requests; export it again" in capsys.readouterr().err
