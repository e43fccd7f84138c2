from __future__ import annotations

import ast
from pathlib import Path

import pytest

from build_backend.renaming import PACKAGES, rename_source, rename_text
from build_backend.staging import module_names

ROOT = Path(__file__).parents[3]
MODULES = {"client", "client.otel", "builder.data", "builder.data.times"}


@pytest.mark.parametrize(
    ("source", "renamed"),
    [
        ("import client", "import tritonrec.client as client"),
        ("import client as c", "import tritonrec.client as c"),
        ("import sys, client", "import sys, tritonrec.client as client"),
        ("import client.otel", "import tritonrec.client.otel, tritonrec.client as client"),
        ("import client.otel as otel", "import tritonrec.client.otel as otel"),
        ("from client import Item", "from tritonrec.client import Item"),
        (
            "from  client.otel import (\n    A,\n)",
            "from  tritonrec.client.otel import (\n    A,\n)",
        ),
        (
            "def f():\n    from builder import data",
            "def f():\n    from tritonrec.builder import data",
        ),
        ("x = 'é'; import client", "x = 'é'; import tritonrec.client as client"),
    ],
)
def test_imports(source: str, renamed: str) -> None:
    assert rename_source(source, MODULES) == renamed


@pytest.mark.parametrize(
    "source",
    [
        "from . import client",
        "from .client import x",
        "from tritonclient import client",
        "import clients, client_side",
        "client = 1\nclient.otel\nclient.recommend([])",
        "x = 'the client', 'client.recommend()', 'my.client.otel', 'a/client.otel'",
        "# a client; from clients import x",
    ],
)
def test_what_is_none_of_ours_stays(source: str) -> None:
    assert rename_source(source, MODULES) == source


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("run `python -m builder train`", "run `tritonrec train`"),
        ("python -m client status", "tritonrec-client status"),
        ("see `builder.data.times.Clock`", "see `tritonrec.builder.data.times.Clock`"),
        (":mod:`client.otel`", ":mod:`tritonrec.client.otel`"),
        (">>> from client import Item", ">>> from tritonrec.client import Item"),
        (">>> from client.otel import X", ">>> from tritonrec.client.otel import X"),
        ("python -m perf run", "python -m perf run"),
    ],
)
def test_texts(text: str, renamed: str) -> None:
    assert rename_text(text, MODULES) == renamed
    for source in (f"# {text}", f"x = '''{text}'''", f"x = ('a', f'{{y!r:>{{z}}}} {text} {{{{')"):
        assert rename_source(source, MODULES) == source.replace(text, renamed)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_of_a_package_imports_by_the_names_of_the_repository(package: str) -> None:
    modules = module_names(ROOT)
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(rename_source(file.read_text("utf-8"), modules))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] not in PACKAGES, file
            elif isinstance(node, ast.Import):
                assert not {each.name.partition(".")[0] for each in node.names} & {*PACKAGES}, file
