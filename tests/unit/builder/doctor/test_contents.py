from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.doctor import diagnose
from builder.repository import activate
from tests.unit.builder.doctor.repositories import errors, publish, publish_plan, server
from tests.unit.builder.repository.repositories import ENSEMBLES, STEPS

FILES = 2 * len(STEPS) + len(ENSEMBLES)  # a configuration of each, and the code of a step


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    publish(tmp_path / "models", target="embedded")
    return tmp_path / "models"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_published_repository_loads(repository: Path) -> None:
    report = diagnose(repository, server())
    assert report.loads
    assert [f for f in report.findings if f.severity != "ok"] == []
    said = " ".join(finding.what for finding in report.findings)
    assert "version 1 of 1 is active, target embedded" in said
    assert f"{len(ENSEMBLES)} ensembles fit their steps" in said
    assert f"{FILES} files are those that were exported" in said


def test_every_version_that_is_not_active_is_hashed_too(repository: Path) -> None:
    publish(repository)
    (repository / "encoder/1/model.py").write_text("damaged")
    report = diagnose(repository, server())
    assert report.loads
    (warning,) = [f for f in report.findings if f.severity == "warning"]
    assert warning.where == str(repository / "encoder/1/model.py")

    activate(repository, 1)
    (error,) = errors(diagnose(repository, server()).findings)
    assert error.where == warning.where


def test_a_model_that_only_an_old_version_has_is_found_out_of_sight(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    publish(repository)
    publish_plan(repository, None)
    report = diagnose(repository, server())
    assert any(f"{FILES} files are those" in finding.what for finding in report.findings)


Damage = Callable[[Path], object]

DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "no manifest": (lambda r: (r / "manifest.json").unlink(), "", "has no manifest.json"),
    "broken manifest": (
        lambda r: (r / "manifest.json").write_text('{"format": '),
        "",
        "manifest.json is broken",
    ),
    "manifest of something else": (
        lambda r: (r / "manifest.json").write_text("[]"),
        "",
        "not written by this software",
    ),
    "manifest without the active version": (
        lambda r: edit(r / "manifest.json", '"active": 1', '"active": 7'),
        "",
        "the active version 7 is not among [1]",
    ),
    "no configuration": (
        lambda r: (r / "encoder/config.pbtxt").unlink(),
        "encoder/config.pbtxt",
        "cannot be read",
    ),
    "broken configuration": (
        lambda r: (r / "encoder/config.pbtxt").write_text("name = encoder"),
        "encoder/config.pbtxt",
        "not a Triton model configuration",
    ),
    "configuration that is no text": (
        lambda r: (r / "encoder/config.pbtxt").write_bytes(b"\xff\xfe"),
        "encoder/config.pbtxt",
        "cannot be read",
    ),
    "another model's name": (
        lambda r: edit(r / "encoder/config.pbtxt", 'name: "encoder"', 'name: "coder"'),
        "encoder/config.pbtxt",
        "names the model 'coder'",
    ),
    "another version": (
        lambda r: edit(r / "encoder/config.pbtxt", "versions: 1", "versions: 2"),
        "encoder/config.pbtxt",
        "is pinned to versions [2], the manifest says that 1",
    ),
    "no version directory": (
        lambda r: shutil.rmtree(r / "rank/1"),
        "rank/1",
        "the directory is missing",
    ),
    "no model file": (
        lambda r: (r / "recommend/1/model.py").unlink(),
        "recommend/1/model.py",
        "the file is missing",
    ),
    "an ensemble that does not fit": (
        lambda r: edit(r / "encoder/config.pbtxt", "TYPE_FP32", "TYPE_INT64"),
        "",
        "does not fit",
    ),
    "a stray directory": (
        lambda r: (r / "__pycache__").mkdir(),
        "__pycache__",
        "Triton takes every directory here for one",
    ),
}


@pytest.mark.parametrize(("damage", "where", "what"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_an_error_that_says_where(
    repository: Path, damage: Damage, where: str, what: str
) -> None:
    damage(repository)
    report = diagnose(repository, server())
    assert not report.loads
    told = [f for f in errors(report.findings) if f.where == str(repository / where)]
    assert any(what in finding.what for finding in told), report.findings
    assert all(f.remedy or " with `" in f.what or "restore" in f.what for f in told)


def test_a_repository_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (error,) = errors(diagnose(tmp_path / "none", server()).findings)
    assert "python -m builder export" in error.what


def test_what_serve_hides_from_triton_is_a_warning_there(repository: Path) -> None:
    (repository / "__pycache__").mkdir()
    report = diagnose(repository, server(embedded=True))
    assert report.loads
    assert [f.where for f in report.findings if f.severity == "warning"] == [
        str(repository / "__pycache__")
    ]


def test_a_model_of_somebody_else_is_a_warning(repository: Path) -> None:
    (repository / "other").mkdir()
    (repository / "other/config.pbtxt").write_text('name: "other"')
    report = diagnose(repository, server())
    assert report.loads
    assert any("Triton will load it too" in f.what for f in report.findings)


def test_a_configuration_that_was_edited_by_hand_is_a_warning(repository: Path) -> None:
    edit(repository / "encoder/config.pbtxt", "count: 1", "count: 2")
    report = diagnose(repository, server())
    assert report.loads
    assert any("was changed after the export" in f.what for f in report.findings)


def test_a_version_whose_configuration_was_edited_is_a_warning(repository: Path) -> None:
    """As operations.md has it for more instances of one model."""
    edited = repository / "encoder/1/config.pbtxt"
    edit(edited, "count: 1", "count: 2")
    activate(repository, 1)
    report = diagnose(repository, server())
    assert report.loads
    (found,) = (f for f in report.findings if f.where == str(edited))
    assert (found.severity, found.what[:28]) == ("warning", "was changed after the export")


def test_a_manifest_without_hashes_is_a_warning(repository: Path) -> None:
    document = json.loads((repository / "manifest.json").read_text())
    document["versions"]["1"]["details"] = {"sha256": None, "opset": "?", "engine": 3}
    (repository / "manifest.json").write_text(json.dumps(document))
    report = diagnose(repository, server())
    assert report.loads
    assert any("no hashes" in f.what for f in report.findings if f.severity == "warning")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("bytes") / "models"
    publish(repository)
    return repository


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(data: st.DataObject, shared: Path) -> None:
    listed = json.loads((shared / "manifest.json").read_text())
    names = sorted(listed["versions"]["1"]["details"]["sha256"])
    model, file = data.draw(st.sampled_from(names)).split("/", 1)
    path = shared / model / "1" / file
    content = path.read_bytes()
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        found = diagnose(shared, server()).findings
    finally:
        path.write_bytes(content)
    severity = "warning" if file == "config.pbtxt" else "error"  # which may be changed
    assert any(
        each.where == str(path) and "SHA-256" in each.what and each.severity == severity
        for each in found
    )
