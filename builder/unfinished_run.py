"""A run lives in ``output.partial`` until it is complete, so that ``output`` is never half made."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from builder.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)

_OPTIONS: Final = "training.json"
_SUFFIX: Final = ".partial"


def partial_directory(output: Path) -> Path:
    """The directory of the unfinished run."""
    # Not with_name: ".", "/" and "a/.." have no name to append to.
    return Path(f"{os.path.normpath(output)}{_SUFFIX}")


def is_interrupted(output: Path) -> bool:
    """Whether there is an unfinished run to go on with."""
    return (partial_directory(output) / _OPTIONS).is_file()


def name_of(directory: Path) -> str:
    """The run's name by its directory, be it finished or not."""
    return directory.name.removesuffix(_SUFFIX)


def check(output: Path, options: Mapping[str, Any], *, resume: bool) -> None:
    """Raise where no run can begin, or none with these options be continued; nothing is written.

    Raises
    ------
    ConfigError
        `output` exists; `resume` finds no run, or one with other options.
    """
    partial = partial_directory(output)
    if Path(os.path.normpath(output)).exists():  # a/.. is there, even where a is not
        raise ConfigError(f"--output {output} exists; choose another, or remove it to train again")
    if not resume:
        return
    if not is_interrupted(output):
        raise ConfigError(f"--resume: there is no interrupted run at {partial}; leave --resume out")
    file = partial / _OPTIONS
    try:
        begun = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"--resume: {file} was not written to its end; leave --resume out"
        ) from error
    if different := [name for name in options if options[name] != begun.get(name)]:
        raise ConfigError(
            f"--resume: the interrupted run had other options for {', '.join(different)}; "
            "repeat its options, or leave --resume out to begin again"
        )


def begin(output: Path, options: Mapping[str, Any]) -> None:
    """Make the directory of a run, without what an interrupted one left there.

    Raises
    ------
    ConfigError
        A part of the path is a file.
    """
    partial = partial_directory(output)
    if partial.exists():
        log.warning("an interrupted run at %s begins again; --resume would continue it", partial)
        shutil.rmtree(partial)
    try:
        partial.mkdir(parents=True)
    except (NotADirectoryError, FileExistsError) as error:
        raise ConfigError(
            f"--output {output}: a part of this path is a file; choose another"
        ) from error
    (partial / _OPTIONS).write_text(json.dumps(options, indent=2), "utf-8")


def finish(partial: Path, output: Path) -> None:
    """Give a complete run its own name.

    Raises
    ------
    CheckpointError
        It cannot be renamed, since `output` was made in the meantime.
    """
    try:
        os.rename(partial, output)  # noqa: PTH104 - Path.rename on Windows replaces; this must not
    except OSError as error:
        raise CheckpointError(
            f"the run is complete at {partial} but could not be renamed to {output}: {error}"
        ) from error
    (output / _OPTIONS).unlink()
