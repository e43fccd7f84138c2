"""The two families of repositories: recommenders, and classifiers of texts.

A repository holds one of them. Publishing refuses the other, because a service that asks
``classify`` of a recommender, or ``rank`` of a classifier, would only find an unknown model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from builder.errors import RepositoryError
from builder.repository.manifest import MANIFEST, read_manifest
from model_repository.core.contract import CLASSIFY

Family = Literal["recommender", "classifier"]


def check_family(repository: Path, family: Family) -> None:
    """Raise RepositoryError if the active version of `repository` is of the other family."""
    if not (repository / MANIFEST).exists():
        return
    manifest = read_manifest(repository)
    models = manifest.versions[manifest.active].models
    held: Family = "classifier" if CLASSIFY.name in models else "recommender"
    if held != family:
        raise RepositoryError(
            f"{repository} holds a {held}, and its next version cannot be a {family}; name "
            "another directory with --repository"
        )
