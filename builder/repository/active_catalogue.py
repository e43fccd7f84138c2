"""The catalogue that the active version of a repository recommends from."""

from __future__ import annotations

from pathlib import Path

from builder.errors import ConfigError
from builder.repository.manifest import read_manifest
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import RECOMMEND
from model_repository.steps.catalogue_files import CATALOGUE_FILE, load_catalogue


def active_catalogue(repository: Path) -> tuple[Path, Catalogue]:
    """The directory of the active version of ``recommend``, and its catalogue.

    Raises
    ------
    ConfigError
        It has none.
    RepositoryError
        There is no such repository.
    """
    version = repository / RECOMMEND.name / str(read_manifest(repository).active)
    if not (version / CATALOGUE_FILE).is_file():
        raise ConfigError(
            f"the active version of {repository} has no catalogue that rules could be about; "
            "export a recommender, or name another repository with --repository"
        )
    return version, load_catalogue(version)
