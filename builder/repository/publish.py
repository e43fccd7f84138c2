"""Publishing: a repository changes all at once, by building a new tree beside it and swapping.

A tree is::

    manifest.json                 what it holds, which version is active
    <model>/config.pbtxt          of the active version, pinned to it
    <model>/<N>/                  the files of version N, and its own config.pbtxt
    <model>/.inactive/<other>/    models that only inactive versions have

and whatever else lies at its root is carried along. Triton takes every directory at the root for a
model that must load, hence the last line: there it does not look.

Files of earlier versions are hard links to the very same files, never copies and never edited, so
that a server which has them open does not notice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.errors import BuilderError, RepositoryError
from builder.repository import swap
from builder.repository.config_pbtxt import from_text, to_text
from builder.repository.graph import check_graph
from builder.repository.manifest import (
    MANIFEST,
    Manifest,
    VersionRecord,
    manifest_text,
    read_manifest,
    sha256_of,
)
from builder.whole_files import sync

CONFIG: Final = "config.pbtxt"
_INACTIVE: Final = ".inactive"
_CACHE: Final = "__pycache__"
_LEAST_FREE: Final = 1 << 20
"""Bytes of a disk that is not full."""
DEFAULT_FILES: Final[Mapping[str, str]] = {
    "python": "model.py",
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
}
"""The backends that the targets need, and the file that each loads unless told otherwise."""


class Staging:
    """A version in the making: fill ``model_dir``, hand in every configuration, describe it."""

    def __init__(self, root: Path, version: int) -> None:
        self.version = version
        self.target = ""
        self.checkpoint = ""
        self.details: dict[str, Any] = {}
        self._root = root
        self._configs: dict[str, ModelConfig] = {}

    @property
    def models(self) -> list[str]:
        """The models that have a directory."""
        return sorted(path.name for path in self._root.iterdir())

    def model_dir(self, model: str) -> Path:
        """Return the directory of this version of a model, made on first use."""
        directory = self._root / model / str(self.version)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def write_config(self, config: ModelConfig) -> None:
        """Hand in a model's configuration; it must be pinned to ``version``."""
        pinned = list(config.version_policy.specific.versions)
        if pinned != [self.version]:
            raise RepositoryError(
                f"model {config.name!r}: its configuration is pinned to {pinned}, this is version "
                f"{self.version}"
            )
        (self.model_dir(config.name) / CONFIG).write_text(to_text(config), "utf-8")
        self._configs[config.name] = config

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every file of this version, by ``model/path``."""
        known: dict[tuple[int, int], str] = {}  # models share files, which are read once

        def digest(file: Path) -> str:
            status = file.stat()
            key = status.st_dev, status.st_ino
            if key not in known:
                known[key] = sha256_of(file)
            return known[key]

        return {
            f"{model}/{file.relative_to(self.model_dir(model))}": digest(file)
            for model in self.models
            for file in sorted(self.model_dir(model).rglob("*"))
            if file.is_file()
        }

    def finish(self) -> VersionRecord:
        """Check all files of the version and describe it; RepositoryError lists what is wrong."""
        if not self._configs:
            raise RepositoryError("the version holds no models; write at least one configuration")
        missing = [
            f"model {name!r}: a directory without a configuration"
            for name in self.models
            if name not in self._configs
        ]
        for name, config in sorted(self._configs.items()):
            file = config.default_model_filename or DEFAULT_FILES.get(config.backend)
            if file and not (self.model_dir(name) / file).exists():
                missing.append(f"model {name!r}: its version directory holds no {file}")
        if missing:
            raise RepositoryError("the version is not complete:\n  " + "\n  ".join(missing))
        check_graph(self._configs.values())
        return VersionRecord(
            created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            target=self.target,
            checkpoint=self.checkpoint,
            models=tuple(sorted(self._configs)),
            details=self.details,
        )


@contextlib.contextmanager
def stage(repository: Path, *, made_from: int | None = None) -> Iterator[Staging]:
    """Make the next version; it is published when the block ends without an exception.

    Whatever else happens, an exception, Ctrl-C or a kill, ``repository`` stays as it was.

    Parameters
    ----------
    made_from
        The version that was active when what is published was made of it. Where another one is
        active by now, this one would undo that export or rollback. None: it was made of none.

    Raises
    ------
    RepositoryError
        Another process publishes, the directory holds something else, another version is active
        than `made_from`, the version is not complete, its graph does not fit together, the disk is
        full, or the file system refuses.
    """
    with _explained(repository):
        repository.resolve().parent.mkdir(parents=True, exist_ok=True)
    with _opened(repository) as (target, manifest, scratch):
        if made_from is not None and manifest.active != made_from:
            raise RepositoryError(
                f"version {manifest.active} of {target} became active while the next one was made "
                f"from version {made_from}, so nothing was published; repeat the command to start "
                f"from version {manifest.active}"
            )
        number = max(manifest.versions, default=0) + 1
        with _explained(target):
            fresh = scratch / "fresh"
            fresh.mkdir()
        staging = Staging(fresh, number)
        with _full_disk_named(target, scratch):
            yield staging
        with _explained(target):
            record = staging.finish()
            sync(fresh)
            versions = {**manifest.versions, number: record}
            _replace(target, Manifest(active=number, versions=versions), scratch)


def check_publishable(repository: Path) -> None:
    """Raise as `stage` would if a repository takes no version now, before minutes of work.

    Raises
    ------
    RepositoryError
        Another process publishes, the directory holds something else, or the file system refuses.
    """
    with _opened(repository):
        pass


def activate(repository: Path, version: int) -> None:
    """Make an earlier version the served one, all at once like a publication.

    A server that runs keeps what it has loaded; restart it.

    Raises
    ------
    RepositoryError
        No such version, another process publishes, or the file system refuses.
    """
    with _opened(repository) as (target, manifest, scratch), _explained(target):
        if not manifest.versions:
            read_manifest(target)  # says that there is none
        if version not in manifest.versions:
            held = ", ".join(str(number) for number in sorted(manifest.versions))
            raise RepositoryError(f"{target} holds no version {version}; it holds {held}")
        (scratch / "fresh").mkdir()
        _replace(target, dataclasses.replace(manifest, active=version), scratch)


@contextlib.contextmanager
def _opened(repository: Path) -> Iterator[tuple[Path, Manifest, Path]]:
    """Lock the repository, clear leftovers, read it, and make a scratch directory beside it."""
    target = repository.resolve()
    with contextlib.ExitStack() as stack:
        with _explained(target):
            # Said now: an export works for minutes before it comes to the swap.
            swap.refuse_current_directory(target)
            swap.refuse_mount_point(target)
            stack.enter_context(swap.lock(target))
            swap.recover(target)
            manifest = _held(target)
            scratch = swap.staging_path(target)
            stack.callback(swap.delete_tree, scratch, ignore_errors=True)
            scratch.mkdir()
        yield target, manifest, scratch


@contextlib.contextmanager
def _full_disk_named(target: Path, scratch: Path) -> Iterator[None]:
    """Say which disk is full, if it is, whatever an exception says.

    Many libraries write the files of a version, and most tell neither the file nor the reason.
    """
    try:
        yield
    except BuilderError:
        raise
    except Exception as error:
        if shutil.disk_usage(scratch).free > _LEAST_FREE:
            raise
        raise RepositoryError(
            f"the disk of {target.parent} is full, so {target.name} stays as it was; free some "
            "space there, then export again"
        ) from error


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"{target} cannot be published to, and stays as it was: {error}; check the "
            "permissions and the free space of its parent directory"
        ) from error


def _held(target: Path) -> Manifest:
    if (target / MANIFEST).exists():
        return read_manifest(target)
    if target.exists() and not target.is_dir():
        raise RepositoryError(f"{target} is a file; name a directory")
    # Whatever else lies there is carried along; but a directory with a configuration is a model
    # that somebody else made, and Triton would serve it together with ours.
    foreign = sorted(path.parent.name for path in target.glob(f"*/{CONFIG}"))
    if foreign:
        raise RepositoryError(
            f"{target} holds models that were not published by this software: "
            f"{', '.join(foreign)}; name another directory"
        )
    return Manifest(active=0, versions={})


def _replace(target: Path, manifest: Manifest, scratch: Path) -> None:
    """Build the whole new tree from the old one and ``scratch/fresh``, and swap it in.

    The old tree is linked in only now, so that a file at its root which is edited while an export
    runs keeps the edit.
    """
    tree = scratch / "tree"
    tree.mkdir()
    active = manifest.versions[manifest.active].models
    known = {model for record in manifest.versions.values() for model in record.models}
    if target.exists():
        for entry in target.iterdir():
            if entry.name not in {MANIFEST, _CACHE, *known}:
                _link(entry, tree / entry.name)
    entries = _model_entries(target, known) | _model_entries(scratch / "fresh", known)
    for (model, name), source in entries.items():
        home = tree / model if model in active else tree / active[0] / _INACTIVE / model
        _link(source, home / name)
    for model in active:
        _write(tree / model / CONFIG, _kept_config(tree / model / str(manifest.active) / CONFIG))
    _write(tree / MANIFEST, manifest_text(manifest))
    for directory, _, _ in os.walk(tree):
        swap.sync_directory(Path(directory))
    if target.exists():
        shutil.copymode(target, tree)
    swap.swap_in(tree, target)


def _model_entries(tree: Path, models: set[str]) -> dict[tuple[str, str], Path]:
    """Find what lies in the models' directories, active or not: (model, name) to path."""
    return {
        (model, entry.name): entry
        for model in models
        for home in (tree / model, *tree.glob(f"*/{_INACTIVE}/{model}"))
        if home.is_dir()
        for entry in home.iterdir()
        if entry.name not in {CONFIG, _INACTIVE, _CACHE}
    }


def _kept_config(path: Path) -> str:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        model, version = path.parent.parent.name, path.parent.name
        raise RepositoryError(
            f"version {version} of model {model!r} is no longer complete: {version}/{CONFIG} is "
            "gone; publish it again from its checkpoint"
        ) from None
    from_text(text, str(path))
    return text


def _link(source: Path, destination: Path) -> None:
    """Hard-link a file or a whole directory, leaving Python's caches out."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(
            source,
            destination,
            symlinks=True,
            ignore=shutil.ignore_patterns(_CACHE),
            copy_function=link_file,
        )
    else:
        destination.parent.mkdir(parents=True, exist_ok=True)
        link_file(source, destination)


def link_file(source: str | Path, destination: str | Path) -> None:
    """Hard-link a file, or copy it where the file system knows no such links."""
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copy2(source, destination, follow_symlinks=False)


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    sync(path)
