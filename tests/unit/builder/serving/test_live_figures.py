"""Rates from two looks at a page of metrics."""

from __future__ import annotations

import pytest

from builder.serving.live_figures import ModelFigures, Page, figures
from builder.serving.live_figures import _series as series

LABELS = 'model="rank",version="1"'
BEFORE = f"""# HELP nv_inference_request_success Number of requests
nv_inference_request_success{{{LABELS}}} 100
nv_inference_request_success{{model="encode",version="1"}} 7
nv_inference_request_failure{{{LABELS[:12]},reason="CANCELED",version="1"}} 0
nv_inference_request_duration_us{{{LABELS}}} 1e6
tritonrec_requests_failed{{{LABELS}}} 3
"""
AFTER = f"""nv_inference_request_success{{{LABELS}}} 120
nv_inference_request_success{{model="encode",version="1"}} 2
nv_inference_request_failure{{{LABELS[:12]},reason="CANCELED",version="1"}} 50
nv_inference_request_duration_us{{{LABELS}}} 1.04e6
nv_inference_request_summary_us{{{LABELS},quantile="0.5"}} 1500
nv_inference_request_summary_us{{{LABELS},quantile="0.99"}} Nan
nv_inference_pending_request_count{{{LABELS}}} 4
tritonrec_requests_failed{{{LABELS}}} 5
tritonrec_requests_refused{{{LABELS}}} 8
tritonrec_rules_broken{{{LABELS}}} 1
"""
HEALTH = """tritonrec_restarts 2
tritonrec_model_ready{model="rank"} 0
"""


def page(at: float, text: str) -> Page:
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for name, labels, value in series(text):
        found.setdefault(name, {})[labels] = value
    return Page(at, found)


def test_rates_are_of_a_second_and_times_of_the_requests_between() -> None:
    found = figures(page(10, BEFORE), page(12, AFTER), page(12, HEALTH))
    assert found.restarts == 2
    encode, rank = found.models
    assert rank == ModelFigures(
        "rank", "1", ready=False, requests=10, failed=1, refused=4, broken_rules=True, waiting=4,
        mean_ms=2, queue_ms=0, p50_ms=1.5, p99_ms=None,
    )  # fmt: skip
    assert encode.ready is None
    assert encode.mean_ms == 0
    assert encode.broken_rules is None


def test_a_server_that_was_started_anew_counts_from_nothing() -> None:
    encode, _ = figures(page(10, BEFORE), page(12, AFTER), None).models
    assert encode.requests == 1


def test_without_the_health_port_nothing_is_said_of_it() -> None:
    found = figures(page(10, BEFORE), page(11, AFTER), None)
    assert found.restarts is None
    assert {each.ready for each in found.models} == {None}


@pytest.mark.parametrize("line", ["# HELP x y", "", "nonsense", 'x{a="b" 1'])
def test_what_is_no_series_is_passed_over(line: str) -> None:
    assert list(series(line)) == []


def test_labels_may_hold_anything() -> None:
    (found,) = series('x{model="a,b\\"}",version="1"} 2')
    assert found == ("x", frozenset({("model", 'a,b\\"}'), ("version", "1")}), 2.0)
