"""Texts that nobody should be shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from builder.errors import ConfigError
from builder.export.harmful_texts import harmful_items
from builder.export.options import TargetOptions
from builder.export.pipeline import target_named
from builder.export.recommender import recommender
from model_repository.core.options import RepositoryPolicy

TEXTS = ["A quiet film", "a shitty film"]


@pytest.fixture(autouse=True)
def _judges(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("judges")

    def quiet(texts: Sequence[str]) -> list[bool]:
        return ["quiet" in text for text in texts]

    def counts(texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    vars(module).update(quiet=quiet, counts=counts, few=lambda _: [True], text="x")
    monkeypatch.setitem(sys.modules, "judges", module)


@pytest.mark.parametrize(("judge", "found"), [("words", [0, 1]), ("judges:quiet", [1, 0])])
def test_a_judge_marks_items(judge: str, found: list[int]) -> None:
    if judge == "words":
        pytest.importorskip("better_profanity")
    assert harmful_items(TEXTS, judge).truths.tolist() == found


@pytest.mark.parametrize(
    ("judge", "problem"),
    [
        ("nobody:x", "No module named 'nobody'; name a function as"),
        ("judges:nothing", "nothing"),
        ("judges", "name a function as"),
        ("", "name a function as"),
        ("judges:text", "text is no function"),
        ("judges:counts", "must give True or False for each of the 2"),
        ("judges:few", "must give True or False"),
    ],
)
def test_what_is_no_judge_is_refused(judge: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        harmful_items(TEXTS, judge)


def test_the_package_for_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "better_profanity", None)
    with pytest.raises(ConfigError, match=r"tritonrec\[safety\]"):
        harmful_items(TEXTS, "words")


def test_an_export_marks_its_items(checkpoint: Path) -> None:
    target = target_named("embedded", TargetOptions())
    export = recommender(checkpoint, target, harmful_texts="judges:quiet")
    assert export.details() == {"attributes": {}, "harmful_texts": "judges:quiet"}
    policy = RepositoryPolicy({}, {"filter": "not harmful"})
    recommender(checkpoint, target, policy=policy, harmful_texts="judges:quiet")
    with pytest.raises(ConfigError, match="no attribute 'harmful'"):
        recommender(checkpoint, target, policy=policy)
