"""The cookbook's code is code, and names what exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[3] / "docs" / "client.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_what_is_imported_exists(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("client"):
            module = importlib.import_module(node.module or "")
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def test_the_tree_of_errors_is_the_real_one() -> None:
    from client import errors

    tree = re.search(r"```\n(RecommenderError.*?)```", TEXT, re.DOTALL)
    drawn = set(re.findall(r"\b([A-Z]\w+)", tree[1] if tree else ""))
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.RecommenderError):
            assert kind.__name__ in drawn
