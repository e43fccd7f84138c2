"""``python -m perf.republish FROM TO``: publish again what a repository serves.

This is what the end of an export does, without the minutes before it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from builder import unexpected_errors
from builder.errors import BuilderError
from builder.repository import MANIFEST, from_text, read_manifest, stage


def republish(source: Path, repository: Path) -> None:
    """Publish to ``repository`` what Triton is to serve of ``source``; they may be one.

    Raises
    ------
    RepositoryError
        See `builder.repository.stage`.
    """
    details = {}
    if (source / MANIFEST).exists():
        manifest = read_manifest(source)
        details = dict(manifest.versions[manifest.active].details)
    with stage(repository) as staging:
        staging.target, staging.checkpoint = "embedded", "none"
        for file in sorted(source.glob("*/config.pbtxt")):
            config = from_text(file.read_text("utf-8"), str(file))
            (version,) = config.version_policy.specific.versions
            shutil.copytree(
                file.parent / str(version), staging.model_dir(config.name), dirs_exist_ok=True
            )
            config.version_policy.specific.versions[:] = [staging.version]
            for step in config.ensemble_scheduling.step:
                step.model_version = staging.version
            staging.write_config(config)
        staging.details = {**details, "sha256": staging.hashes()}


def main() -> int:
    """Publish as the arguments say; returns 1 with the reason on standard error."""
    try:
        republish(Path(sys.argv[1]), Path(sys.argv[2]))
    except BuilderError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        message = unexpected_errors.message(error, "python -m perf.republish")
        sys.stderr.write(f"error: {message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
