"""What is told of a user, from JSON to ids."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.profile import ProfileColumn, ProfileReader
from model_repository.core.requests import ReaderSettings, RequestReader
from tests.unit.model_repository.conftest import user

AGE = ProfileColumn("age", edges=(20.0, 30.5))
JOB = ProfileColumn("job", values=("artist", "7"))
SETTINGS = ReaderSettings(
    max_rows=8,
    max_history=6,
    actions=[],
    max_top_k=5,
    # As a settings file brings it.
    profile=json.loads(json.dumps([AGE.to_dict(), JOB.to_dict()])),
)
READER = RequestReader(SETTINGS, Identifiers.of(["i1", "i2"]))


def ids(text: str | bytes) -> list[int]:
    found = READER.read(user(["i1"], profile=[text])).profile
    assert found.dtype == np.int32
    numbers: list[int] = found.tolist()
    return numbers


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({}, [0, 0]),
        ({"age": 19.99}, [1, 0]),
        ({"age": 20, "job": "artist"}, [2, 1]),
        ({"age": "30.5"}, [3, 0]),
        ({"age": -1e300, "job": 7}, [1, 2]),
        ({"job": 7.0}, [0, 2]),
        ({"age": None, "job": None}, [0, 0]),
        ({"age": "old", "job": "pilot"}, [0, 0]),
        ({"age": "", "job": ""}, [0, 0]),
        ({"age": 10**400, "job": 1.5}, [0, 0]),
    ],
)
def test_values_become_ids(profile: dict[str, object], expected: list[int]) -> None:
    assert ids(json.dumps(profile)) == expected


@pytest.mark.parametrize("text", ['{"age": NaN}', '{"age": Infinity}', '{"age": "-inf"}', ""])
def test_what_is_no_number_is_not_known(text: str) -> None:
    assert ids(text) == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"age": 24', r"PROFILE\[0\] '\{\"age\": 24' is no JSON \(.*such as \{\"age\": 24\}"),
        ("[24]", r"PROFILE\[0\] '\[24\]' is no JSON object"),
        ("24", r"PROFILE\[0\] '24' is no JSON object"),
        (b"\xff", r"PROFILE\[0\] is not UTF-8"),
        ("[" * 100_000, r"PROFILE\[0\] '\[+…' is no JSON"),
        ('{"aeg": 24}', r"PROFILE\[0\] gives 'aeg' the value 24,.* its columns are age, job$"),
        ('{"age": [24]}', r"PROFILE\[0\] gives 'age' the value \[24\]; send a string or a number"),
        ('{"job": true}', r"PROFILE\[0\] gives 'job' the value True; send a string or a number"),
        ('{"x' + "y" * 999 + '": 1}', r"PROFILE\[0\] gives 'xy{58}… the value 1"),
        ('{"\\ud800": 1}', r"gives '\\ud800' the value 1"),
    ],
)
def test_what_cannot_be_read_is_named(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as refused:
        ids(text)
    assert str(refused.value).encode()  # it can travel
    assert len(str(refused.value)) < 400


def test_a_request_has_one_profile() -> None:
    with pytest.raises(InvalidRequest, match="PROFILE has 2 values"):
        READER.read(user(["i1"], profile=["{}", "{}"]))


def test_a_model_without_columns_takes_no_profile_but_an_empty_one() -> None:
    reader = RequestReader(replace(SETTINGS, profile=()), Identifiers.of(["i1"]))
    with pytest.raises(InvalidRequest, match="no such column; it was trained without any"):
        reader.read(user(["i1"], profile=['{"age": 24}']))
    for nothing in ("", "{}"):
        assert reader.read(user(["i1"], profile=[nothing])).profile.shape == (0,)


def test_without_a_profile_nothing_is_known() -> None:
    assert READER.read(user(["i1"])).profile.tolist() == [0, 0]


columns = st.lists(
    st.one_of(
        st.builds(
            lambda name, values: ProfileColumn(name, values=tuple(values)),
            st.text(min_size=1),
            st.lists(st.text(min_size=1), min_size=1, unique=True),
        ),
        st.builds(
            lambda name, edges: ProfileColumn(name, edges=tuple(sorted(edges))),
            st.text(min_size=1),
            st.lists(st.floats(-1e6, 1e6), min_size=1, unique=True),
        ),
    ),
    max_size=4,
    unique_by=lambda column: column.name,
)
values = st.one_of(st.none(), st.text(), st.integers(), st.floats())


@given(columns, st.data())
def test_every_id_is_one_of_its_columns(known: list[ProfileColumn], data: st.DataObject) -> None:
    profile = {column.name: data.draw(values) for column in known if data.draw(st.booleans())}
    found = ProfileReader(known).ids(profile)
    assert found.shape == (len(known),)
    for column, number in zip(known, found, strict=True):
        assert 0 <= number < column.ids
        assert number == 0 or column.name in profile
    for column in known:
        for number, value in enumerate(column.values or (), 1):
            (place,) = np.flatnonzero([each is column for each in known])
            assert ProfileReader(known).ids({column.name: value})[place] == number


@given(columns)
def test_columns_survive_json(known: list[ProfileColumn]) -> None:
    written = json.dumps([column.to_dict() for column in known])
    assert [ProfileColumn.from_dict(each) for each in json.loads(written)] == known


def test_a_column_has_values_or_edges() -> None:
    for wrong in ({}, {"values": ("a",), "edges": (1.0,)}):
        with pytest.raises(ValueError, match="either values or edges"):
            ProfileColumn("age", **wrong)  # type: ignore[arg-type]
