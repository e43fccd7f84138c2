"""``python -m perf profile``: where the time of each process goes, as flame graphs."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Annotated

import psutil
import typer

from builder.options import Given, command
from builder.serving import TritonServer
from perf.analyze import Model, entries
from perf.analyzer import Load, find_analyzer, is_batched, write_data
from perf.errors import PerfError
from perf.options import ServerOptions, note, scratch_directory
from perf.processes import model_processes
from perf.workload import read_workload

_SETTLE = 1.0  # seconds of load before and after the recording


@command
def profile(
    model: Annotated[Model, typer.Argument(help="The model to load.")],
    *,
    server_options: Given[ServerOptions],
    clients: Annotated[int, typer.Option(help="Clients of a closed loop.")] = 16,
    batch: Annotated[int, typer.Option(help="Texts in a request (encode).")] = 1,
    seconds: Annotated[int, typer.Option(help="Length of the recording.")] = 10,
    output: Annotated[Path, typer.Option(help="Directory of the SVG files.")] = Path(
        "perf/results/profile"
    ),
) -> None:
    """Draw a flame graph of each process of the server, under load (py-spy).

    Serves the repository, loads one model with perf_analyzer, and records every Python process of
    the server with py-spy at the same time. Needs the right to trace processes (root, or
    kernel.yama.ptrace_scope=0).

    Example: python -m perf profile encode --clients 16
    """
    options = server_options.make()
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if spy is None:
        raise PerfError("profiles need py-spy: `pip install tritonrec[perf]`")
    workload = read_workload(options.checkpoint, options.seed)
    analyzer = find_analyzer(options.environments)
    output.mkdir(parents=True, exist_ok=True)
    with scratch_directory() as scratch, TritonServer(options.repository) as server:
        batched = is_batched(server.grpc_address, model)
        data = write_data(scratch / "data.json", entries(model, workload), batched=batched)
        recordings = [
            (file, _record(spy, process, seconds, file))
            for process, name in model_processes(server)
            if (file := output / f"{model}-{name}.svg")
        ]
        note(f"recording {len(recordings)} processes for {seconds} s")
        analyzer.measure(
            server.grpc_address, model, data, Load(clients=clients),
            seconds + 2 * _SETTLE, batch=batch if model == "encode" else 1,
        )  # fmt: skip
        problems = []
        for file, recording in recordings:
            told, _ = recording.communicate(timeout=seconds + 60)
            if recording.returncode != 0 or not file.is_file():
                problems.append(f"{file.name}: {told.strip()}")
            else:
                typer.echo(str(file))
    if problems:
        raise PerfError("py-spy could not record everything:\n  " + "\n  ".join(problems))


def _record(spy: str, process: psutil.Process, seconds: int, file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(spy, "record", "--pid", str(process.pid), "--duration", str(seconds)),
            *("--rate", "200", "--threads", "--output", str(file)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
