"""What is made of measurements: summaries, goals, reports."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from builder.model.checkpoint import FORMATS
from perf.agreement import check_same_items, check_vectors
from perf.analyzer import read_csv
from perf.environments import Environment, is_made, python_of
from perf.errors import PerfError
from perf.goals import (
    APPROXIMATE,
    CATALOGUE_CURVE,
    ENSEMBLE,
    EXACT,
    GOALS,
    INFINITY,
    OURS,
    READING,
    SERVED,
    SERVED_APPROXIMATE,
    Goal,
    Side,
)
from perf.load import closed_loop, open_loop
from perf.measurement import (
    FIGURES,
    Contender,
    Measurement,
    Summary,
    from_latencies,
    take_turns,
)
from perf.mixed import KNOWN_RATE, NEW_EVENTS, TEXT_RATE, known_beside_texts
from perf.report import BEGIN, END, Report, markdown, put_into, read_json, write_json
from perf.served_quality import ndcg, rank_of_target
from perf.soak import Sample, growth_of
from perf.workload import EVENTS, User, Workload, read_workload

HEADER = (
    "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency\n"
)


def block(rate: float, p50: float = 1.0) -> Measurement:
    return Measurement(10, rate, p50, p50, p50)


def test_latencies_become_rate_and_percentiles_in_milliseconds() -> None:
    measured = from_latencies([0.001 * value for value in range(1, 101)], 2.0)
    assert measured.rate == 50
    assert measured.p50 == pytest.approx(50.5)
    assert measured.p99 == pytest.approx(99.01)
    with pytest.raises(PerfError, match="no request was answered"):
        from_latencies([], 2.0)


def test_every_contender_has_its_turn_in_every_round_and_the_order_is_reversed() -> None:
    asked: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda seconds: asked.append(name) or block(seconds))  # type: ignore[func-returns-value]

    found = take_turns([contender("a"), contender("b")], 3, 2.0)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert [len(summary.blocks) for summary in found.values()] == [3, 3]


def test_a_summary_has_median_and_spread() -> None:
    summary = Summary((block(10), block(14), block(11)))
    assert summary.median("rate") == 11
    assert summary.spread("rate") == pytest.approx(4 / 11)


def test_a_summary_has_the_figures_that_every_block_measured() -> None:
    measured = [replace(block(10), encoder_executions=0.0), replace(block(14), cpu=2.0)]
    summary = Summary((*measured, block(11)))
    assert summary.has("p99")
    assert not summary.has("cpu")
    idle = Summary((measured[0], measured[0])).to_dict()
    assert idle["median"]["encoder_executions"] == 0
    assert idle["spread"].keys() == idle["median"].keys() - {"encoder_executions"}
    assert idle["blocks"][0].keys() == {"requests", "encoder_executions", *idle["spread"]}


def test_two_systems_of_one_name_are_refused() -> None:
    twice = [Contender("a", lambda _seconds: block(1))] * 2
    with pytest.raises(PerfError, match="two systems are called 'a'"):
        take_turns(twice, 1, 1.0)


def test_the_report_of_perf_analyzer_counts_rows_of_a_batch() -> None:
    measured = read_csv(HEADER + "2,1280,13,7277,10459,12386,18548\n", 3.0, batch=128)
    assert measured == Measurement(30, 10, 7.277, 12.386, 18.548)


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "2,0,0,0,0,0,0\n"])
def test_perf_analyzer_without_figures_is_an_error(text: str) -> None:
    with pytest.raises(PerfError, match="measured nothing"):
        read_csv(text, 3.0)


def test_a_closed_loop_sends_each_number_once_and_from_every_client() -> None:
    lock, numbers, threads = threading.Lock(), list[int](), set[int]()

    def connect() -> Callable[[int], None]:
        def call(number: int) -> None:
            with lock:
                numbers.append(number)
                threads.add(threading.get_ident())
            threading.Event().wait(0.005)

        return call

    measured = closed_loop(connect, 3, 0.2)
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(threads) == 3
    assert 0 < measured.requests <= len(numbers)


def test_a_call_slower_than_the_block_is_still_measured() -> None:
    slow = threading.Event()
    measured = closed_loop(lambda: lambda _number: slow.wait(0.1), 1, 0.01)
    assert measured.requests == 1
    assert measured.p50 >= 100


def test_a_failing_call_ends_the_load_with_its_reason() -> None:
    def connect() -> Callable[[int], None]:
        def call(number: int) -> None:
            if number > 5:
                raise OSError("connection refused")

        return call

    with pytest.raises(PerfError, match="connection refused"):
        closed_loop(connect, 2, 5.0)


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    numbers: list[int] = []

    def connect() -> Callable[[int], None]:
        def call(number: int) -> None:
            numbers.append(number)
            threading.Event().wait(0.1)

        return call

    latencies, wall = open_loop(connect, [0.0, 0.02, 0.5], 1)
    assert numbers == [3, 0, 1, 2]  # the first one is to warm up
    assert latencies == pytest.approx([0.1, 0.18, 0.1], abs=0.04)
    assert wall == pytest.approx(0.6, abs=0.06)


def test_an_open_loop_sends_while_others_wait_and_ends_when_a_request_fails() -> None:
    together = threading.Barrier(3)

    def connect() -> Callable[[int], None]:
        def call(number: int) -> None:
            together.wait(5)
            if number == 1:
                raise OSError("connection refused")

        return call

    began = time.monotonic()
    with pytest.raises(PerfError, match="connection refused"):
        open_loop(connect, [0.0, 0.0, 0.0, 60.0], 3)
    assert time.monotonic() - began < 30


def test_goals_compare_the_medians_of_two_contenders() -> None:
    results = {"case": {"a": Summary((block(30, 3.0),)), "b": Summary((block(10, 1.0),))}}
    a, b = Side("case", "a", "rate"), Side("case", "b", "rate", items=2)
    ratio = Goal("", a, b, 1.6)
    assert ratio.value(results) == 1.5
    assert not ratio.reached(1.5)
    less = Goal("", Side("case", "a", "p50"), Side("case", "b", "p50"), 2.0, at_least=False,
                difference=True)  # fmt: skip
    assert less.value(results) == 2.0
    assert less.reached(2.0)
    assert Goal("", a, Side("case", "absent", "rate"), 1).value(results) is None
    assert Goal("", a, None, 30).value(results) == 30
    assert Goal("", Side("case", "a", "cpu"), None, 1).value(results) is None


def test_a_report_comes_back_from_its_file_and_goes_between_marks(tmp_path: Path) -> None:
    results = {"encode-128": {OURS: Summary((block(20),)), INFINITY: Summary((block(10),))}}
    machine = {"processor": "a", "cores": 2, "memory": 8.0, "busy": 0.0}
    settings = {"repetitions": 1, "seconds": 1.0}
    file = tmp_path / "report.json"
    write_json(Report(machine, {}, settings, results), file)
    content = read_json(file)
    (goal,) = content["goals"]
    assert goal["value"] == 2
    assert goal["reached"] is True
    document = tmp_path / "README.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(document, markdown(content))
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\n|")
    assert text.endswith(f"{END}\nafter\n")
    assert "| encode-128 | infinity | 10.0 |" in text
    assert "old" not in text
    assert "CPU" not in text


def test_a_report_tells_processor_time_and_executions_where_they_were_read() -> None:
    networks: dict[str, Any] = {"users_per_execution": 5.0, "encoder_executions": 0.0}
    results = {
        "encode-128": {OURS: Summary((block(20),))},
        "recommend-16-clients": {
            OURS: Summary((replace(block(20), cpu=1.5),)),
            ENSEMBLE: Summary((replace(block(10), cpu=4.5, **networks),)),
        },
        "recommend-mixed": {OURS: Summary((replace(block(10), text_rate=20.0),))},
    }
    machine = {"processor": "a", "cores": 2, "memory": 8.0, "busy": 0.0}
    content = Report(machine, {}, {"repetitions": 1, "seconds": 1.0}, results).to_dict()
    goals = [(goal["value"], goal["reached"]) for goal in content["goals"]]
    assert goals == [(3.0, False), (5.0, True), (0.0, True)]
    text = markdown(content)
    assert "| spread of p50 | CPU ms a request |\n|---|---|---:|---:|---:|---:|---:|---:|\n" in text
    assert f"| recommend-16-clients | {ENSEMBLE} | 10.0 | 1.00 | 1.00 | 1.00 | 0% | 4.50 |" in text
    assert f"| encode-128 | {OURS} | 20.0 | 1.00 | 1.00 | 1.00 | 0% |  |" in text
    assert (
        f"- recommend-16-clients, {ENSEMBLE}: 5.00 users in an execution of `user_encoder`, 0.00 "
        "executions of `encoder` a request\n"
    ) in text
    assert f"- recommend-mixed, {OURS}: 20.0 requests/s with texts beside\n" in text


def test_a_report_of_catalogues_has_a_row_for_each_size_and_search() -> None:
    def measured(**p50: float) -> dict[str, Summary]:
        return {name: Summary((block(1, value),)) for name, value in p50.items()}

    exact = {READING: 10.0, EXACT: 12.0, SERVED: 13.0}
    index = {APPROXIMATE: 2.0, SERVED_APPROXIMATE: 3.0}
    results = {
        f"{CATALOGUE_CURVE}1000": measured(**{READING: 0.01, EXACT: 0.04, SERVED: 0.5}),
        f"{CATALOGUE_CURVE}1000000": measured(**exact, **index),
    }
    told = {"vector_bytes": 256_000, "resident": 90.0, "anonymous": 50.0}
    found = {"recall": 0.995, "probes": 64, "lists": 2000, "seconds": 30.0}
    memory = {"resident_approximate": 900.0, "anonymous_approximate": 700.0}
    machine = {"processor": "a", "cores": 2, "memory": 8.0, "busy": 0.0}
    report = Report(machine, {}, {"repetitions": 1, "seconds": 1.0}, results)
    report.catalogues = {
        "1000": told,
        "1000000": told | found | memory | {"vector_bytes": 256_000_000},
    }
    content = report.to_dict()
    text = markdown(content)
    assert "| 1,000 | 0.010 | 25.6 | 0.040 | 4.00 | 0.500 | 90.0 | 50.0 |" in text
    assert "| 1,000,000 | 10.0 | 25.6 | 12.0 | 1.20 | 13.0 | 90.0 | 50.0 |" in text
    assert "| 1,000,000 | 0.9950 | 64 of 2000 | 2.00 | 6.00 | 3.00 | 900 | 700 | 30.0 |" in text
    assert text.count("| 1,000 |") == 1
    assert [goal["value"] for goal in content["goals"]] == [pytest.approx(1.2), pytest.approx(6)]
    assert all(goal["reached"] for goal in content["goals"])


def test_a_document_without_marks_and_a_file_that_is_no_report_are_refused(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"{END}\n{BEGIN}\n")
    with pytest.raises(PerfError, match="must hold the line"):
        put_into(document, "")
    with pytest.raises(PerfError, match="cannot be read"):
        read_json(document)
    document.write_text("{}")
    with pytest.raises(PerfError, match="is no report"):
        read_json(document)


def test_every_goal_names_a_figure_that_exists() -> None:
    for goal in GOALS:
        assert goal.ours.figure in FIGURES
        assert goal.other is None or goal.other.figure in FIGURES


def test_vectors_that_disagree_are_refused_by_name() -> None:
    ours = np.eye(3, 4, dtype=np.float32)

    def same(_texts: object) -> NDArray[np.float32]:
        return ours * 5

    def other(_texts: object) -> NDArray[np.float32]:
        turned = ours.copy()
        turned[1, 2] = 0.1
        return turned

    texts = ["a", "b", "c"]
    assert check_vectors(lambda _t: ours, {"same": same}, texts) == {"same": pytest.approx(1.0)}
    with pytest.raises(PerfError, match=r"other encodes 'b' unlike us: cosine 0\.995"):
        check_vectors(lambda _t: ours, {"other": other}, texts)
    with pytest.raises(PerfError, match="finite"):
        check_vectors(lambda _t: ours, {"few": lambda _t: ours[:2]}, texts)


def test_repositories_that_recommend_something_else_are_refused_by_name() -> None:
    ours = [["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "f"]]
    assert check_same_items("other", ours, [["e", "d", "c", "b", "a"], ours[1]]) == 1
    assert check_same_items("other", ours, [ours[0], ["a", "b", "c", "d", "g"]]) == 0.9
    with pytest.raises(PerfError, match="other recommends 80% of the items that we do"):
        check_same_items("other", ours, [ours[0], ["a", "b", "c", "x", "y"]])


def test_ranks_count_ties_against_the_target() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.1], np.float32)
    assert rank_of_target(scores, 0) == 2
    assert ndcg([0, 9, 10]) == pytest.approx((1 + 1 / np.log2(11)) / 3)
    with pytest.raises(PerfError, match="not a number"):
        rank_of_target(np.array([0.1, np.nan], np.float32), 0)


def test_texts_never_come_twice_and_candidates_hold_the_target_once() -> None:
    texts = [f"first{n} second{n} third{n}" for n in range(8)]
    ids = [f"i{n}" for n in range(8)]
    workload = Workload([User(ids[:3], "i7")], ids, texts, seed=1)
    found = list(workload.endless_texts())
    assert len(found) == 8 * 7 == len(set(found))
    assert not set(found) & set(texts)
    assert found == list(workload.endless_texts())
    candidates = workload.candidates(0)
    assert sorted(candidates) == ["i3", "i4", "i5", "i6", "i7"]


def test_growth_is_the_rise_of_a_line_through_all_samples() -> None:
    samples = [Sample(second, 100 + second, 5.0) for second in range(11)]
    assert growth_of(samples, "memory") == pytest.approx(0.1)
    assert growth_of(samples, "shared") == pytest.approx(0.0)


def test_an_environment_that_pip_cannot_make_is_no_environment(tmp_path: Path) -> None:
    missing = Environment("broken", (str(tmp_path / "no-such-package"),))
    with pytest.raises(PerfError, match="broken could not be made"):
        python_of(missing, tmp_path)
    assert not is_made(missing, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_a_workload_sends_the_actions_that_the_checkpoint_learnt_from(
    tmp_path: Path, known: bool
) -> None:
    ids = [f"i{number}" for number in range(30)]
    (tmp_path / "config.json").write_text(
        json.dumps({"format": max(FORMATS), "actions": ["liked", "disliked"]})
    )
    pd.DataFrame({"item_id": ids, "text": ids}).to_parquet(tmp_path / "catalogue.parquet")
    actions = [1] * EVENTS + [0, 1, 2] if known else None  # 0: not known
    users = {"user_id": ["a"], "items": [list(range(EVENTS + 3))], "times": None}
    holdout = pd.DataFrame({**users, "actions": [actions], "target": [EVENTS + 3]})
    holdout.to_parquet(tmp_path / "validation.parquet")
    (user,) = read_workload(tmp_path, seed=0).users
    assert [event.item for event in user.events] == user.history == ids[3 : EVENTS + 3]
    latest = [None, "liked", "disliked"] if known else [None] * 3
    assert [event.action for event in user.events[-3:]] == latest


def test_the_figures_beside_texts_are_those_of_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One who brings texts waits for a second here, and one who brings none for a millisecond."""
    words = [f"first{n} second{n} third{n}" for n in range(40)]
    ids = [f"i{n}" for n in range(40)]
    workload = Workload(
        [User(ids[:EVENTS], "i30"), User(ids[5 : 5 + EVENTS], "i31")], ids, words, 1
    )
    stream = workload.endless_texts()
    sent: list[list[bytes]] = []

    def loop(requests: list[bytes], due: list[float], _clients: int) -> tuple[list[float], float]:
        assert len(requests) == len(due) + 1
        assert b"HISTORY_TEXT" not in requests[-1]
        assert due == sorted(due)
        sent.append(requests[:-1])
        return [1.0 if b"HISTORY_TEXT" in each else 0.001 for each in requests[:-1]], 4.0

    monkeypatch.setattr("perf.mixed.triton_infer", lambda _address, requests: requests)
    monkeypatch.setattr("perf.mixed.open_loop", loop)

    def measured(text_rate: float) -> Measurement:
        return known_beside_texts(
            "", workload, lambda n: [next(stream) for _ in range(n)], text_rate, 4.0
        )

    alone, beside = measured(0.0), measured(TEXT_RATE)
    assert beside == replace(alone, text_rate=beside.text_rate)
    assert alone.p99 == pytest.approx(1)
    assert alone.text_rate is None
    assert alone.rate == KNOWN_RATE
    assert beside.text_rate == TEXT_RATE
    with_texts = [each for each in sent[1] if b"HISTORY_TEXT" in each]
    assert sent[0] == [each for each in sent[1] if each not in with_texts]
    assert all(each.count(b"new-") == NEW_EVENTS for each in with_texts)
    used = itertools.islice(workload.endless_texts(), NEW_EVENTS * len(with_texts))
    assert all(text.encode() in b"".join(with_texts) for text in used)
