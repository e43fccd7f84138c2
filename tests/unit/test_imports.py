"""The direction of imports, as ``[tool.importlinter]`` in ``pyproject.toml`` writes it down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def test_imports_keep_their_direction() -> None:
    # A process of its own: the linter changes sys.path and the logging of the one it runs in.
    linter = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linter.returncode == 0, linter.stdout + linter.stderr
