"""What `pip install tritonrec` brings along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def resolved(requirement: str) -> set[str]:
    """Names of the packages that pip would install into an empty environment."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
        "--constraint", str(ROOT / "constraints.txt"), "--report", "-", requirement,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    report = json.loads(done.stdout)
    return {entry["metadata"]["name"].lower() for entry in report["install"]}


@pytest.mark.sweep
def test_the_base_install_is_the_client_alone() -> None:
    names = resolved(".")
    assert {"tritonrec", "numpy", "grpcio", "tritonclient"} <= names
    assert not names & {
        "torch",
        "transformers",
        "tokenizers",
        "onnxruntime",
        "nvidia-pytriton",
        "typer",
    }


@pytest.mark.parametrize("extra", ["builder", "embedded", "dev"])
def test_no_extra_but_its_own_brings_tensorrt(extra: str) -> None:
    """The package of that name downloads from elsewhere, which not every machine can."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    section = text.split(f"\n{extra} = [", 1)[1].split("]\n", 1)[0]
    assert '"tensorrt"' not in section
    assert '"tensorrt=' not in section
