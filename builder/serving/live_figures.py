"""What a running server does: rates of each model, from two looks at its metrics.

Works with any tritonserver. Readiness and restarts come from the health port of ``serve``, where
there is one.
"""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from builder.errors import ServingError

_TIMEOUT: Final = 5.0
_SERIES: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Neither proxies nor the environment stand between this and the server.
_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """The metrics of one address at one time, by `time.monotonic`: name → labels → value."""

    at: float
    series: Mapping[str, Mapping[Labels, float]]

    def sum(self, name: str, **labels: str) -> float | None:
        """The sum of the series that have these labels; None if there are none."""
        wanted = labels.items()
        found = [value for has, value in self.series.get(name, {}).items() if wanted <= has]
        return sum(found) if found else None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One version of a model. Rates are of a second; None is a figure that the server has not.

    ``ready`` is the word of ``serve``. ``broken_rules`` says whether a process keeps earlier rules,
    since a file of the rules directory is broken. Times are means over the requests between the
    looks, None if there were none; percentiles are over the minutes that Triton remembers.
    """

    model: str
    version: str
    ready: bool | None
    requests: float
    failed: float
    refused: float
    broken_rules: bool | None
    waiting: int | None
    mean_ms: float | None
    queue_ms: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """A server: ``restarts`` is None where no ``serve`` answers."""

    restarts: int | None
    models: tuple[ModelFigures, ...]


def read_page(address: str) -> Page:
    """Ask ``host:port`` for its metrics.

    Raises
    ------
    ServingError
        It does not answer, or with something else.
    """
    url = f"http://{address}/metrics"
    found: list[tuple[str, Labels, float]] = []
    problem: object = "there are no metrics on that page"
    try:
        with _OPEN(url, timeout=_TIMEOUT) as answer:
            found = list(_series(answer.read().decode()))
    except urllib.error.URLError as error:
        problem = error.reason
    except (OSError, ValueError, HTTPException) as error:
        problem = error
    if not found:
        raise ServingError(
            f"no metrics at {url}: {problem}; start `python -m builder serve`, or name the metrics "
            "port with --metrics"
        )
    series: dict[str, dict[Labels, float]] = {}
    for name, labels, value in found:
        series.setdefault(name, {})[labels] = value
    return Page(time.monotonic(), series)


def figures(before: Page, after: Page, health: Page | None) -> LiveFigures:
    """What happened between two looks at the metrics of Triton."""
    served = sorted(
        {
            (dict(labels)["model"], dict(labels)["version"])
            for labels in after.series.get("nv_inference_request_success", {})
        }
    )
    restarts = None if health is None else health.sum("tritonrec_restarts")
    return LiveFigures(
        None if restarts is None else int(restarts),
        tuple(_of_model(before, after, health, *each) for each in served),
    )


def _of_model(
    before: Page, after: Page, health: Page | None, model: str, version: str
) -> ModelFigures:
    own = {"model": model, "version": version}

    def more(name: str, **labels: str) -> float:
        now = after.sum(name, **own, **labels) or 0.0
        past = before.sum(name, **own, **labels) or 0.0
        return now - past if now >= past else now  # it was started anew in between

    answered = more("nv_inference_request_success")
    # Triton counts what a Python model fails to answer or refuses as answered.
    failed = sum(
        more("nv_inference_request_failure", reason=reason)
        for reason in ("BACKEND", "REJECTED", "OTHER")
    ) + more("tritonrec_requests_failed")
    seconds = after.at - before.at

    def mean(name: str) -> float | None:
        return more(name) / answered / 1000 if answered else None

    def percentile(quantile: str) -> float | None:
        found = after.sum("nv_inference_request_summary_us", **own, quantile=quantile)
        return None if found is None or found != found else found / 1000

    ready = None if health is None else health.sum("tritonrec_model_ready", model=model)
    broken = after.sum("tritonrec_rules_broken", **own)
    waiting = after.sum("nv_inference_pending_request_count", **own)
    return ModelFigures(
        model,
        version,
        None if ready is None else bool(ready),
        answered / seconds,
        failed / seconds,
        more("tritonrec_requests_refused") / seconds,
        None if broken is None else broken > 0,
        None if waiting is None else int(waiting),
        mean("nv_inference_request_duration_us"),
        mean("nv_inference_queue_duration_us"),
        percentile("0.5"),
        percentile("0.99"),
    )


def _series(text: str) -> Iterator[tuple[str, Labels, float]]:
    for line in text.splitlines():
        match = _SERIES.fullmatch(line)
        if match is not None:
            labels = frozenset((each[1], each[2]) for each in _LABEL.finditer(match[2] or ""))
            yield match[1], labels, float(match[3])
