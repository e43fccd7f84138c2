"""Checks that the files of a repository are there, and as they were published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.doctor.findings import Finding
from builder.errors import RepositoryError
from builder.repository import Manifest, VersionRecord, check_graph, from_text, read_manifest
from builder.repository.integrity import REPAIR, damages, listed_files
from builder.repository.publish import CONFIG, DEFAULT_FILES


@dataclass
class Contents:
    """A repository as far as it could be read; ``configs`` are those of the active version."""

    repository: Path
    manifest: Manifest | None = None
    configs: dict[str, ModelConfig] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def active(self) -> VersionRecord | None:
        return self.manifest.versions[self.manifest.active] if self.manifest else None

    def version_directory(self, model: str) -> Path:
        assert self.manifest is not None
        return self.repository / model / str(self.manifest.active)


def read_contents(repository: Path, *, as_is: bool) -> Contents:
    """Read and check a repository.

    ``as_is`` says that Triton will see the directory itself, with everything that lies in it.
    """
    contents = Contents(repository)
    found = contents.findings
    try:
        manifest = contents.manifest = read_manifest(repository)
    except RepositoryError as error:
        found.append(Finding("error", str(repository), str(error)))
        return contents
    record = manifest.versions[manifest.active]
    found.append(
        Finding(
            "ok",
            str(repository),
            f"version {manifest.active} of {len(manifest.versions)} is active, target "
            f"{record.target or 'unknown'}, models {', '.join(record.models)}",
        )
    )
    for model in record.models:
        found.extend(_check_model(contents, model))
    if len(contents.configs) == len(record.models):
        found.append(_check_graph(contents))
    for number, version in sorted(manifest.versions.items()):
        found.extend(_check_hashes(contents, number, version))
    found.extend(_check_strays(repository, record.models, as_is=as_is))
    return contents


def _check_model(contents: Contents, model: str) -> Iterator[Finding]:
    assert contents.manifest is not None
    active = contents.manifest.active
    path = contents.repository / model / CONFIG
    try:
        config = from_text(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        yield Finding("error", str(path), f"cannot be read: {error}", REPAIR)
        return
    except RepositoryError as error:
        yield Finding("error", str(path), str(error), REPAIR)
        return
    contents.configs[model] = config
    if config.name and config.name != model:
        yield Finding(
            "error", str(path), f"names the model {config.name!r}, its directory {model!r}", REPAIR
        )
    pinned = list(config.version_policy.specific.versions)
    if pinned != [active]:
        yield Finding(
            "error",
            str(path),
            f"is pinned to versions {pinned}, the manifest says that {active} is active",
            f"`python -m builder activate {active}` writes it anew",
        )
    directory = contents.version_directory(model)
    if not directory.is_dir():
        yield Finding("error", str(directory), "the directory is missing", REPAIR)
        return
    name = config.default_model_filename or DEFAULT_FILES.get(config.backend)
    if name and not (directory / name).is_file():
        yield Finding("error", str(directory / name), "the file is missing", REPAIR)
    own = directory / CONFIG
    if own.is_file() and own.read_bytes() != path.read_bytes():
        yield Finding(
            "warning",
            str(path),
            f"was changed after the export: it differs from {own}; the next export or `activate` "
            "undoes the change",
            f"make the same change in {own}, or let `python -m builder activate {active}` undo it",
        )


def _check_graph(contents: Contents) -> Finding:
    try:
        check_graph(contents.configs.values())
    except RepositoryError as error:
        return Finding("error", str(contents.repository), str(error), REPAIR)
    count = sum(config.HasField("ensemble_scheduling") for config in contents.configs.values())
    return Finding("ok", str(contents.repository), f"{count} ensembles fit their steps")


def _check_hashes(contents: Contents, number: int, record: VersionRecord) -> Iterator[Finding]:
    """Hash every file that the manifest lists. An inactive version only fails a roll-back."""
    assert contents.manifest is not None
    listed = listed_files(contents.repository, number, record)
    where = f"{contents.repository}, version {number}"
    if not listed:
        yield Finding("warning", where, "the manifest has no hashes of it, so damage goes unseen")
        return
    severity, remedy = (
        ("error", REPAIR)
        if number == contents.manifest.active
        else ("warning", "export its checkpoint again, or do not activate it")
    )
    wrong = 0
    for path, problem in damages(listed):
        wrong += 1
        if path.name == CONFIG and path.is_file():  # see docs/operations.md, "Sizing"
            yield Finding(
                "warning",
                str(path),
                f"was changed after the export: {problem}",
                "nothing, if you changed it; else restore it, or export again",
            )
            continue
        yield Finding(severity, str(path), problem, remedy)  # type: ignore[arg-type]
    if not wrong:
        yield Finding("ok", where, f"{len(listed)} files are those that were exported")


def _check_strays(repository: Path, models: tuple[str, ...], *, as_is: bool) -> Iterator[Finding]:
    """Triton takes every directory at the root for a model, and fails if one cannot be loaded."""
    for path in sorted(repository.iterdir()):
        if not path.is_dir() or path.name in models:
            continue
        if (path / CONFIG).exists():
            yield Finding(
                "warning",
                str(path),
                "is a model that the active version does not have; Triton will load it too",
                "move it elsewhere if that is not wanted",
            )
        else:
            yield Finding(
                "error" if as_is else "warning",
                str(path),
                "is no model, but Triton takes every directory here for one and does not start"
                + ("" if as_is else "; `python -m builder serve` hides it from Triton"),
                "delete it or move it elsewhere",
            )
