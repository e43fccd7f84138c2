"""A repository that commit 1b86672 exported, with the code of today, on the real tritonserver.

It is served, replaced, brought back, and given new items. tests/fixtures/README.md says how it was
made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from builder.command_line import app
from builder.errors import CheckpointError
from builder.repository import read_manifest
from builder.serving import TritonServer
from client import InvalidInput, RecommenderClient
from tests.fixtures.old_repository import unpack_old
from tests.fixtures.recorded import ask, assert_same
from tests.shared import first_of

FILE = Path(__file__).parents[1] / "fixtures/old_answers.json"
RECORDED = json.loads(FILE.read_text("utf-8"))
REQUESTS, ANSWERS = RECORDED["requests"], RECORDED["answers"]
LAYOUTS = ("fused", "ensemble")
SAME_CODE, SAME_MODEL = 1e-4, 1e-3
"""How far answers may be from the recorded ones: of the same version, and of a new export."""
LIMITS = ("--max-top-k", 20, "--max-rows", 16, "--max-users", 8)
"""Of the old versions."""


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a checkpoint and a repository of each layout; not to be changed."""
    return unpack_old(tmp_path_factory.mktemp("old"))


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def repository(old: Path, layout: str, tmp_path: Path) -> Path:
    """A copy of the old repository."""
    return Path(shutil.copytree(old / layout, tmp_path / "models"))


def builder(*arguments: object) -> str:
    """What a command of ``python -m builder`` writes; raises what it refuses with."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def as_json(*arguments: object) -> Any:
    return json.loads(builder(*arguments, "--json"))


def listed(repository: Path) -> dict[int, bool]:
    """The versions and whether they are active; the doctor finds nothing wrong with them."""
    report = as_json("doctor", "--repository", repository)
    assert report["loads"], report["findings"]
    rows = as_json("versions", "--repository", repository)
    return {row["version"]: row["active"] for row in rows}


@contextmanager
def served(repository: Path, version: int) -> Iterator[RecommenderClient]:
    """A client of a server that has loaded `version` and nothing else."""
    with (
        TritonServer(repository) as server,
        RecommenderClient(server.grpc_address, timeout=60) as client,
    ):
        assert {(model.name, model.version) for model in server.models()} == {
            (name, version) for name in read_manifest(repository).versions[version].models
        }
        assert client.ready()
        yield client


def assert_answers(client: RecommenderClient, of: str, tolerance: float) -> None:
    """Ask what the repository `of` was asked; the answers are the recorded ones."""
    for name, request in REQUESTS.items():
        assert_same(ask(client, request), ANSWERS[of][name], tolerance)


def test_it_serves_as_it_did(repository: Path, layout: str) -> None:
    with served(repository, 1) as client:
        assert_answers(client, layout, SAME_CODE)


@pytest.mark.parametrize("layout", first_of(LAYOUTS), indirect=True)
def test_a_new_version_replaces_it_and_it_comes_back(
    old: Path, repository: Path, layout: str
) -> None:
    assert listed(repository) == {1: True}
    builder(
        "export", "--checkpoint", old / "checkpoint", "--repository", repository,
        "--layout", layout, *LIMITS,
    )  # fmt: skip
    assert listed(repository) == {1: False, 2: True}
    with served(repository, 2) as client:
        assert_answers(client, layout, SAME_MODEL)
    builder("activate", 1, "--repository", repository)
    assert listed(repository) == {1: True, 2: False}
    with served(repository, 1) as client:
        assert_answers(client, layout, SAME_CODE)


@pytest.mark.sweep
@pytest.mark.parametrize("layout", first_of(LAYOUTS), indirect=True)
def test_new_items_join_it(old: Path, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(RECORDED["new_items"])
    checkpoint = ("--checkpoint", old / "checkpoint")
    builder("add-items", "--items", tmp_path / "new.csv", "--repository", repository, *checkpoint)
    with served(repository, 2) as client:
        assert_answers(client, "grown", SAME_MODEL)
        with pytest.raises(InvalidInput, match="--max-top-k"):
            client.recommend([], top_k=21)


def test_new_items_need_its_checkpoint(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(RECORDED["new_items"])
    with pytest.raises(CheckpointError, match=r"/no/such/checkpoint.* --checkpoint"):
        builder("add-items", "--items", tmp_path / "new.csv", "--repository", repository)
    assert list(read_manifest(repository).versions) == [1]


def test_doctor_sees_that_it_was_damaged(repository: Path) -> None:
    name = next(iter(read_manifest(repository).versions[1].details["sha256"]))
    model, _, file = name.partition("/")
    with (repository / model / "1" / file).open("ab") as damaged:
        damaged.write(b"\n")
    done = CliRunner().invoke(app, ["doctor", "--repository", str(repository), "--json"])
    assert done.exit_code == 1
    errors = [each for each in json.loads(done.stdout)["findings"] if each["severity"] == "error"]
    assert [file in each["where"] for each in errors] == [True]
