"""``python -m perf analyze``: one model of ours under perf_analyzer, and where its time goes."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Literal

import typer

from builder.options import Given, command
from perf.analyzer import Entry, Load, find_analyzer, is_batched, write_data
from perf.options import Json, ServerOptions, note, numbers, scratch_directory, served
from perf.steps import read_statistics, step_costs
from perf.workload import Workload, read_workload

Model = Literal["recommend", "rank", "encode"]
_TEXTS = 20_000


@command
def analyze(
    model: Annotated[Model, typer.Argument(help="The model to load.")],
    *,
    server: Given[ServerOptions],
    concurrency: Annotated[
        str, typer.Option(metavar="N,N", help="Clients of a closed loop, one run each.")
    ] = "1,4,16",
    rate: Annotated[
        str,
        typer.Option(
            metavar="N,N", help="Requests/s that arrive by a Poisson process, one run each."
        ),
    ] = "",
    batch: Annotated[int, typer.Option(help="Texts in a request (encode).")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of a run.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Measure latency and throughput of one model of ours with perf_analyzer.

    NVIDIA's perf_analyzer is installed if it is not there. The requests are those of real users of
    the checkpoint: recommend gets the last 20 events of each, rank 100 candidates on top, encode
    texts that the catalogue does not hold.

    Example: python -m perf analyze recommend --concurrency 1,8,64 --rate 200,400
    """
    loads = [Load(clients=int(clients)) for clients in numbers("--concurrency", concurrency)]
    if rate:
        loads += [Load(rate=each) for each in numbers("--rate", rate)]
    options = server.make()
    workload = read_workload(options.checkpoint, options.seed)
    analyzer = find_analyzer(options.environments)
    rows = []
    with scratch_directory() as scratch, served(options) as address:
        batched = is_batched(address, model)
        data = write_data(scratch / "data.json", entries(model, workload), batched=batched)
        for load in loads:
            note(f"{model}, {_describe(load)}")
            before = read_statistics(address)
            measured = analyzer.measure(
                address, model, data, load, seconds,
                batch=batch if model == "encode" else 1,
                parameters={"top_k": 10} if model == "recommend" else None,
            )  # fmt: skip
            steps = step_costs(before, read_statistics(address))
            rows.append((load, measured, steps))
    if as_json:
        report = [
            {
                "load": dataclasses.asdict(load),
                "measured": dataclasses.asdict(measured),
                "steps": [dataclasses.asdict(step) for step in steps],
            }
            for load, measured, steps in rows
        ]
        typer.echo(json.dumps(report, indent=2))
        return
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
    typer.echo("\n".join(lines))


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
