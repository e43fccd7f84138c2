"""What the flags of a command make of a data set."""

from pathlib import Path
from typing import Any

from builder.data.config import DataConfig
from builder.options import Given, options_of


def data_config(directory: Path, **given: Any) -> DataConfig:
    """The configuration of a command with these flags, by the names of the fields."""
    left_out = {
        each.name: None if declared.parse is not None else each.default
        for each, declared in options_of(DataConfig)
    }
    return Given(DataConfig, {**left_out, **given}).make(directory=directory)
