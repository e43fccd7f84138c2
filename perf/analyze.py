"""``python -m perf analyze``: one model of ours under perf_analyzer, and where its time goes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from perf.analyzer import Entry, Load, find_analyzer, is_batched, write_data
from perf.options import add_server_options, note, numbers, scratch_directory, served
from perf.steps import read_statistics, step_costs
from perf.workload import Workload, read_workload

MODELS = ("recommend", "rank", "encode")
_TEXTS = 20_000


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "analyze",
        help="latency and throughput of one model of ours, by perf_analyzer",
        description=(
            "Drive a model with NVIDIA's perf_analyzer, which is installed if it is not there. The "
            "requests are those of real users of the checkpoint: recommend gets the last 20 events "
            "of each, rank 100 candidates on top, encode texts that the catalogue does not hold."
        ),
        epilog=("example: python -m perf analyze recommend --concurrency 1,8,64 --rate 200,400"),
    )
    parser.add_argument("model", choices=MODELS)
    add_server_options(parser)
    parser.add_argument(
        "--concurrency", type=numbers, default=[1.0, 4.0, 16.0],
        help="clients of a closed loop, one run each (default: 1,4,16)",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=numbers, default=[],
        help="requests/s that arrive by a Poisson process, one run each (default: none)",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=1, help="texts a request (encode)")
    parser.add_argument("--seconds", type=float, default=5.0, help="a run (default: 5)")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_analyze)


def _analyze(options: argparse.Namespace) -> int:
    workload = read_workload(options.checkpoint, options.seed)
    analyzer = find_analyzer(options.environments)
    loads = [Load(clients=int(clients)) for clients in options.concurrency]
    loads += [Load(rate=rate) for rate in options.rate]
    rows = []
    with scratch_directory() as scratch, served(options) as address:
        batched = is_batched(address, options.model)
        data = write_data(scratch / "data.json", entries(options.model, workload), batched=batched)
        for load in loads:
            note(f"{options.model}, {_describe(load)}")
            before = read_statistics(address)
            measured = analyzer.measure(
                address, options.model, data, load, options.seconds,
                batch=options.batch if options.model == "encode" else 1,
                parameters={"top_k": 10} if options.model == "recommend" else None,
            )  # fmt: skip
            steps = step_costs(before, read_statistics(address))
            rows.append((load, measured, steps))
    if options.json:
        report = [
            {
                "load": dataclasses.asdict(load),
                "measured": dataclasses.asdict(measured),
                "steps": [dataclasses.asdict(step) for step in steps],
            }
            for load, measured, steps in rows
        ]
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return 0
    lines = []
    for load, measured, steps in rows:
        lines.append(
            f"{_describe(load)}: {measured.rate:,.0f} requests/s, p50 {measured.p50:.2f}, "
            f"p95 {measured.p95:.2f}, p99 {measured.p99:.2f} ms"
        )
        lines += [
            f"  {step.model:12} queue {step.queue:7.3f}  transfer {step.transfer:7.3f}  compute "
            f"{step.compute:7.3f} ms, {step.requests_per_execution:.1f} requests an execution"
            for step in steps
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def entries(model: str, workload: Workload) -> list[Entry]:
    """The requests that perf_analyzer goes through."""
    if model == "encode":
        stream = workload.endless_texts()
        return [{"TEXT": [text]} for text, _ in zip(stream, range(_TEXTS), strict=False)]
    candidates = model == "rank"
    return [
        {"HISTORY": user.history}
        | ({"CANDIDATE": workload.candidates(number)} if candidates else {})
        for number, user in enumerate(workload.users)
    ]


def _describe(load: Load) -> str:
    if load.rate is not None:
        return f"{load.rate:g} requests/s"
    return f"{load.clients} client{'s' * (load.clients != 1)}"
