"""``rules check`` says what a server would make of the files, or what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from builder.command_line import app
from builder.errors import ConfigError
from builder.repository.manifest import MANIFEST, Manifest, VersionRecord, manifest_text
from builder.serving import TritonServer
from model_repository.core.attributes import Attributes, NumberColumn
from model_repository.steps.catalogue_files import save_catalogue
from model_repository.steps.rules_directory import RULES
from tests.unit.model_repository.catalogues import catalogue


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Version 2 of a recommender, as far as its items go."""
    root = tmp_path / "models"
    (root / "recommend/2").mkdir(parents=True)
    known = replace(catalogue(3), attributes=Attributes({"price": NumberColumn(np.ones(3))}))
    save_catalogue(root / "recommend/2", known)
    record = VersionRecord("", "embedded", "", ("recommend",), {"family": "recommender"})
    (root / MANIFEST).write_text(manifest_text(Manifest(2, {2: record})), "utf-8")
    return root


def check(rules: Path, repository: Path) -> Result:
    return CliRunner().invoke(app, ["rules", "check", str(rules), "--repository", str(repository)])


def test_what_is_in_the_files_is_told(tmp_path: Path, repository: Path) -> None:
    rules = tmp_path / "rules"
    (rules / "lists").mkdir(parents=True)
    (rules / "attributes.csv").write_text("item_id,stock\ni0,1\nx,2\n")
    (rules / "lists/recalled.txt").write_text("i1\ni2\ny\n")
    done = check(rules, repository)
    assert done.exception is None
    assert done.output.splitlines() == [
        "attributes  is_new:boolean, price:number, stock:number",
        "attributes.csv  2 items, of which the catalogue lacks 1",
        "@recalled  3 values, 2 ids of items",
    ]


def test_what_is_wrong_is_told(tmp_path: Path, repository: Path) -> None:
    done = check(tmp_path / "none", repository)
    assert isinstance(done.exception, ConfigError)
    assert "there is no directory" in str(done.exception)
    (tmp_path / "attributes.csv").write_text("item_id,price\ni0,much\n")
    done = check(tmp_path, repository)
    assert isinstance(done.exception, ConfigError)
    assert "price of item 'i0' is wrong: 'much' is no number" in str(done.exception)
    (repository / "recommend/2/catalogue.json").unlink()
    done = check(tmp_path, repository)
    assert isinstance(done.exception, ConfigError)
    assert "has no catalogue that rules could be about; export" in str(done.exception)


def test_the_models_of_a_server_are_told_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = TritonServer(tmp_path, rules=Path("rules"))._variables(tmp_path)
    assert told[RULES] == str(tmp_path / "rules")
    assert RULES not in TritonServer(tmp_path)._variables(tmp_path)
