"""What an operator sees of the real server: metrics, alerts, dashboard, access log and ``status``.

No Prometheus is there to load the rules: a parser of its query language reads the expressions.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from builder.errors import ServingError
from builder.serving.live_figures import read_page
from client import InferenceFailed, InvalidInput, Item, RecommenderClient, Retry
from perf.serve import Served, served, start_serve
from tests.integration.tiny_repository import write_tiny_repository
from tests.shared import reached

ROOT = Path(__file__).parents[2]
# With a GPU and with a response cache only, neither of which there is here.
ELSEWHERE = re.compile(r"nv_(gpu|cache)_")
METRIC = re.compile(r"\b(?:nv|tritonrec)_\w+")
SECRETS = ("i1", "i7", "nobody", "toy story")

DASHBOARD = json.loads((ROOT / "docker/grafana/dashboards/triton.json").read_text("utf-8"))
ALERTS = yaml.safe_load((ROOT / "docker/alerts.yml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
SHOWN = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
ALERTED = [rule["expr"] for rule in RULES]


@dataclass
class Observed:
    """A ``serve`` whose requests are all in its access log."""

    running: Served
    access_log: Path

    def port(self, purpose: str) -> str:
        found = re.search(rf"{purpose} +http://([^/\s]+)", self.running.printed)
        assert found is not None
        return found[1]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.port('metrics')}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def value(self, name: str, model: str) -> float:
        (found,) = re.findall(
            rf'^{name}{{model="{model}",version="1"}} (\S+)$', self.metrics(), re.MULTILINE
        )
        return float(found)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.access_log.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """It has answered, skipped what it does not know, refused and failed."""
    directory = tmp_path_factory.mktemp("observed")
    write_tiny_repository(directory / "models", layout="fused", max_wait=500, trend=True)
    log, rules = directory / "access.log", directory / "rules"
    rules.mkdir()
    options = (f"--access-log={log}", "--access-log-share=1", f"--rules={rules}")
    with served(directory / "models", *options) as running:
        with RecommenderClient(running.address, timeout=60, retry=Retry(attempts=1)) as client:
            client.recommend(["i1", "nobody"], top_k=3)
            client.rank(["i1"], ["i7", "nobody"], on_unknown="skip")
            client.rank(["i1"], [Item("i7"), Item("new", "toy story")])
            with pytest.raises(InvalidInput):
                client.rank(["i1"], ["nobody"])
            with pytest.raises(InferenceFailed):
                client.encode(["bomb"])
        yield Observed(running, log)


@pytest.mark.parametrize("query", ALERTED + SHOWN)
def test_a_query_is_promql(query: str) -> None:
    promql_parser.parse(query.replace("$__rate_interval", "1m").replace("$model", ".*"))


@pytest.mark.parametrize("queries", [ALERTED, SHOWN], ids=["alerts", "dashboard"])
def test_what_is_asked_for_is_exported(observed: Observed, queries: list[str]) -> None:
    pages = observed.metrics() + observed.running.get("/metrics")[1]
    exported = set(re.findall(r"^# TYPE (\w+)", pages, re.MULTILINE))
    asked = {name for query in queries for name in METRIC.findall(query)}
    assert len(asked) > 10
    assert {name for name in asked if not ELSEWHERE.match(name)} <= exported
    assert {reason for query in queries for reason in re.findall(r'reason=~?"([^"]+)"', query)} <= {
        "BACKEND|REJECTED", "OTHER", "CANCELED"
    }  # fmt: skip
    for reason in ("BACKEND", "REJECTED", "OTHER", "CANCELED"):
        assert f'reason="{reason}"' in pages


def test_what_became_of_events_is_on_the_dashboard(observed: Observed) -> None:
    counted = set(re.findall(r"^# TYPE (tritonrec_events_\w+)", observed.metrics(), re.MULTILINE))
    assert len(counted) == 4
    shown = {name for query in SHOWN for name in METRIC.findall(query)}
    assert counted | {"tritonrec_trend_time"} <= shown


def test_figures_that_are_not_exported_here_are_those_of_tritons_manual() -> None:
    asked = {name for query in SHOWN + ALERTED for name in METRIC.findall(query)}
    assert set(filter(ELSEWHERE.match, asked)) == {
        "nv_cache_num_hits_per_model",
        "nv_cache_num_misses_per_model",
        "nv_gpu_memory_total_bytes",
        "nv_gpu_memory_used_bytes",
        "nv_gpu_utilization",
    }


def test_the_jobs_that_alerts_name_are_scraped() -> None:
    scraped = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"] for job in scraped["scrape_configs"]}
    named = {job for query in ALERTED for job in re.findall(r'job="(\w+)"', query)}
    assert named
    assert named <= jobs


def test_each_alert_is_a_rule_and_has_its_entry_in_the_runbook() -> None:
    runbook = (ROOT / "docs/operations.md").read_text("utf-8")
    section = runbook.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert explained == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["annotations"]["summary"]


def test_the_dashboard_begins_with_the_four_golden_signals() -> None:
    first, *panels = (panel["title"] for panel in DASHBOARD["panels"][:5])
    assert first == "Golden signals"
    assert [title.partition(":")[0] for title in panels] == [
        "Latency", "Traffic", "Errors", "Saturation"
    ]  # fmt: skip


def test_each_counter_counts_what_it_says(observed: Observed) -> None:
    assert reached(lambda: observed.value("tritonrec_items_named", "recommend"), 2) == 2
    assert reached(lambda: observed.value("tritonrec_items_unknown", "recommend"), 1) == 1
    assert reached(lambda: observed.value("tritonrec_items_named", "rank"), 6) == 6
    assert reached(lambda: observed.value("tritonrec_items_unknown", "rank"), 1) == 1
    assert reached(lambda: observed.value("tritonrec_requests_invalid", "rank"), 1) == 1
    assert reached(lambda: observed.value("tritonrec_requests_failed", "rank"), 0) == 0
    assert reached(lambda: observed.value("tritonrec_requests_failed", "encode"), 1) == 1
    for name in ("tritonrec_requests_refused", "tritonrec_requests_dropped", "tritonrec_fallbacks"):
        assert observed.value(name, "recommend") == 0
    # Which Triton calls a success.
    assert 'nv_inference_request_failure{model="encode",reason="BACKEND",version="1"} 0' in (
        observed.metrics()
    )


def test_the_access_log_has_a_line_for_each_request_and_names_nobody(observed: Observed) -> None:
    def answered() -> list[tuple[str, str]]:
        # Instances write their lines after their answers, so the order is theirs.
        return sorted((line["model"], line["code"]) for line in observed.lines())

    expected = [
        ("encode", "INTERNAL"),
        ("encode", "OK"),
        ("rank", "INVALID_ARG"),
        ("rank", "OK"),
        ("rank", "OK"),
        ("recommend", "OK"),
    ]
    assert reached(answered, expected) == expected
    (recommended,) = (line for line in observed.lines() if line["model"] == "recommend")
    assert (recommended["history"], recommended["top_k"], recommended["version"]) == (2, 3, 1)
    assert recommended["id"]
    ranked = [line["candidates"] for line in observed.lines() if line["model"] == "rank"]
    assert sorted(ranked) == [1, 2, 2]
    assert not any(f'"{secret}' in observed.access_log.read_text("utf-8") for secret in SECRETS)


def test_an_access_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path / "models", layout="fused")
    with start_serve(tmp_path / "models", f"--access-log={tmp_path}") as process:
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode == 2
    assert printed.startswith("error: --access-log")
    assert "name another file" in printed


def status(observed: Observed, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "builder", "status",
        f"--metrics={observed.port('metrics')}", f"--health={observed.port('health')}", *options,
    ]  # fmt: skip


def test_status_as_json_has_each_model(observed: Observed) -> None:
    with RecommenderClient(observed.running.address, timeout=60) as client:
        process = subprocess.Popen(
            status(observed, "--json"), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while process.poll() is None:
            client.recommend(["i1"])
        assert process.stdout is not None
        with process.stdout:
            found = json.load(process.stdout)
    assert process.returncode == 0
    assert found["restarts"] == 0
    models = {each["model"]: each for each in found["models"]}
    assert models.keys() == {"rank", "recommend", "encode", "observe"}
    assert all(each["ready"] for each in models.values())
    assert models["recommend"]["requests"] > 0
    assert models["recommend"]["mean_ms"] > 0
    assert models["rank"]["mean_ms"] is None
    assert models["rank"]["waiting"] == 0


def test_status_is_live_until_it_is_told_to_end(observed: Observed) -> None:
    for seconds in (4, 40):  # for its imports, on a busy machine
        with subprocess.Popen(
            status(observed, "--live"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
        if process.returncode == 0:
            break
    assert process.returncode == 0, printed
    assert "recommend" in printed
    assert "restarts 0" in printed


@pytest.mark.parametrize("other", ["gRPC", "HTTP"])
def test_status_of_another_port_says_what_to_do(observed: Observed, other: str) -> None:
    address = observed.running.address if other == "gRPC" else observed.port("HTTP")
    with pytest.raises(ServingError, match="name the metrics port with --metrics"):
        read_page(address)


def test_status_of_nobody_says_what_to_do() -> None:
    with pytest.raises(ServingError, match=r"^no metrics at http://127.0.0.1:9/metrics: .*refused"):
        read_page("127.0.0.1:9")
