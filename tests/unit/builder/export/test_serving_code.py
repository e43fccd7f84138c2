"""The code that an export copies into each version of a model."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from builder.export import serving_code
from builder.export.serving_code import PACKAGE, install

SOURCE = Path(__file__).parents[4] / "model_repository"
MODULES = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}

# Imports every module of version 3 beside a stub of Triton's own, and prints what that took.
IMPORT_ALL = f"""
import importlib, json, sys
from pathlib import Path
from types import ModuleType
sys.modules["triton_python_backend_utils"] = ModuleType("triton_python_backend_utils")
root = Path(sys.argv[1])
sys.path.insert(0, str(root))
model = importlib.import_module("3.model")
assert model.TritonPythonModel.__module__ == "3.{PACKAGE}.steps.triton_model"
for file in sorted((root / "3").rglob("*.py")):
    importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    (tmp_path / "3").mkdir()
    install(tmp_path / "3", ["tokenizers"])
    return tmp_path / "3"


def test_a_version_holds_the_package_whole_and_a_model(installed: Path) -> None:
    copied = installed / PACKAGE
    assert {str(path.relative_to(copied)) for path in copied.rglob("*.py")} == MODULES.keys()
    for name, source in MODULES.items():
        assert (copied / name).read_bytes() == source.read_bytes()
    assert {path.name for path in installed.iterdir()} == {PACKAGE, "model.py", "libraries.json"}
    assert not list(installed.rglob("__pycache__"))


def test_it_imports_as_triton_imports_it_and_needs_nothing_of_the_project(installed: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-I", "-B", "-c", IMPORT_ALL, str(installed.parent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    loaded = set(json.loads(process.stdout))
    assert not loaded & {"model_repository", "builder", "client", "perf", "torch", "transformers"}


def test_libraries_are_noted_in_their_versions(installed: Path) -> None:
    assert json.loads((installed / "libraries.json").read_text()) == {
        "numpy": version("numpy"),
        "tokenizers": version("tokenizers"),
    }


def test_what_else_lies_in_the_directory_of_the_package_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model_repository"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    for stray in ("rank/1", "__pycache__", "core/__pycache__"):
        (source / stray).mkdir(parents=True)
        (source / stray / "large.bin").touch()
    (source / "manifest.json").touch()
    monkeypatch.setattr(serving_code, "_SOURCE", source)
    (tmp_path / "1").mkdir()
    install(tmp_path / "1", [])
    copied = {path.name for path in (tmp_path / "1" / PACKAGE).iterdir()}
    assert copied == {"__init__.py", "core", "engines", "steps"}
    assert not list((tmp_path / "1").rglob("large.bin"))


def imports(source: Path) -> Iterator[tuple[int, str]]:
    """Every module that ``source`` imports, with the number of leading dots."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


ENGINES = {"faiss", "onnxruntime", "openvino", "tokenizers", "triton_python_backend_utils"}

LIBRARIES = {"core/policy/grammar.py": {"lark"}, "core/policy/diversity.py": {"pyversity"}}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_a_server_has_and_stays_in_the_package(name: str) -> None:
    folder, depth = name.split("/")[0], name.count("/")
    allowed = {"numpy", *sys.stdlib_module_names} | (ENGINES if folder != "core" else set())
    allowed |= LIBRARIES.get(name, set())
    for dots, module in imports(MODULES[name]):
        if dots:
            assert dots <= depth + 1, f"{'.' * dots}{module}"
        else:
            assert module.split(".")[0] in allowed, module
    # The core knows neither of the others, the engines not the steps.
    upper = {"core": ("engines", "steps"), "engines": ("steps",)}.get(folder, ())
    for dots, module in imports(MODULES[name]):
        assert not (dots == depth + 1 and module.split(".")[0] in upper), module


FILES = {
    "modules": {"io", "mmap", "os", "pathlib", "shutil", "tempfile"},
    "names": {"open", "Path"},
    "attributes": {
        "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "open", "open_memmap", "read_bytes",
        "read_text", "save", "savetxt", "savez", "tofile", "write_bytes", "write_text",
    },
}  # fmt: skip


def opens_files(source: str) -> set[str]:
    """What in a module's text reads or writes files."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in FILES["names"]:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr in FILES["attributes"]:
            found.add(node.attr)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & FILES["modules"]
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & FILES["modules"]
            found |= {alias.name for alias in node.names} & (FILES["names"] | FILES["attributes"])
    return found


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("core/")])
def test_the_core_opens_no_files(name: str) -> None:
    assert opens_files(MODULES[name].read_text("utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    ["open('x')", "from pathlib import Path", "import os", "numpy.load('x')", "file.read_text()",
     "from numpy import memmap"],
)  # fmt: skip
def test_that_would_be_seen(source: str) -> None:
    assert opens_files(source)
