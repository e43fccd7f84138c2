"""``--config FILE``: the options of a command from a YAML file, each of which a flag overrides.

A key is an option's long name, with ``_`` for ``-``, its value what the flag would be given. The
file becomes the command's defaults, so values are parsed and checked as those of flags are.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from builder.errors import ConfigError

_NOT_IN_FILES: Final = frozenset({"config", "print_config", "help", "resume", "json"})
"""About one call, not about what it is to do."""


def _load(context: typer.Context, file: Path | None) -> Path | None:
    if file is None:
        return None
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {file}: cannot be read as YAML ({error})") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"--config {file}: must hold options, one a line, as in `epochs: 40`")
    known = _options(context)
    problems = [_unknown(str(key), known) for key in values if str(key) not in known]
    if problems:
        raise ConfigError(f"--config {file}:\n" + "\n".join(f"  {line}" for line in problems))
    context.default_map = {known[key]: _as_given(value) for key, value in values.items()}
    return file


def _options(context: typer.Context) -> dict[str, str]:
    """What a file may set: the command's parameters by the keys that set them."""
    named = {
        parameter.opts[0].removeprefix("--").replace("-", "_"): parameter.name or ""
        for parameter in context.command.params
        if parameter.param_type_name == "option"
    }
    return {key: name for key, name in named.items() if key not in _NOT_IN_FILES}


def _unknown(key: str, known: Mapping[str, object]) -> str:
    nearest = get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0)
    return f"there is no option {key!r}; did you mean {nearest[0]!r}?"


def _as_given(value: Any) -> Any:
    """A mapping as the list of ``key=value`` that a repeatable flag takes."""
    if isinstance(value, Mapping):
        return [f"{key}={each}" for key, each in value.items()]
    return value


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML with options by name, as in `min_rating: 4`; flags override it.",
        is_eager=True,
        callback=_load,
        dir_okay=False,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config", help="Print the options of this call as a file for --config, and exit."
    ),
]


def config_text(
    context: typer.Context,
    changed: Mapping[str, object] | None = None,
    *,
    without: frozenset[str] = frozenset(),
) -> str:
    """The options of this call as the YAML that `--config` reads.

    But for those `changed`, and those that stand in `without`.
    """
    given = {**context.params, **(changed or {})}
    values = {key: given.get(name) for key, name in _options(context).items() if key not in without}
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text
