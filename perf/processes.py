"""The processes of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil

from builder.serving import TritonServer


def model_processes(server: TritonServer) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of the Python models, named as the models and numbered by instance."""
    counts: dict[str, int] = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        line = " ".join(words)
        if "triton_python_backend_stub" not in (words or [""])[0] or server.identity not in line:
            continue
        found = re.search(r"/repository/([^/ ]+)/", line)
        name = found.group(1) if found else "step"
        counts[name] = counts.get(name, 0) + 1
        yield process, name if counts[name] == 1 else f"{name}-{counts[name]}"
