"""Files that are whole if they are there at all, also after a full disk or a power failure.

A file that says that something is complete must not be there in part.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write `text` as UTF-8; until that is done `file` is as it was."""
    unfinished = unfinished_name(file)
    unfinished.write_text(text, "utf-8")
    put_in_place(unfinished, file)


def unfinished_name(file: Path) -> Path:
    """Where `file` is written before it is put in place."""
    return file.with_name(f"{file.name}.unfinished")


def put_in_place(unfinished: Path, file: Path) -> None:
    """Give a file that was written the name of `file`, once the disk has it."""
    sync(unfinished)
    unfinished.replace(file)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or every file of a directory."""
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
