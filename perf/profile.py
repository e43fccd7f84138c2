"""``python -m perf profile``: where the time of each process goes, as flame graphs."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import psutil

from builder.serving import TritonServer
from perf.analyze import MODELS, entries
from perf.analyzer import Load, find_analyzer, is_batched, write_data
from perf.errors import PerfError
from perf.options import add_server_options, note, scratch_directory
from perf.processes import model_processes
from perf.workload import read_workload

_SETTLE = 1.0  # seconds of load before and after the recording


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "profile",
        help="a flame graph of each process, under load (py-spy)",
        description=(
            "Serve the repository, load one model with perf_analyzer, and record every Python "
            "process of the server with py-spy at the same time. Needs the right to trace "
            "processes (root, or kernel.yama.ptrace_scope=0)."
        ),
    )
    parser.add_argument("model", choices=MODELS)
    add_server_options(parser)
    parser.add_argument("--clients", type=int, default=16, help="(default: 16)")
    parser.add_argument("--batch", type=int, default=1, help="texts a request (encode)")
    parser.add_argument("--seconds", type=int, default=10, help="to record (default: 10)")
    parser.add_argument("--output", type=Path, default=Path("perf/results/profile"))
    parser.set_defaults(run=_profile)


def _profile(options: argparse.Namespace) -> int:
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if spy is None:
        raise PerfError("profiles need py-spy: `pip install tritonrec[perf]`")
    workload = read_workload(options.checkpoint, options.seed)
    analyzer = find_analyzer(options.environments)
    options.output.mkdir(parents=True, exist_ok=True)
    with scratch_directory() as scratch, TritonServer(options.repository) as server:
        batched = is_batched(server.grpc_address, options.model)
        data = write_data(scratch / "data.json", entries(options.model, workload), batched=batched)
        recordings = [
            (file, _record(spy, process, options.seconds, file))
            for process, name in model_processes(server)
            if (file := options.output / f"{options.model}-{name}.svg")
        ]
        note(f"recording {len(recordings)} processes for {options.seconds} s")
        analyzer.measure(
            server.grpc_address, options.model, data, Load(clients=options.clients),
            options.seconds + 2 * _SETTLE, batch=options.batch if options.model == "encode" else 1,
        )  # fmt: skip
        problems = []
        for file, recording in recordings:
            output, _ = recording.communicate(timeout=options.seconds + 60)
            if recording.returncode != 0 or not file.is_file():
                problems.append(f"{file.name}: {output.strip()}")
            else:
                sys.stdout.write(f"{file}\n")
    if problems:
        raise PerfError("py-spy could not record everything:\n  " + "\n  ".join(problems))
    return 0


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
