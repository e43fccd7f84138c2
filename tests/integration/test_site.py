"""The pages as a site: links lead somewhere, references are whole, nothing is from elsewhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import client
from model_repository.core.contract import OPTIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return target


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


@pytest.mark.sweep
def test_nothing_is_from_another_place(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    assert [page.name for page in pages if loads.search(page.read_text("utf-8"))] == []
    styles = [
        each for each in site.rglob("*.css") if re.search(r"url\([\"']?https?:", each.read_text())
    ]
    assert styles == []


@pytest.mark.sweep
def test_the_references_are_whole(site: Path) -> None:
    sdk = text_of(site / "reference" / "sdk.html")
    exported = [name for name in client.__all__ if isinstance(getattr(client, name), type)]
    shown = [name for name in exported if f"client.{name}" in sdk]
    assert set(exported) - set(shown) == {"AsyncRecommenderClient"}
    recommend = sdk[sdk.index("recommend(") :]
    assert "top_k" in recommend[: recommend.index(")")]
    requests = text_of(site / "reference" / "requests.html")
    assert [option.name for option in OPTIONS if option.meaning not in requests] == []
    commands = text_of(site / "reference" / "command-line.html")
    for command in ("python -m builder train", "--target-actions", "python -m client recommend"):
        assert command in commands


@pytest.mark.sweep
def test_a_notebook_is_a_page_of_prose_and_code(site: Path) -> None:
    page = site / "notebooks" / "policy.html"
    text = text_of(page)
    assert "diversity needs nobody" in text
    assert "# %%" not in text
    assert 'href="train_and_serve.html"' in page.read_text("utf-8")
    assert 'class="highlight"' in page.read_text("utf-8")
    assert not list(site.rglob("*.py"))
