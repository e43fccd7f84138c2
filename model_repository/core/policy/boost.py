"""Raises and lowers the scores of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import LARGEST
from ..catalogue import Candidates
from ..contract import BOOST, POOL
from ..errors import InvalidRequest
from ..options import Options
from .base import Context, Stage
from .evaluation import values_at
from .expressions import Expression, parse
from .statements import condition_of, statements


@dataclass(frozen=True, slots=True)
class _Boost:
    text: str
    sign: str
    by: Expression
    where: Expression | None


class Boost(Stage):
    """Option ``boost``: statements ``*FACTOR``, ``+NUMBER`` or ``-NUMBER``, with ``if CONDITION``.

    They change the score of a candidate, which is its interest at first, one after another. A
    number that is absent changes nothing; a score that would be negative is 0.
    """

    name = "boost"

    def applies(self, options: Options) -> bool:
        return bool(options[BOOST.name])

    def check(self, context: Context) -> None:
        facts = context.facts
        for boost in read_boosts(context.options[BOOST.name]):
            if (kind := boost.by.check(facts.attributes, facts.lists)) != "number":
                raise InvalidRequest(_wrong(boost.text, f"{boost.by.text} is a {kind}, no number"))
            if boost.where is None:
                continue
            if (kind := boost.where.check(facts.attributes, facts.lists)) != "boolean":
                raise InvalidRequest(
                    _wrong(boost.text, f"{boost.where.text} is a {kind}, neither true nor false")
                )

    def wanted(self, context: Context) -> int:
        return int(context.options[POOL.name])

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:
        score = candidates.score.astype(np.float64)
        for boost in read_boosts(context.options[BOOST.name]):
            changed = self._changed(score, boost, candidates, context)
            if context.trace is not None:
                for place in np.flatnonzero(changed != score).tolist():
                    context.trace.note(
                        candidates.index[place],
                        f"boost {boost.text}: score {score[place]:.4g} to {changed[place]:.4g}",
                    )
            score = changed
        return candidates.by_score(score.astype(np.float32))

    def _changed(
        self, score: NDArray[np.float64], boost: _Boost, candidates: Candidates, context: Context
    ) -> NDArray[np.float64]:
        by = values_at(boost.by, context.facts, candidates.index)
        changed = {"*": score * by, "+": score + by, "-": score - by}[boost.sign]
        kept = np.isnan(changed)
        if boost.where is not None:
            kept |= ~values_at(boost.where, context.facts, candidates.index)
        found: NDArray[np.float64] = np.where(kept, score, np.clip(changed, 0, LARGEST))
        return found


@lru_cache(maxsize=256)
def read_boosts(option: str) -> Sequence[_Boost]:
    found = []
    for text in statements(BOOST, option):
        change, where = condition_of(text)
        sign = change[0]
        if sign not in "*+-" or not change[1:].strip():
            raise InvalidRequest(
                _wrong(text, "it must begin with *, + or - and a number, such as '*1.5 if adult'")
            )
        found.append(_Boost(text, sign, parse(change[1:]), None if where is None else parse(where)))
    return found


def _wrong(statement: str, problem: str) -> str:
    return f"parameter {BOOST.name}, statement {statement!r:.200}: {problem}"
