"""What the installed packages must not do: load what can hold code, or ask a shell."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ("builder", "client", "model_repository")
# They read files into objects, and such a file can hold code.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "pd.read_pickle", "pandas.read_pickle"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
ALLOWED = {"allow_pickle": False, "shell": False, "trust_remote_code": False, "weights_only": True}
"""The only value of an argument."""


def faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [each.name for each in names if each.name.split(".")[0] in UNPICKLERS]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNPICKLERS:
                found = [module]
            case ast.Call(func=ast.Name(id=name)) if name in BUILT_IN:
                found = [name]
            case ast.Call(func=ast.Attribute() as func) if ast.unparse(func) in CALLS:
                found = [ast.unparse(func)]
            case ast.keyword(arg=str(name), value=value) if name in ALLOWED:
                told = value.value if isinstance(value, ast.Constant) else None
                found = [] if told is ALLOWED[name] else [name]
            case _:
                continue
        yield from (f"line {getattr(node, 'lineno', 0)}: {each}" for each in found)


@pytest.mark.parametrize("package", INSTALLED)
def test_nothing_is_unpickled_and_no_shell_is_asked(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): list(faults(file.read_text("utf-8"))) for file in files}
    assert {file: each for file, each in found.items() if each} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import joblib.parallel as p",
        "from pickle import loads",
        "torch.load(file)",
        "yaml.load(file)",
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=flag)",
        "subprocess.run(line, shell=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "eval(text)",
    ],
)
def test_what_would_be_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize("source", ["np.load(file)", "np.load(f, allow_pickle=False)", "m.eval()"])
def test_what_is_no_fault(source: str) -> None:
    assert list(faults(source)) == []


@pytest.mark.sweep
def test_bandit_finds_nothing() -> None:
    pytest.importorskip("bandit", reason="bandit is not installed: pip install 'tritonrec[dev]'")
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "--quiet", "-c", "pyproject.toml", "-r", *INSTALLED],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
