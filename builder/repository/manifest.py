"""``manifest.json`` at the root of a repository: which versions it holds, which one is served.

Also the default path of a repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from builder.errors import RepositoryError

DEFAULT_REPOSITORY: Final = Path("repository")
"""Where exports go, and what is served, unless ``--repository`` says otherwise."""

MANIFEST: Final = "manifest.json"
_FORMAT: Final = "tritonrec-repository-1"
_CHUNK: Final = 1 << 20
_EARLIER_DEFAULT: Final = Path("model_repository")


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One published version.

    ``created`` is ISO 8601 in UTC. ``details`` holds what the export measured (precision, hashes,
    parity figures, shapes …), as JSON values.
    """

    created: str
    target: str
    checkpoint: str
    models: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    active: int
    versions: Mapping[int, VersionRecord]


def read_manifest(repository: Path) -> Manifest:
    """Read what the repository holds.

    Raises
    ------
    RepositoryError
        No manifest, not ours, or broken.
    """
    path = repository / MANIFEST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise RepositoryError(
            f"{repository} is not a published model repository (it has no {MANIFEST}); "
            f"{remedy(repository)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} cannot be read: {error}") from error
    try:
        return _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RepositoryError(
            f"{path} is broken or was not written by this software "
            f"({type(error).__name__}: {error}); publish into another directory, or restore it"
        ) from error


def remedy(repository: Path) -> str:
    """Say what to do about a repository that is not there: the end of an error's message.

    Where the default holds none, one may still lie where exports went before.
    """
    default = repository.resolve() == DEFAULT_REPOSITORY.resolve()
    if default and (_EARLIER_DEFAULT / MANIFEST).is_file():
        return (
            f"{_EARLIER_DEFAULT}, where exports went before, holds one; name it with --repository, "
            f"as in `python -m builder serve --repository {_EARLIER_DEFAULT}`"
        )
    return "create one with `python -m builder export`"


def manifest_text(manifest: Manifest) -> str:
    """Render as JSON; ``details`` must hold JSON values only, else RepositoryError."""
    document = {
        "format": _FORMAT,
        "active": manifest.active,
        "versions": {
            str(number): {
                "created": record.created,
                "target": record.target,
                "checkpoint": record.checkpoint,
                "models": list(record.models),
                "details": dict(record.details),
            }
            for number, record in sorted(manifest.versions.items())
        },
    }
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RepositoryError(
            f"the version's details do not fit into {MANIFEST}: {error}; use JSON values and "
            "finite numbers"
        ) from error


def sha256_of(file: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
    """SHA-256 of a file, as a version's details list it; the file may be larger than the memory.

    ``meanwhile`` is called every few milliseconds. What it raises ends this.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            meanwhile()
    return digest.hexdigest()


def _parse(document: Any) -> Manifest:
    if document["format"] != _FORMAT:
        raise ValueError(f"format is {document['format']!r}, expected {_FORMAT!r}")
    versions = {
        int(number): VersionRecord(
            created=_text(record["created"]),
            target=_text(record["target"]),
            checkpoint=_text(record["checkpoint"]),
            models=tuple(_text(name) for name in record["models"]),
            details=dict(record["details"]),
        )
        for number, record in document["versions"].items()
    }
    active = document["active"]
    if active not in versions:
        raise ValueError(f"the active version {active!r} is not among {sorted(versions)}")
    return Manifest(active=active, versions=versions)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value
