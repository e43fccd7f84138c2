"""``python -m builder rules``: the directory of ``serve --rules``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from builder.errors import ConfigError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY
from builder.repository.active_catalogue import active_catalogue
from model_repository.core.policy.facts import FixedFacts
from model_repository.steps.rules_directory import ATTRIBUTES_FILE, BrokenRules, read_rules

app = typer.Typer(
    name="rules", help="Rules that change while a model is served.", no_args_is_help=True
)


@app.callback()
def _rules() -> None:
    """Keep ``check`` a command of its own, which typer does not where it is the only one."""


@command
def check(
    directory: Annotated[Path, typer.Argument(help="Directory of `serve --rules`.")],
    repository: Annotated[
        Path, typer.Option(help="Model repository, whose active version they are for.")
    ] = DEFAULT_REPOSITORY,
) -> None:
    """Read the files of a rules directory as a server would, and say what is in them.

    Example: python -m builder rules check rules --repository repository
    """
    _, catalogue = active_catalogue(repository)
    try:
        rules = read_rules(directory, FixedFacts(catalogue).current(), 1)
    except (BrokenRules, OSError) as error:
        raise ConfigError(f"{error}") from error
    facts = rules.facts
    kinds = [f"{name}:{column.kind}" for name, column in facts.attributes.columns.items()]
    typer.echo(f"attributes  {', '.join(kinds) or 'none'}")
    if rules.rows:
        unknown = f", of which the catalogue lacks {rules.unknown:,}" if rules.unknown else ""
        typer.echo(f"{ATTRIBUTES_FILE}  {rules.rows:,} items{unknown}")
    for name, listed in facts.lists.items():
        typer.echo(
            f"@{name}  {len(listed):,} values, {len(listed.items(facts.ids)):,} ids of items"
        )


app.command()(check)
