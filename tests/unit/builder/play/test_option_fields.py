from __future__ import annotations

from typing import Any

import pytest

from builder.play import option_fields
from builder.play.history import FormError
from model_repository.core.contract import OptionSpec, RecommendOptions, options_of

DECLARED = (
    OptionSpec("few", 10, "how many", minimum=1),
    OptionSpec("seen", default=False, meaning="whether"),
    OptionSpec("mode", "fast", "which", choices=("fast", "good")),
    OptionSpec("name", "", "what"),
)


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_fields, "OPTIONS", DECLARED)


def test_each_type_has_its_field() -> None:
    kinds = {each.name: each.kind for each in option_fields.fields({})}
    assert kinds == {
        "option-few": "number",
        "option-seen": "checkbox",
        "option-mode": "select",
        "option-name": "text",
    }


@pytest.mark.parametrize(
    ("form", "chosen"),
    [
        ({}, {}),
        ({"option-few": "", "option-mode": "fast"}, {}),  # defaults are not sent
        ({"option-few": " 3 "}, {"few": 3}),
        ({"option-seen": "on", "option-mode": "good"}, {"seen": True, "mode": "good"}),
        ({"option-name": "x", "option-other": "y"}, {"name": "x"}),
    ],
)
def test_what_is_chosen_is_what_is_no_default(form: dict[str, str], chosen: dict[str, Any]) -> None:
    assert option_fields.chosen(form) == chosen


def test_what_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(FormError, match=r"few is '3\.5': give a whole number"):
        option_fields.chosen({"option-few": "3.5"})


def test_every_option_of_the_contract_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names = [each.option.name for each in option_fields.fields({})]
    assert names == [each.name for each in options_of(RecommendOptions)]


def test_rank_gets_its_own_options() -> None:
    assert option_fields.of_rank({"top_k": 3, "time": 5}) == {"time": 5}
