"""The distribution as users get it: built, installed, and used without the repository."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_backend.renaming import PACKAGES
from build_backend.staging import stage_tests
from client import RecommenderClient
from tests.shared import first_of, made_once

ROOT = Path(__file__).parents[2]
BUILT_OF = ("build_backend", *PACKAGES)
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "constraints.txt")
PATIENT = 300


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an sdist, and a wheel that was built of it."""

    def make(root: Path) -> None:
        project = root / "project"  # setuptools writes where it builds an sdist
        for name in BUILT_OF:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, project / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, project / name)
        done = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", root / "dist", project],
            cwd=root, env=without_repository(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "built", make) / "dist"


@pytest.fixture(scope="session")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment where the wheel is installed, and what it needs found here."""

    def make(root: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", root / "bin/python", "install", "--quiet",
             "--no-deps", "--no-index", wheel(built)],
            check=True,
        )  # fmt: skip
        (own,) = root.glob("lib/python*/site-packages")
        # A path that a .pth names is searched, and its own .pth files are not read: those would
        # bring the names of the repository back.
        (own / "needed.pth").write_text(str(Path(pytest.__file__).parents[1]), "utf-8")

    return made_once(tmp_path_factory, "installed", make) / "bin"


def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def without_repository() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def said(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=without_repository() | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True, text=True, check=False, timeout=PATIENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files_of_packages() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_has_one_name_and_all_files(built: Path) -> None:
    with zipfile.ZipFile(wheel(built)) as archive:
        names = set(archive.namelist())
    packages = {name for name in names if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in packages} == {"tritonrec"}
    own = {"tritonrec/__init__.py", "tritonrec/__main__.py", "tritonrec/py.typed"}
    assert packages == own | {f"tritonrec/{name}" for name in files_of_packages()}


def test_the_sdist_has_the_names_of_the_repository(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert files_of_packages() <= names
    assert {*FILES} <= names


def test_no_name_of_the_repository_is_installed(environment: Path, tmp_path: Path) -> None:
    script = f"""
import importlib.util, tritonrec, tritonrec.client
assert tritonrec.RecommenderClient is tritonrec.client.RecommenderClient
assert tritonrec.__all__ == tritonrec.client.__all__
print([name for name in {PACKAGES} if importlib.util.find_spec(name)])
"""
    assert said(environment / "python", "-c", script, cwd=tmp_path) == "[]\n"


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["tritonrec", "--help"], "tritonrec [OPTIONS] COMMAND"),
        (["tritonrec-client", "--help"], "tritonrec-client [OPTIONS] COMMAND"),
        (["python", "-m", "tritonrec", "--help"], "python -m tritonrec [OPTIONS] COMMAND"),
        (["tritonrec", "export", "--help"], "A finished run of `tritonrec train`"),
        (["tritonrec-client", "rank", "--help"], "Example: tritonrec-client rank"),
    ],
)
def test_the_commands_say_the_names_that_are_installed(
    environment: Path, tmp_path: Path, command: list[str], usage: str
) -> None:
    program, *arguments = command
    shown = said(environment / program, *arguments, cwd=tmp_path)
    assert usage in shown
    assert not re.search(r"python -m (builder|client)|tritonrec-builder", shown)


@pytest.mark.parametrize("tests", first_of(["client/test_client.py", "client"]))
def test_the_tests_of_the_client_pass_with_what_is_installed(
    environment: Path, tmp_path: Path, tests: str
) -> None:
    stage_tests(ROOT, tmp_path / "staged")
    said(environment / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider",
         f"tests/unit/{tests}", cwd=tmp_path / "staged")  # fmt: skip


@pytest.fixture
def served(environment: Path, run: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """What the commands `export` and `serve` print of a run."""
    repository = tmp_path / "repository"
    exported = said(
        environment / "tritonrec", "export", "--checkpoint", run, "--repository", repository,
        "--max-rows", "16", "--max-top-k", "50", cwd=tmp_path,
    )  # fmt: skip
    ports = ["--grpc-port=0", "--http-port=0", "--metrics-port=0"]
    with subprocess.Popen(
        [environment / "tritonrec", "serve", "--repository", repository, *ports],
        cwd=tmp_path, env=without_repository() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        heard = ""
        while "Ctrl-C" not in heard and (line := server.stdout.readline()):
            heard += line
        yield exported, heard
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


@pytest.mark.sweep
def test_a_run_is_exported_and_served(served: tuple[str, str]) -> None:
    exported, heard = served
    assert "Serve it: tritonrec serve --repository" in exported
    address = re.search(r"gRPC\s+(\S+)", heard)
    assert address, heard
    with RecommenderClient(address[1], timeout=10) as client:
        assert len(client.recommend([], top_k=5)) == 5
