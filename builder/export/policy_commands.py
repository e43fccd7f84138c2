"""``python -m builder policy``: what ``recommend`` does unless a request says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from builder.errors import ConfigError
from builder.options import command
from builder.repository import DEFAULT_REPOSITORY

app = typer.Typer(
    name="policy",
    help="What recommend does unless a request says otherwise.",
    no_args_is_help=True,
)


@app.callback()
def _policy() -> None:
    """Keep ``check`` a command of its own, which typer does not where it is the only one."""


@command
def check(
    file: Annotated[Path, typer.Argument(help="Policy for `export --policy`.", dir_okay=False)],
    repository: Annotated[
        Path, typer.Option(help="Model repository, whose active version it is for.")
    ] = DEFAULT_REPOSITORY,
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Directory of `serve --rules`, for its named lists. Without it lists of any "
            "name will do.",
        ),
    ] = None,
) -> None:
    """Check a policy against the items of a repository, and say what is in it.

    Example: python -m builder policy check policy.yaml --repository repository
    """
    from builder.export.policy_file import check_policy, read_policy_file
    from builder.repository.active_catalogue import active_catalogue
    from model_repository.core.policy.facts import FixedFacts
    from model_repository.core.requests import ReaderSettings
    from model_repository.engines.settings import read_settings
    from model_repository.steps.rules_directory import BrokenRules, read_rules

    found = read_policy_file(file)
    version, catalogue = active_catalogue(repository)
    lists = None
    if rules is not None:
        try:
            facts = read_rules(rules, FixedFacts(catalogue).current(), 1).facts
        except (BrokenRules, OSError) as error:
            raise ConfigError(f"{error}") from error
        lists = facts.lists
    check_policy(found, catalogue, ReaderSettings(**read_settings(version)["reader"]), lists)
    for title, values in (("default", found.default), ("always", found.always)):
        for name, value in values.items():
            typer.echo(f"{title:<7}  {name}: {value}")


app.command()(check)
