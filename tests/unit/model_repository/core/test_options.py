from __future__ import annotations

import gc
import json
import sys

import pytest

from model_repository.core.contract import OPTIONS
from model_repository.core.errors import InvalidRequest
from model_repository.core.options import (
    NO_OPTIONS,
    Options,
    OptionsReader,
    RepositoryPolicy,
    refuse_options,
)


def options(*, max_top_k: int = 50, catalogue_size: int = 100, **parameters: object) -> Options:
    reader = OptionsReader(max_top_k, catalogue_size)
    return reader.read(json.dumps(parameters) if parameters else "")


def test_the_options_are_those_of_the_contract() -> None:
    assert list(options()) == [option.name for option in OPTIONS]


def test_defaults() -> None:
    expected = {option.name: option.default for option in OPTIONS}
    assert options() == expected
    assert OptionsReader(50, 100).read("{}") == expected


def test_the_default_fits_a_model_that_was_exported_for_less() -> None:
    assert options(max_top_k=3)["top_k"] == 3


def test_values() -> None:
    chosen = {"top_k": 50, "on_unknown": "skip", "include_seen": True}
    assert options(**chosen) == {**options(), **chosen}  # type: ignore[arg-type]


def test_any_number_may_be_asked_for_where_the_whole_catalogue_is_ranked() -> None:
    assert options(top_k=10**6, max_top_k=100, catalogue_size=100)["top_k"] == 10**6


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
        ("new_items", 1, "parameter new_items is 1; it must be at least 2"),
        ("new_items", 501, "parameter new_items is 501; it must be at most 500"),
        ("topk", 5, "there is no option 'topk'; did you mean top_k?"),
        (
            "zzz",
            5,
            f"there is no option 'zzz'; the options are {', '.join(each.name for each in OPTIONS)}",
        ),
    ],
)
def test_what_is_wrong_is_named(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        options(**{name: value})  # type: ignore[arg-type]
    assert str(refusal.value) == message


def test_a_long_value_is_clipped() -> None:
    for wrong in ({"top_k": "x" * 10_000}, {"on_unknown": "x" * 10_000}, {"x" * 10_000: 1}):
        with pytest.raises(InvalidRequest) as refusal:
            options(**wrong)
        listed = ", ".join(option.name for option in OPTIONS)
        assert len(str(refusal.value).replace(listed, "")) < 200


def test_a_model_that_heeds_no_option_refuses_one_that_does_not_exist() -> None:
    NO_OPTIONS.read('{"include_seen": true}')
    with pytest.raises(InvalidRequest, match="did you mean top_k"):
        NO_OPTIONS.read('{"top_q": 1}')


def test_what_was_asked_before_does_not_let_another_type_through() -> None:
    reader = OptionsReader(50, 100)
    for _ in range(2):
        assert reader.read('{"top_k": 1}')["top_k"] == 1
        with pytest.raises(InvalidRequest, match="top_k is True, a bool"):
            reader.read('{"top_k": true}')


@pytest.mark.parametrize(
    "name", ["traceparent", "tracestate", "x-request-id", "user-agent", "authorization", "baggage"]
)
def test_headers_that_triton_hands_on_are_no_options(name: str) -> None:
    assert options(**{name: "00-ab", "top_k": 3}) == options(top_k=3)  # type: ignore[arg-type]
    NO_OPTIONS.read(json.dumps({name: "00-ab"}))
    refuse_options(json.dumps({name: "00-ab"}))


@pytest.mark.parametrize("name", ["topk", "include-seen", "on-unknown", "onunknown", "top-k"])
def test_a_mistyped_option_is_no_header(name: str) -> None:
    with pytest.raises(InvalidRequest, match="did you mean"):
        options(**{name: "5"})  # type: ignore[arg-type]


def test_a_family_without_options_refuses_those_of_the_other() -> None:
    with pytest.raises(InvalidRequest, match="no option 'top_k'; classify has none"):
        refuse_options('{"top_k": 1}')
    refuse_options("")


def test_headers_take_no_room_among_what_is_remembered() -> None:
    reader = OptionsReader(50, 100)
    before = size_of(reader)
    for number in range(300):
        reader.read(json.dumps({"traceparent": f"{number}", "top_k": 3}))
    assert size_of(reader) == before


def size_of(reader: OptionsReader) -> int:
    """Bytes of all that hangs on a reader."""
    found: dict[int, object] = {}
    pending: list[object] = [vars(reader)]
    while pending:
        each = pending.pop()
        if id(each) not in found and not isinstance(each, type):
            found[id(each)] = each
            pending += gc.get_referents(each)
    return sum(map(sys.getsizeof, found.values()))


def test_what_is_remembered_takes_little_whatever_is_sent() -> None:
    reader = OptionsReader(100_000, 100_000)
    blank = size_of(reader)
    for number in range(1, 5_000):
        reader.read(json.dumps({"top_k": number, "on_unknown": "skip"}))
    full = size_of(reader)
    assert full < blank + 300_000
    for number in range(1, 20):
        # Valid and long; refused; and no JSON that stands for options at all.
        reader.read('{"top_k": ' + " " * 100_000 + f"{number}}}")
        for wrong in ('{"top_q": "' + "x" * 100_000 + f'{number}"}}', f'{{"top_q": {number}}}'):
            with pytest.raises(InvalidRequest):
                reader.read(wrong)
    assert size_of(reader) == full


def test_what_was_refused_or_is_long_is_not_remembered() -> None:
    reader = OptionsReader(50, 100)
    with pytest.raises(InvalidRequest):
        reader.read('{"top_k": 0}')
    reader.read('{"top_k": ' + " " * 1_000 + "1}")
    assert not reader._remembered
    reader.read('{"top_k": 1}')
    assert reader._remembered.keys() == {'{"top_k": 1}'}


def test_more_parameters_than_a_request_may_have_are_refused() -> None:
    headers = {f"x-header-{number}": "" for number in range(64)}
    OptionsReader(10, 10).read(json.dumps(headers))
    many = json.dumps(headers | {"x-header-64": ""})
    for read in (OptionsReader(10, 10).read, refuse_options):
        with pytest.raises(InvalidRequest, match="has 65 parameters, and at most 64"):
            read(many)


class TestPolicy:
    POLICY = RepositoryPolicy(
        {"top_k": 3, "boost": "*2"}, {"filter": "a", "limits": "b", "include_seen": True}
    )

    def read(self, **parameters: object) -> Options:
        return OptionsReader(20, 20, self.POLICY).read(json.dumps(parameters))

    def test_it_says_what_a_request_does_not(self) -> None:
        found = self.read(boost="*3")
        assert (found["top_k"], found["boost"], found["filter"]) == (3, "*3", "a")
        assert self.read()["boost"] == "*2"

    def test_a_request_adds_to_filters_and_limits_and_changes_nothing_else(self) -> None:
        found = self.read(filter="c", limits="d", include_seen=True)
        assert (found["filter"], found["limits"]) == ("a; c", "b; d")
        with pytest.raises(InvalidRequest, match="the policy of this model always has True"):
            self.read(include_seen=False)

    @pytest.mark.parametrize(
        "policy", [RepositoryPolicy({"topk": 1}), RepositoryPolicy({}, {"top_k": "1"})]
    )
    def test_a_wrong_one_is_found(self, policy: RepositoryPolicy) -> None:
        with pytest.raises(InvalidRequest, match="top_k"):
            policy.check()
