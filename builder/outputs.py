"""Whether the file that a command writes in the end can be written, asked before its work."""

from __future__ import annotations

import os
from pathlib import Path

from builder.errors import ConfigError


def check_file(file: Path, option: str) -> None:
    """Refuse a file that could not be written; what is there stays as it is.

    Raises
    ------
    ConfigError
        It could not, and ``option`` names it.
    """
    place = Path(os.path.realpath(file))  # a link may lead to a file that is not there yet
    try:
        is_new = not place.exists()
        # A pipe or a terminal is left alone: whoever reads it would notice.
        if is_new or place.is_file() or place.is_dir():
            place.open("ab").close()
        if is_new:
            place.unlink()
    except OSError as error:
        raise ConfigError(
            f"{option} {file}: cannot be written: {error.strerror}; name another file"
        ) from error
