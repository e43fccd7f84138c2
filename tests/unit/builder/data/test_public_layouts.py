"""Data sets as they are downloaded: read with no option, or with those that the error names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builder.command_line import app
from tests.unit.builder.data.public_layouts import ITEMS, LAYOUTS, USERS, PublicLayout

WITH_NO_OPTION = 15


@pytest.fixture(params=LAYOUTS, ids=[each.name for each in LAYOUTS])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> PublicLayout:
    given: PublicLayout = request.param
    for name, content in given.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return given


def described(directory: Path, *options: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["data", "describe", str(directory), *options, "--json"])
    assert result.exception is None, result.exception
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_it_is_read(layout: PublicLayout, tmp_path: Path) -> None:
    if layout.hint:
        result = CliRunner().invoke(app, ["data", "describe", str(tmp_path)])
        assert result.exception is not None
        assert shlex.join(layout.hint) in str(result.exception)
    found = described(tmp_path, *layout.hint)
    assert (found["users"], found["items"], found["items_with_events"]) == (USERS, ITEMS, ITEMS)
    assert found["events"] == USERS * ITEMS
    assert found["repeated_pairs"] == 0
    assert (found["first_event"] is not None) == layout.timed
    assert bool(found["ratings"]) == layout.rated
    texts = found["texts"]
    assert isinstance(texts, list)
    assert layout.text in texts[0]


def test_most_need_no_option() -> None:
    assert sum(not each.hint for each in LAYOUTS) >= WITH_NO_OPTION
