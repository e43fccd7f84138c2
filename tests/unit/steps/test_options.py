from __future__ import annotations

from dataclasses import fields

import pytest

from model_repository.core import contract
from model_repository.core.errors import InvalidRequest
from model_repository.core.options import Options


def options(*, max_top_k: int = 50, catalogue_size: int = 100, **parameters: object) -> Options:
    return Options.from_parameters(parameters, max_top_k=max_top_k, catalogue_size=catalogue_size)


def test_the_options_are_those_of_the_contract() -> None:
    names = {contract.TOP_K, contract.ON_UNKNOWN, contract.INCLUDE_SEEN}
    assert {field.name for field in fields(Options)} == names


def test_defaults() -> None:
    assert options() == Options(top_k=10, on_unknown="error", include_seen=False)


def test_the_default_fits_a_model_that_was_exported_for_less() -> None:
    assert options(max_top_k=3).top_k == 3


def test_values() -> None:
    chosen = options(top_k=50, on_unknown="skip", include_seen=True)
    assert chosen == Options(top_k=50, on_unknown="skip", include_seen=True)


def test_any_number_may_be_asked_for_where_the_whole_catalogue_is_ranked() -> None:
    assert options(top_k=10**6, max_top_k=100, catalogue_size=100).top_k == 10**6


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_must_be_positive(top_k: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"top_k is {top_k}; it must be at least 1"):
        options(top_k=top_k)


def test_top_k_beyond_the_export_names_the_limit_and_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match=r"at most 50 items.*export --max-top-k 51"):
        options(top_k=51)
    with pytest.raises(InvalidRequest, match=r"export --max-top-k 100`"):
        options(top_k=10**9)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top_k", "5", "parameter top_k is '5', a str; it must be an integer"),
        ("top_k", 5.0, "parameter top_k is 5.0, a float; it must be an integer"),
        ("top_k", True, "parameter top_k is True, a bool; it must be an integer"),
        ("on_unknown", 1, "parameter on_unknown is 1, a int; it must be a string"),
        ("on_unknown", "ignore", "parameter on_unknown is 'ignore'; it must be 'error' or 'skip'"),
        ("include_seen", 1, "parameter include_seen is 1, a int; it must be a boolean"),
        ("topk", 5, "there is no option 'topk'; did you mean top_k?"),
        (
            "zzz",
            5,
            "there is no option 'zzz'; the options are top_k, on_unknown, include_seen",
        ),
    ],
)
def test_what_is_wrong_is_named(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Options.from_parameters({name: value}, max_top_k=50, catalogue_size=100)
    assert str(refusal.value) == message


def test_a_long_value_is_clipped() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        options(top_k="x" * 10_000)
    assert len(str(refusal.value)) < 200


def test_what_was_asked_before_does_not_let_another_type_through() -> None:
    assert options(top_k=1).top_k == 1
    with pytest.raises(InvalidRequest, match="top_k is True, a bool"):
        options(top_k=True)
