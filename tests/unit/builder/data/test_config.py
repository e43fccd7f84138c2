from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.data import Columns, DataConfig
from builder.data.template import Template
from builder.errors import ConfigError

names = st.none() | st.text(min_size=1)
configs = st.builds(
    DataConfig,
    directory=st.sampled_from([Path("data"), Path("/srv/däta")]),
    format=st.sampled_from(["auto", "recbole", "movielens", "table"]),
    interactions=names,
    items=names,
    users=names,
    columns=st.builds(Columns, **{field.name: names for field in fields(Columns)}),
    text=st.none() | st.just("{title} ({year})"),
    min_rating=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    target_actions=st.lists(st.text(min_size=1), unique=True).map(tuple),
    context=st.sampled_from(["keep", "drop"]),
    min_events=st.integers(1, 10**6),
    profile=st.lists(st.text(min_size=1), unique=True).map(tuple),
    item_profile=st.lists(st.text(min_size=1), unique=True).map(tuple),
    log_columns=st.lists(st.text(min_size=1), unique=True).map(tuple),
    encoding=st.sampled_from([None, "latin-1", "utf-16"]),
    separator=st.sampled_from([None, ";", "::", "\t", "tab"]),
    quote=st.sampled_from(["auto", "none"]),
)


@given(configs)
def test_round_trip_through_json(config: DataConfig) -> None:
    assert DataConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_keys_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig.from_dict({"directory": "d", "formt": "", "columns": {"usr": "u", "x": "y"}})
    for key in ("'formt'", "'columns.usr'", "'columns.x'"):
        assert key in str(caught.value)


def test_all_bad_values_are_named() -> None:
    values = {
        "directory": "d",
        "format": "xls",
        "items": "",
        "columns": {"user": 3},
        "min_rating": float("nan"),
        "min_events": 0,
        "text": "{title",
        "profile": ["age", "age", ""],
        "target_actions": ["buy", "buy"],
        "context": "hide",
    }
    with pytest.raises(ConfigError) as caught:
        DataConfig.from_dict(values)
    for name in ("format 'xls'", "items ''", "columns.user 3", "min_rating nan", "min_events 0"):
        assert name in str(caught.value)
    for name in ("target_actions 'buy'", "context 'hide'", "profile 'age'", "profile ''"):
        assert name in str(caught.value)
    assert "text template '{title'" in str(caught.value)


def test_directory_is_needed() -> None:
    with pytest.raises(ConfigError, match="directory: must be given"):
        DataConfig.from_dict({})


@pytest.mark.parametrize("text", ["no column", "{a", "{a!r}", "{a:>3}", "{}", "}"])
def test_bad_templates(text: str) -> None:
    with pytest.raises(ConfigError, match="text template"):
        Template.parse(text)


def test_missing_values_leave_no_trace() -> None:
    rows = pd.DataFrame(
        {
            "title": ["Ä  b", "C {x} (D)", ""],
            "year": ["1999", "", ""],
            "genre (main)": ["", "g", ""],
        }
    )
    template = Template.parse("{{{title}}} ({year}) [ {genre (main)} ]")
    assert template.columns == ["title", "year", "genre (main)"]
    assert template.render(rows) == ["{Ä b} (1999)", "{C {x} (D)} [ g ]", "{}"]
    assert Template.parse("{title} ({year})").render(rows)[2] == ""
