"""Whether the files of a version are those that were exported, by the hashes in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from builder.repository.manifest import VersionRecord, sha256_of

REPAIR: Final = (
    "restore the file, activate another version with `python -m builder activate`, or export again"
)
"""What to do about a damage."""


def listed_files(repository: Path, number: int, record: VersionRecord) -> Mapping[Path, str]:
    """The files of version ``number`` with their SHA-256; none if the manifest lists no hashes."""
    hashes = record.details.get("sha256")
    if not isinstance(hashes, Mapping):
        return {}
    found = {}
    for name, expected in hashes.items():
        model, _, file = str(name).partition("/")
        found[_home(repository, model) / str(number) / file] = str(expected)
    return found


def damages(
    files: Mapping[Path, str], meanwhile: Callable[[], object] = lambda: None
) -> Iterator[tuple[Path, str]]:
    """Read ``files`` and yield those that are not what was exported, each with what is wrong.

    ``meanwhile`` is called all the time, see `sha256_of`.
    """
    known: dict[tuple[int, int], str] = {}  # models share files, which are read once
    for path, expected in files.items():
        try:
            status = path.stat()
            key = status.st_dev, status.st_ino
            if key not in known:
                known[key] = sha256_of(path, meanwhile)
        except OSError as error:
            yield path, f"cannot be read: {error.strerror}"
            continue
        if known[key] != expected:
            yield path, "is not the file that was exported: its SHA-256 differs from the manifest's"


def _home(repository: Path, model: str) -> Path:
    """Where a model lies: at the root, or out of Triton's sight if only old versions have it."""
    place = repository / model
    if not place.exists():
        return next(iter(repository.glob(f"*/.inactive/{model}")), place)
    return place
