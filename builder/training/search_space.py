"""What ``python -m builder tune`` tries: options of `TrainingConfig`, and the values of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from builder.errors import ConfigError
from builder.training.config import TrainingConfig

if TYPE_CHECKING:
    from optuna import Trial

_LOGARITHMIC: Final = frozenset({"learning_rate", "tune_learning_rate", "weight_decay"})
"""Options of which a factor matters, not a difference."""
_SAME_FOR_ALL: Final = frozenset(
    {
        "data", "backbone", "split", "hold_out_items", "hold_out", "seed", "warm_start",
        "pooling", "max_length", "linear_entries", "mlm_epochs", "refit",
    }
)  # fmt: skip
"""Options that say what is compared on, or what is prepared once for all trials."""
_SECOND_STAGE: Final = ("freeze", "tune_learning_rate")
_OF_A_NEW_NETWORK: Final = ("width", "layers", "dropout")


@dataclass(frozen=True)
class Choice:
    """One of these."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`; an integer where both are."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial, name: str) -> float:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


Dimension = Choice | Range
Space = Mapping[str, Dimension]

_WIDTHS: Final = (32, 64, 128)
DEFAULT: Final[Space] = {
    "width": Choice(_WIDTHS),
    "layers": Range(1, 3),
    "dropout": Range(0.1, 0.6),
    "id_dropout": Range(0.0, 0.5),
    "learning_rate": Range(3e-4, 3e-3, log=True),
    "weight_decay": Range(1e-3, 0.3, log=True),
    "freeze": Choice(("-1", "-2", "-4")),
    "tune_learning_rate": Range(3e-5, 1e-3, log=True),
}
"""Around the defaults, as far as MovieLens-100K and a MiniLM could want."""


def search_space(config: TrainingConfig, names: Sequence[str]) -> Space:
    """The dimensions that were asked for, or else those of `DEFAULT` that have an effect.

    Each of `names` is ``name``, for its values in `DEFAULT`, ``name=low:high`` or ``name=a,b,c``.

    Raises
    ------
    ConfigError
        What was asked for is no option, cannot be tried, has no values or some that make no sense
        beside the others of `config`; all in one message.
    """
    if not names:
        return _default(config)
    space: dict[str, Dimension] = {}
    problems = []
    for entry in names:
        name, equals, values = entry.partition("=")
        name = name.replace("-", "_")
        try:
            space[name] = _dimension(name, values if equals else None)
            for value in space[name].ends:
                replace(config, **{name: value})
        except (ValueError, ConfigError) as error:
            problems.append(f"--search {entry}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return space


def _default(config: TrainingConfig) -> Space:
    useless: set[str] = set()
    left_out = config.warm_start is not None and config.tune_epochs is None
    if left_out or config.tune_epochs == 0 or config.freeze == "all":
        useless |= {*_SECOND_STAGE}
    if config.warm_start is not None:
        useless |= {*_OF_A_NEW_NETWORK}
    space = {name: each for name, each in DEFAULT.items() if name not in useless}
    if "width" in space:
        widths = tuple(width for width in _WIDTHS if width % config.heads == 0)
        space["width"] = Choice(widths or (config.width,))
    return space


def _dimension(name: str, values: str | None) -> Dimension:
    types = {
        field.name: str(field.type).partition(" ")[0]
        for field in fields(TrainingConfig)
        if field.name not in _SAME_FOR_ALL
    }
    if name not in types:
        raise ValueError(f"cannot be tried; choose from {', '.join(types)}")
    if values is None:
        if name not in DEFAULT:
            raise ValueError("write the values to try, as LOW:HIGH or A,B,C")
        return DEFAULT[name]
    number = {"int": int, "float": float}.get(types[name], str)
    bounds = values.split(":") if number is not str else [values]
    try:
        if len(bounds) == 1:
            return Choice(tuple(number(value) for value in values.split(",")))
        low, high = (float(bound) if number is float else int(bound) for bound in bounds)
    except ValueError:
        raise ValueError(f"{values!r} is neither LOW:HIGH nor A,B,C of {types[name]}") from None
    found = Range(low, high, log=name in _LOGARITHMIC)
    if not low < high or (found.log and low <= 0):
        raise ValueError("LOW must be below HIGH" + (" and above 0" if found.log else ""))
    return found
