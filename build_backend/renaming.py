"""Renames the packages of the repository in a text: `client` becomes `tritonrec.client`.

Imports are found by syntax. Within strings and comments, and in texts that are no Python, only
what can be nothing else is renamed: dotted names of modules that exist, lines of imports, and the
commands ``python -m builder`` and ``python -m client``, which an installation calls ``tritonrec``
and ``tritonrec-client``.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator
from typing import Final

TOP: Final = "tritonrec"
PACKAGES: Final = ("builder", "client", "model_repository")

_NAMES: Final = "|".join(PACKAGES)
_COMMANDS: Final = (
    (re.compile(r"\bpython -m builder\b"), TOP),
    (re.compile(r"\bpython -m client\b"), f"{TOP}-client"),
)
_IMPORT: Final = re.compile(rf"\b(from )({_NAMES})(?= import\b)")
_DOTTED: Final = re.compile(rf"(?<![\w./-])({_NAMES})\.(\w+)")
_FROM: Final = re.compile(r"from\s+")
_BEGINS: Final = ("FSTRING_START", "TSTRING_START")
_ENDS: Final = ("FSTRING_END", "TSTRING_END")


def rename_text(text: str, modules: Collection[str]) -> str:
    """Rename in a text that is no Python: what a docstring, a page or a table of settings says.

    ``modules`` are the dotted names of all modules, such as ``client.otel``.
    """
    for command, installed in _COMMANDS:
        text = command.sub(installed, text)
    text = _IMPORT.sub(rf"\1{TOP}.\2", text)
    return _DOTTED.sub(lambda found: f"{TOP}.{found[0]}" if found[0] in modules else found[0], text)


def rename_source(source: str, modules: Collection[str]) -> str:
    """Rename in a Python source. Raises `SyntaxError` for what is none."""
    edits = sorted([*_imports(source), *_texts(source, modules)], reverse=True)
    for start, end, new in edits:  # from the end, so that what is before keeps its place
        source = source[:start] + new + source[end:]
    return source


_Edit = tuple[int, int, str]
"""Where the replaced text begins and ends, in characters, and what comes in its place."""


def _imports(source: str) -> Iterator[_Edit]:
    lines = source.splitlines(keepends=True)
    starts = _starts(lines)

    def offset(line: int, column: int) -> int:  # ast counts bytes
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_ours(node.module or ""):
            before = _FROM.match(source, offset(node.lineno, node.col_offset))
            assert before is not None, f"line {node.lineno}: no import that can be renamed"
            yield before.end(), before.end(), f"{TOP}."
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_ours(alias.name):
                    start = offset(alias.lineno, alias.col_offset)
                    yield start, start + len(alias.name), _alias(alias)


def _alias(alias: ast.alias) -> str:
    """The import that binds the same name: ``import client.otel`` binds ``client``."""
    root = alias.name.partition(".")[0]
    bound = f"{TOP}.{root} as {root}"
    if alias.asname:  # which follows in the source
        return f"{TOP}.{alias.name}"
    return bound if root == alias.name else f"{TOP}.{alias.name}, {bound}"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


def _texts(source: str, modules: Collection[str]) -> Iterator[_Edit]:
    starts = _starts(source.splitlines(keepends=True))
    depth, begin = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        start, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        if kind in _BEGINS:  # from Python 3.12 on f-strings are many tokens
            begin = begin if depth else start
            depth += 1
        elif kind in _ENDS:
            depth -= 1
            start = begin
        if not depth and kind in ("STRING", "COMMENT", *_ENDS):
            old = source[start:end]
            new = rename_text(old, modules)
            if new != old:
                yield start, end, new


def _starts(lines: list[str]) -> list[int]:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return starts
