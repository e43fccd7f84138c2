"""``policy check`` holds a policy against the items of a repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from builder.command_line import app
from builder.errors import ConfigError
from builder.repository.manifest import MANIFEST, Manifest, VersionRecord, manifest_text
from model_repository.steps.catalogue_files import save_catalogue
from tests.unit.model_repository.catalogues import catalogue

READER = {"max_rows": 4, "max_history": 6, "actions": [], "max_top_k": 20}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    version = root / "recommend" / "1"
    version.mkdir(parents=True)
    save_catalogue(version, catalogue(30))
    (version / "settings.json").write_text(json.dumps({"reader": READER}))
    record = VersionRecord("", "embedded", "", ("recommend",), {"family": "recommender"})
    (root / MANIFEST).write_text(manifest_text(Manifest(1, {1: record})), "utf-8")
    return root


def check(repository: Path, text: str, *options: str) -> Result:
    file = repository.parent / "policy.yaml"
    file.write_text(text, "utf-8")
    return CliRunner().invoke(
        app, ["policy", "check", str(file), "--repository", str(repository), *options]
    )


def test_what_is_in_it_is_told(repository: Path) -> None:
    done = check(repository, "diversity: 0.3\nalways: {filter: 'not id in @recalled'}")
    assert done.exception is None
    assert done.output.splitlines() == [
        "default  diversity: 0.3",
        "always   filter: not id in @recalled",
    ]


def test_what_the_items_do_not_have_is_refused(repository: Path) -> None:
    found = check(repository, "limits: at most 2 per brand").exception
    assert isinstance(found, ConfigError)
    assert "the model has no attribute 'brand'" in str(found)


def test_named_lists_are_those_of_the_rules(repository: Path) -> None:
    lists = repository.parent / "rules" / "lists"
    lists.mkdir(parents=True)
    (lists / "recalled.txt").write_text("i1\n")
    rules = ("--rules", str(lists.parent))
    assert check(repository, "filter: not id in @recalled", *rules).exception is None
    found = check(repository, "filter: not id in @recaled", *rules).exception
    assert isinstance(found, ConfigError)
    assert "did you mean @recalled?" in str(found)


def test_a_repository_without_items_is_named(repository: Path) -> None:
    (repository / "recommend/1/catalogue.json").unlink()
    found = check(repository, "diversity: 0.3").exception
    assert isinstance(found, ConfigError)
    assert "has no catalogue" in str(found)
