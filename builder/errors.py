"""The builder's errors. Each message says what was wrong, where, and what to do about it.

::

    BuilderError
    ├── DataError            the log, the items or their column mapping
    ├── ConfigError          an option or a configuration file
    ├── CheckpointError      a training run that is missing, unfinished or not ours
    ├── TrainingError        a training that diverged
    ├── ExportError          a target that cannot be built here, a graph that does not export
    │   └── GateError        parity or ranking outside its bound; nothing was published
    ├── RepositoryError      a model repository that is inconsistent or cannot be written
    └── ServingError         tritonserver missing, not starting, or stopping early
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class BuilderError(Exception):
    """Anything the builder refuses to do; the message is written for its user."""


class DataError(BuilderError):
    """Every problem found in the data, one per line, each with file, line and column.

    Attributes
    ----------
    kinds
        Kind of problem → how often it was found, and the first ones in words; empty where there is
        but one problem.
    """

    def __init__(
        self, message: str, kinds: Mapping[str, tuple[int, Sequence[str]]] | None = None
    ) -> None:
        super().__init__(message)
        self.kinds = kinds or {}


class ConfigError(BuilderError):
    """An option or configuration file that does not make sense."""


class CheckpointError(BuilderError):
    """A training run that is missing, unfinished or not in our format."""


class TrainingError(BuilderError):
    """A training that diverged: what it computes is no number any more."""


class ExportError(BuilderError):
    """A target that this machine cannot build, or a graph that does not export."""


class GateError(ExportError):
    """A figure outside its bound. Names both; nothing was published."""


class RepositoryError(BuilderError):
    """A model repository that is inconsistent or cannot be written."""


class ServingError(BuilderError):
    """The server is missing, does not become ready, or stopped early. Carries Triton's reason."""
