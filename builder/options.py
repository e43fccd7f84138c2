"""Options declared once: the field of a dataclass is the flag of a command, and its own check.

A configuration declares what a field means and which values make sense; a command takes the fields
of a configuration as its flags::

    @dataclass(frozen=True)
    class Limits:
        max_rows: int = option(128, "Largest batch of texts.", at_least=1)

        def __post_init__(self) -> None:
            check(self, "limits")

    @command
    def export(*, repository: Path, limits: Given[Limits]) -> None:
        publish(repository, limits.make())

The names of the type hints of a command are looked up where the command is defined.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from rich.markup import escape

from builder.errors import ConfigError

_KEY: Final = "option"
_Config = TypeVar("_Config")


@dataclass(frozen=True)
class Option:
    """What is declared of a field beside its type and default.

    Attributes
    ----------
    meaning
        One or two sentences for ``--help``.
    panel
        Heading that the flag stands under.
    metavar
        What stands for the value in ``--help``.
    flag
        The flag's name; that of the field unless given.
    at_least, above, below
        Bounds of a number: ``at_least <= value``, ``above < value``, ``value < below``.
    typed, parse
        Type of what the flag takes, and what makes the field's value of it, where the two differ.
    """

    meaning: str
    panel: str | None = None
    metavar: str | None = None
    flag: str | None = None
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    typed: Any = None
    parse: Callable[[Any], Any] | None = None

    def problem(self, name: str, value: object) -> str | None:
        """What is wrong with a number, None if nothing is."""
        bounds = (self.at_least, self.above, self.below)
        if value is None or all(bound is None for bound in bounds):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name} {value!r}: must be a number"
        if not math.isfinite(value):
            return f"{name} {value}: must be a finite number"
        wrong = (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )
        return f"{name} {value}: must be {self._range()}" if wrong else None

    def _range(self) -> str:
        told = [
            f"{word} {bound}"
            for word, bound in (
                ("at least", self.at_least),
                ("above", self.above),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " and ".join(told)


def option(default: Any, meaning: str, **declared: Any) -> Any:
    """A field of a dataclass that is an option; `declared` are attributes of `Option`."""
    return field(default=default, metadata={_KEY: Option(meaning, **declared)})


def again(config: type, name: str, default: Any = None, **changed: Any) -> Any:
    """A field for an option of another configuration, which stays as it was unless it is given.

    Where ``meaning`` ends with what the default is, that is left out.
    """
    declared: Option = next(found for each, found in options_of(config) if each.name == name)
    told = {"meaning": declared.meaning.partition(" Default: ")[0], **changed}
    return field(default=default, metadata={_KEY: replace(declared, **told)})


def options_of(config: object) -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a dataclass, or of an instance of one, that were declared with `option`."""
    for each in fields(config):  # type: ignore[arg-type] # a dataclass
        if _KEY in each.metadata:
            yield each, each.metadata[_KEY]


def check(config: object, subject: str, others: Iterable[str] = ()) -> None:
    """Raise for every value of a configuration that is not one of its choices or out of bounds.

    Parameters
    ----------
    subject
        What the configuration is of, for the message.
    others
        What else is wrong.

    Raises
    ------
    ConfigError
        All problems in one message, a line each.
    """
    hints = get_type_hints(type(config))
    found = []
    for each, declared in options_of(config):
        value = getattr(config, each.name)
        if get_origin(hints[each.name]) is Literal:
            choices = get_args(hints[each.name])
            if value not in choices:
                found.append(f"{each.name} {value!r}: must be one of {', '.join(choices)}")
        elif (problem := declared.problem(each.name, value)) is not None:
            found.append(problem)
    refuse(subject, [*found, *others])


def refuse(subject: str, problems: Sequence[str]) -> None:
    """Raise `ConfigError` with all problems, a line each, if there are any."""
    if problems:
        raise ConfigError(f"{subject}:\n" + "\n".join(f"  {line}" for line in problems))


@dataclass(frozen=True)
class Given(Generic[_Config]):
    """What a command was given of the options of a configuration."""

    config: type[_Config]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, config: type[_Config], values: Mapping[str, Any]) -> Given[_Config]:
        """Those of `values` that are options of `config`, as its flags give them."""
        return cls(config, {each.name: values[each.name] for each, _ in options_of(config)})

    def make(self, **others: Any) -> _Config:
        """The configuration, with the values of its other fields.

        Raises
        ------
        ConfigError
            Values that make no sense.
        """
        parsed = {
            each.name: declared.parse(self.values[each.name])
            if declared.parse is not None
            else self.values[each.name]
            for each, declared in options_of(self.config)
        }
        return self.config(**{**parsed, **others})


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, whose parameters of type `Given` are flags, one for each option.

    Square brackets in the help of its flags are shown as they are, where rich would take them for
    markup.
    """
    # get_type_hints of Python 3.10 makes Optional[Annotated[...]] of what is None by default.
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if get_origin(parameter.annotation) is Given:
            (groups[name],) = get_args(parameter.annotation)
            parameters += _flags(groups[name])
        else:
            parameters.append(parameter.replace(annotation=_literal_help(parameter.annotation)))

    @functools.wraps(function)
    def run(**values: Any) -> None:
        given: dict[str, Any] = {name: Given.of(config, values) for name, config in groups.items()}
        flat = {each.name for config in groups.values() for each, _ in options_of(config)}
        function(**{name: value for name, value in values.items() if name not in flat}, **given)

    kinds = sorted(parameters, key=lambda each: each.kind)
    run.__signature__ = signature.replace(parameters=kinds, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in kinds}
    return run


def _flags(config: type) -> list[inspect.Parameter]:
    hints = get_type_hints(config, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if declared.parse is not None else each.default,
            annotation=_literal_help(
                Annotated[
                    declared.typed or hints[each.name],
                    typer.Option(
                        declared.flag or f"--{each.name.replace('_', '-')}",
                        help=declared.meaning,
                        metavar=declared.metavar,
                        rich_help_panel=declared.panel,
                    ),
                ]
            ),
        )
        for each, declared in options_of(config)
    ]


def _literal_help(annotation: Any) -> Any:
    if get_origin(annotation) is not Annotated:
        return annotation
    of_type, info = get_args(annotation)
    shown = copy.copy(info)
    shown.help = info.help and escape(info.help)
    return Annotated[of_type, shown]


def names(columns: str | None) -> tuple[str, ...]:
    """The names of a list with commas, as `Option.parse`."""
    return tuple(name.strip() for name in columns.split(",")) if columns else ()
