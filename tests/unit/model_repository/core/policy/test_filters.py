"""A filter is evaluated once, until what it asks for is another."""

from __future__ import annotations

import numpy as np
import pytest

from model_repository.core.attributes import Attributes, Column, DateColumn, NumberColumn
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.policy import filters
from model_repository.core.policy.facts import Facts, NamedList
from model_repository.core.policy.filters import Filters

IDS = Identifiers.of([f"i{number}" for number in range(100)])


def facts(price: float, generation: int = 0) -> Facts:
    attributes: dict[str, Column] = {
        "price": NumberColumn(np.full(100, price)),
        "released": DateColumn(np.arange(100) * 86_400),
    }
    lists = {"recalled": NamedList(["i3", "unknown"])}
    return Facts(IDS, Attributes(attributes), lists, generation)


def test_it_is_remembered_for_a_generation() -> None:
    found = Filters()
    first = found.allowed("price < 5", facts(1))
    assert first.member.all()
    assert first.member.dtype == np.bool_
    assert found.allowed("price < 5", facts(9)) is first
    assert not found.allowed("price < 5", facts(9, generation=1)).member.any()
    assert found.allowed("not id in @recalled", facts(1)).member.tolist() == [
        n != 3 for n in range(100)
    ]


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    found = Filters(1050)  # two of 100 items with their texts
    one, two = (found.allowed(text, facts(1)) for text in ("price < 1", "price < 2"))
    assert found.allowed("price < 1", facts(1)) is one
    found.allowed("price < 3", facts(1))
    assert found.allowed("price < 1", facts(1)) is one
    assert found.allowed("price < 2", facts(1)) is not two


def test_what_asks_for_today_is_another_one_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    found, days = Filters(), [3, 4]
    for day in days:
        monkeypatch.setattr(filters, "this_day", lambda day=day: day * 86_400)
        assert found.allowed("released < today", facts(1)).member.sum() == day


def test_a_filter_must_be_true_or_false() -> None:
    with pytest.raises(InvalidRequest, match="'price' is a number; compare it"):
        Filters().allowed("price", facts(1))
    with pytest.raises(InvalidRequest, match=r"no attribute 'prize'\. Did you mean price"):
        Filters().allowed("prize < 3", facts(1))
