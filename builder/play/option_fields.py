"""The fields of the request options, made of their declarations in the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from builder.play.history import FormError
from model_repository.core.contract import (
    OptionSpec,
    RankOptions,
    RecommendOptions,
    options_of,
)

Kind = Literal["checkbox", "select", "number", "text"]

OPTIONS: Final = options_of(RecommendOptions)
_OF_RANK: Final = frozenset(option.name for option in options_of(RankOptions))


_USUAL: Final = frozenset({"top_k", "include_seen", "new_items", "time", "background"})


@dataclass(frozen=True, slots=True)
class OptionField:
    """One field of the form; ``value`` is as it was typed, "" for the default."""

    option: OptionSpec
    value: str

    @property
    def name(self) -> str:
        return f"option-{self.option.name}"

    @property
    def usual(self) -> bool:
        """Whether it stands in sight; the options of the policy unfold."""
        return self.option.name in _USUAL

    @property
    def label(self) -> str:
        return self.option.name.replace("_", " ")

    @property
    def kind(self) -> Kind:
        if isinstance(self.option.default, bool):
            return "checkbox"
        if self.option.choices:
            return "select"
        return "number" if isinstance(self.option.default, int | float) else "text"


def fields(form: Mapping[str, str]) -> list[OptionField]:
    """The field of every option of ``recommend``, with what the form says of it."""
    return [OptionField(option, form.get(f"option-{option.name}", "")) for option in OPTIONS]


def chosen(form: Mapping[str, str]) -> dict[str, Any]:
    """The options that the form gives and that are not the default: only these are sent.

    Raises
    ------
    FormError
        A value is no number where one is due.
    """
    values = {each.option.name: _value(each) for each in fields(form)}
    return {
        option.name: values[option.name]
        for option in OPTIONS
        if values[option.name] != option.default
    }


def of_rank(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that ``rank`` has too."""
    return {name: value for name, value in options.items() if name in _OF_RANK}


def _value(field: OptionField) -> bool | int | float | str:
    default = field.option.default
    if isinstance(default, bool):
        return field.value == "on"
    value = field.value.strip()
    if not value:
        return default
    if isinstance(default, str):
        return value
    try:
        return type(default)(value)
    except ValueError as error:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise FormError(f"{field.label} is {value!r}: give {kind}") from error
