from __future__ import annotations

import ast
from pathlib import Path

import pytest

from builder.classifier.contract import classify_ensemble as classifier_contract
from model_repository.core import contract
from model_repository.steps import STEP_FILES, install_step


def imports(source: Path) -> list[tuple[int, str]]:
    """Every module that ``source`` imports, with the number of leading dots."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.extend((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def test_there_is_code_for_every_step_of_the_contract() -> None:
    steps = (*contract.STEPS, *classifier_contract(token_types=True).steps)
    assert STEP_FILES.keys() == {step.name for step in (*steps, *contract.FUSED)}


@pytest.mark.parametrize("name", STEP_FILES)
def test_a_version_holds_all_that_it_imports_and_no_more(name: str, tmp_path: Path) -> None:
    install_step(name, tmp_path / "1")
    present = {path.stem for path in (tmp_path / "1").iterdir()}
    needed, pending = {"model"}, ["model"]
    while pending:
        for level, module in imports(tmp_path / "1" / f"{pending.pop()}.py"):
            if level and module not in needed:
                needed.add(module)
                pending.append(module)
    assert needed == present


def test_the_code_needs_neither_torch_nor_the_builder() -> None:
    allowed = {
        "faiss", "numpy", "onnxruntime", "openvino", "tokenizers", "triton_python_backend_utils",
    }  # fmt: skip
    standard = {
        "__future__", "bisect", "collections", "concurrent", "dataclasses", "difflib", "functools",
        "hashlib", "itertools", "json", "math", "pathlib", "queue", "shutil", "struct", "traceback",
        "typing",
    }  # fmt: skip
    for source in (Path(__file__).parents[3] / "model_repository").glob("*.py"):
        absolute = {module.split(".")[0] for level, module in imports(source) if not level}
        assert absolute <= allowed | standard, source.name
