"""The processes of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil

from builder.serving import TritonServer


def server_processes(identity: str) -> list[psutil.Process]:
    """All processes of the `TritonServer` of this identity: its guard, itself, its Python models.

    Each has its command line and its processor times in ``info``. Empty: no such server runs on
    this machine.
    """
    processes = psutil.process_iter(["cmdline", "cpu_times"])
    return [each for each in processes if identity in " ".join(each.info["cmdline"] or [])]


def model_processes(server: TritonServer) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of the Python models, named as the models and numbered by instance."""
    counts: dict[str, int] = {}
    for process in server_processes(server.identity):
        words = process.info["cmdline"]
        if "triton_python_backend_stub" not in words[0]:
            continue
        found = re.search(r"/repository/([^/ ]+)/", " ".join(words))
        name = found.group(1) if found else "step"
        counts[name] = counts.get(name, 0) + 1
        yield process, name if counts[name] == 1 else f"{name}-{counts[name]}"
