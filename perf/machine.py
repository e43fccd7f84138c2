"""Describes the machine: its hardware, its software, and the most that it can do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

_PACKAGES: Final = (
    "nvidia-pytriton", "onnxruntime", "openvino", "torch", "transformers", "tokenizers", "numpy",
    "faiss-cpu", "grpcio",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """Return processor, cores that this process may use, memory in GiB, load and kernel."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": round(psutil.virtual_memory().total / 2**30, 1),
        # What else was running: figures of a machine that was not idle are no figures.
        "busy": psutil.cpu_percent(interval=2.0) / 100,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of what takes part, where it is installed."""
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    return {name: installed[name] for name in _PACKAGES if name in installed}


def memory_bandwidth(size: int = 2**28, tries: int = 5) -> float:
    """Bytes a second at which one core reads memory: the best of several sums of ``size`` bytes."""
    values = np.ones(size // 4, np.float32)
    return size / min(_timed(lambda: values.max()) for _ in range(tries))


def multiplication_rate(tries: int = 5) -> float:
    """FP32 operations a second of torch's matrix product on all cores, the best of several."""
    import torch

    left, right = torch.rand(2, 2048, 2048)
    return 2 * 2048**3 / min(_timed(lambda: left @ right) for _ in range(tries + 1))


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _processor() -> str:
    """Name, family and model, and instructions: one name stands for several generations."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    told = [found.get("model name", platform.machine())]
    told += [
        f"{words} {found[name]}"
        for name, words in (("cpu family", "family"), ("model", "model"))
        if name in found
    ]
    flags = found.get("flags", "").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if flag in flags]
    return f"{', '.join(told)} ({', '.join(known)})"
