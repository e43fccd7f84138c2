"""``python -m builder``: from a log to a served model."""

from __future__ import annotations

import sys
from typing import Final

_OURS: Final = ("builder", "model_repository", "tritonrec")


def main() -> None:
    """Run one command, where what it needs is installed."""
    try:
        from builder import command_line
    except ModuleNotFoundError as error:
        # The name of the one package in an installation.
        if error.name is None or error.name.partition(".")[0] in _OURS:
            raise
        sys.stderr.write(f"error: {error}: pip install 'tritonrec[builder]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # which typer hears from here on
        sys.exit(130)
    command_line.main()


if __name__ == "__main__":
    main()
