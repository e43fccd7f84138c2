"""Policies as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ConfigError
from builder.export.policy_file import check_policy, read_policy_file
from model_repository.core.options import RepositoryPolicy
from model_repository.core.policy.facts import NamedList
from model_repository.core.requests import ReaderSettings
from tests.unit.model_repository.catalogues import catalogue

SETTINGS = ReaderSettings(max_rows=4, max_history=6, actions=[], max_top_k=20)


def write(directory: Path, text: str) -> Path:
    file = directory / "policy.yaml"
    file.write_text(text, "utf-8")
    return file


def test_defaults_and_what_always_holds(tmp_path: Path) -> None:
    text = "diversity: 0.3\nalways:\n  filter: genre != 'x'\n  limits: at most 2 per genre\n"
    assert read_policy_file(write(tmp_path, text)) == RepositoryPolicy(
        {"diversity": 0.3}, {"filter": "genre != 'x'", "limits": "at most 2 per genre"}
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1", "must hold options of a request, one a line"),
        ("always: 3", "must hold options of a request"),
        ("a: [", "cannot be read as YAML"),
        ("diversty: 0.3", "there is no option 'diversty'; did you mean diversity"),
        ("diversity: much", "parameter diversity is 'much', a str; it must be a number"),
        ("diversity: .nan", "is no text, number"),
        ("top_k: 2000-01-01", "put quotes around it"),
        ("boost: '*2'\nalways: {boost: '*3'}", "boost has a default, and a value under `always:`"),
        ("x: " + "y" * 70_000, "larger than 65,536 bytes"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_policy_file(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be read"):
        read_policy_file(tmp_path / "nothing.yaml")


def test_it_is_checked_against_the_items() -> None:
    known = replace(catalogue(30))
    check_policy(RepositoryPolicy({"limits": "at most 2 per genre"}), known, SETTINGS)
    with pytest.raises(ConfigError, match="the policy: the model has no attribute 'artist'"):
        check_policy(RepositoryPolicy({"limits": "at most 2 per artist"}), known, SETTINGS)
    with pytest.raises(ConfigError, match="contradict each other"):
        check_policy(
            RepositoryPolicy({"limits": "at least 12 where genre == 'x'"}), known, SETTINGS
        )


def test_named_lists_are_checked_where_they_are_known() -> None:
    known, found = catalogue(30), RepositoryPolicy({}, {"filter": "not id in @recalled"})
    check_policy(found, known, SETTINGS)
    check_policy(found, known, SETTINGS, {"recalled": NamedList([])})
    with pytest.raises(ConfigError, match="recalled"):
        check_policy(found, known, SETTINGS, {})
