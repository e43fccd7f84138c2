"""``python -m client``: ask a server from the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 1 with the error on standard error."""
    try:
        from client import _commands
    except ModuleNotFoundError as error:
        if error.name != "typer":  # the one thing that the base install does without
            raise
        sys.stderr.write("the command line needs typer: pip install 'tritonrec[cli]'\n")
        return 2
    except KeyboardInterrupt:  # which typer hears from here on
        return 130
    return _commands.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
