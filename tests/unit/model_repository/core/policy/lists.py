"""Candidates of a small catalogue, and what a stage makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model_repository.core.attributes import Attributes, list_column
from model_repository.core.catalogue import Candidates, Catalogue
from model_repository.core.policy.base import Context, Stage
from model_repository.core.policy.facts import FixedFacts
from model_repository.core.policy.trace import Trace
from tests.unit.model_repository.catalogues import catalogue, reader
from tests.unit.model_repository.conftest import user

ITEMS = 40
CATALOGUE = catalogue(ITEMS)


def with_column(values: Sequence[str], known: Catalogue = CATALOGUE) -> Catalogue:
    """The first items with these values of the column "genres", the others with none."""
    lists = [[each for each in value.split("|") if each] for value in values]
    column = list_column([*lists, *[[] for _ in range(len(known) - len(values))]])
    return replace(known, attributes=Attributes({"genres": column}))


def best_first(known: Catalogue = CATALOGUE, number: int = 20) -> Candidates:
    """The first ``number`` items in their order, with logits from 4 down to 0."""
    logit = np.linspace(4, 0, number, dtype=np.float32)
    interest = known.calibration.interest(logit)
    return Candidates(known, np.arange(number, dtype=np.int32), logit, interest, interest)


def asked(
    known: Catalogue = CATALOGUE,
    history: Sequence[str] = (),
    *,
    traced: bool = False,
    **options: object,
) -> Context:
    read = reader(known, max_top_k=ITEMS).read(user(history, parameters={"top_k": 5, **options}))
    return Context(read, known, FixedFacts(known).current(), Trace() if traced else None)


def listed(stage: Stage, candidates: Candidates, context: Context) -> list[int]:
    """The items of the list that a stage makes, of which all is as a later stage needs it."""
    assert stage.applies(context.options)
    stage.check(context)
    found = stage.rerank(candidates, context)
    assert sorted(found.index.tolist()) == sorted(candidates.index.tolist())
    assert (np.diff(found.score) <= 0).all()
    np.testing.assert_array_equal(np.sort(found.score), np.sort(candidates.score))
    logits = dict(zip(candidates.index.tolist(), candidates.logit.tolist(), strict=True))
    np.testing.assert_array_equal(found.logit, [logits[item] for item in found.index.tolist()])
    chosen: list[int] = found.index[: context.options["top_k"]].tolist()
    return chosen
