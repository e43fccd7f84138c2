"""Columns of the user file, from the file to the ids that a model learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.data import DataConfig, Sequences, read, split_log
from builder.data.profiles import (
    BUCKETS,
    choose_item_profile,
    choose_profile,
    item_ids,
    with_profiles,
)
from builder.errors import ConfigError, DataError
from tests.unit.builder.data.flags import data_config

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Löwe\n2,Zebra\n3,Ape\n"
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},{item},{item}\n" for user in range(24) for item in (1, 2, 3)
)
USERS = "user_id,age,group,rare\nnobody,999,Z,r\n" + "".join(
    f"u{user},{user + 10},{'AB'[user % 2]},r{user}\n" for user in range(23)
)


def described(write: Write, *profile: str, users: str = USERS) -> DataConfig:
    directory = write(interactions__csv=LOG, items__csv=ITEMS, users__csv=users)
    return DataConfig(directory, profile=profile)


def test_the_columns_asked_for_are_read_for_each_user_of_the_log(write: Write) -> None:
    interactions, _ = read(described(write, "group", "age"))
    profile = interactions.profile
    assert profile is not None
    assert list(profile.columns) == ["group", "age"]
    by_user = dict(zip(interactions.user_ids, profile.itertuples(index=False), strict=True))
    assert tuple(by_user["u3"]) == ("B", "13")
    assert tuple(by_user["u23"]) == ("", "")  # the file does not have them
    assert read(described(write))[0].profile is None


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (("agee",), "users.csv:1: agee: there is no such column for a profile; there are age, g"),
        (("age", "user_id"), "users.csv:1: user_id: there is no such column for a profile"),
    ],
)
def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are(
    write: Write, profile: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(described(write, *profile))


def test_a_profile_needs_a_user_file(write: Write) -> None:
    config = DataConfig(write(interactions__csv=LOG, items__csv=ITEMS), profile=("age",))
    with pytest.raises(DataError, match=r"there is no user file to take the profile \(age\) from"):
        read(config)


def test_numbers_become_buckets_of_as_many_users_and_texts_values(write: Write) -> None:
    interactions, catalogue = read(described(write, "age", "group"))
    split = split_log(
        Sequences.from_interactions(interactions), len(catalogue), method="leave-one-out"
    )
    age, group = choose_profile(split, interactions)
    assert age.edges is not None
    assert len(age.edges) == BUCKETS - 1
    assert group.values == ("A", "B")  # "Z" has no training user
    profiles = with_profiles(split, (age, group), interactions).train.profiles
    assert profiles is not None
    counts = np.bincount(profiles[:, 0], minlength=BUCKETS + 1)
    assert counts[0] == 1  # u23
    assert counts[1:].min() >= 2
    assert counts[1:].max() <= 3


@pytest.mark.parametrize(("strays", "numeric"), [(2, True), (3, False)])
def test_a_column_of_numbers_may_have_strays(write: Write, strays: int, numeric: bool) -> None:
    ages = ["old"] * strays + [str(20 + user % 12) for user in range(24 - strays)]
    users = "user_id,age\n" + "".join(f"u{user},{age}\n" for user, age in enumerate(ages))
    interactions, catalogue = read(described(write, "age", users=users))
    split = split_log(
        Sequences.from_interactions(interactions), len(catalogue), method="leave-one-out"
    )
    (age,) = choose_profile(split, interactions)
    assert (age.edges is not None) == numeric
    profiles = with_profiles(split, (age,), interactions).train.profiles
    assert profiles is not None
    assert (profiles[0, 0] == 0) == numeric


def test_few_different_numbers_are_values(write: Write) -> None:
    users = "user_id,age\n" + "".join(f"u{user},{18 + user % 2}\n" for user in range(24))
    interactions, catalogue = read(described(write, "age", users=users))
    split = split_log(
        Sequences.from_interactions(interactions), len(catalogue), method="leave-one-out"
    )
    (age,) = choose_profile(split, interactions)
    assert age.values == ("18", "19")


def test_only_training_users_decide(write: Write) -> None:
    interactions, catalogue = read(described(write, "age", "group"))
    split = split_log(
        Sequences.from_interactions(interactions), len(catalogue), method="leave-one-out"
    )
    first = replace(split, train=split.train.rows(0, 12))
    age, _ = choose_profile(first, interactions)
    assert age.edges is not None
    assert max(age.edges) < 22
    # The others have ids all the same.
    found = with_profiles(first, (age,), interactions).test.histories
    assert found.profiles is not None
    assert found.profiles[found.user_ids.index("u22")].tolist() == [age.ids - 1]


def test_a_value_of_a_single_user_is_not_known(write: Write) -> None:
    interactions, catalogue = read(described(write, "rare"))
    split = split_log(
        Sequences.from_interactions(interactions), len(catalogue), method="leave-one-out"
    )
    with pytest.raises(DataError, match="profile column rare: no value of it belongs to 2"):
        choose_profile(split, interactions)


def test_every_part_of_a_split_keeps_the_profiles_of_its_users(write: Write) -> None:
    interactions, catalogue = read(described(write, "age", "group"))
    split = split_log(
        Sequences.from_interactions(interactions),
        len(catalogue),
        method="leave-one-out",
        hold_out_items=0.3,
    )
    columns = choose_profile(split, interactions)
    known = with_profiles(split, columns, interactions)
    assert known.train.profiles is not None
    expected = dict(zip(known.train.user_ids, known.train.profiles, strict=True))
    for holdout in (known.validation, known.test, known.cold):
        for part in (holdout, holdout.spread(5), *holdout.chunks(7)):
            histories = part.histories
            assert histories.profiles is not None
            assert len(histories.profiles) == len(histories)
            for user, profile in zip(histories.user_ids, histories.profiles, strict=True):
                np.testing.assert_array_equal(profile, expected[user])
    some = known.train.where(known.train.items > 0)
    assert some.profiles is not None
    np.testing.assert_array_equal(some.profiles, known.train.profiles)


def test_movielens_has_profiles(movielens: Path) -> None:
    config = DataConfig(
        movielens, min_rating=4, min_events=8, profile=("age", "gender", "occupation")
    )
    interactions, catalogue = read(config)
    split = split_log(
        Sequences.from_interactions(interactions, 8), len(catalogue), method="leave-one-out"
    )
    age, gender, occupation = choose_profile(split, interactions)
    assert age.ids == BUCKETS + 1
    assert gender.values == ("F", "M")
    assert occupation.values is not None
    assert "technician" in occupation.values


def test_the_option_is_a_list_of_names() -> None:
    assert data_config(Path("d"), profile="age, gender").profile == ("age", "gender")
    assert data_config(Path("d"), item_profile="brand,price").item_profile == ("brand", "price")
    assert data_config(Path("d")).profile == data_config(Path("d")).item_profile == ()
    for wrong in ("age,", "age,age"):
        with pytest.raises(ConfigError, match="must be the name of a column of the user file"):
            data_config(Path("d"), profile=wrong)
        with pytest.raises(ConfigError, match="must be the name of a column of the item file"):
            data_config(Path("d"), item_profile=wrong)


PRICED = "item_id,title,price,brand\n" + "".join(
    f"{item},Item {item},{item}.5,{'xy'[item % 2] if item < 20 else ''}\n" for item in range(1, 25)
)


def test_columns_of_the_item_file_become_ids_by_the_warm_items(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv=PRICED)
    config = DataConfig(directory, item_profile=("brand", "price"))
    _, catalogue = read(config)
    warm = np.arange(24) < 12
    brand, price = choose_item_profile(config.item_profile, catalogue, warm)
    assert brand.values == ("x", "y")
    assert price.edges is not None
    assert max(price.edges) < 12.5
    ids = item_ids((brand, price), catalogue.columns)
    assert ids.shape == (24, 2)
    assert ids[:3, 0].tolist() == [2, 1, 2]
    assert ids[19:, 0].tolist() == [0] * 5  # no brand
    assert ids[23, 1] == price.ids - 1
    # Items of another file, which lacks a column.
    assert item_ids((brand, price), catalogue.columns[["price"]])[:, 0].tolist() == [0] * 24
    assert choose_item_profile((), catalogue, warm) == ()
    assert item_ids((), catalogue.columns).shape == (24, 0)


def test_a_column_that_the_item_file_lacks_is_named(write: Write) -> None:
    directory = write(interactions__csv=LOG, items__csv=PRICED)
    message = r"items.csv:1: prize: there is no such column for an item's profile; there are title,"
    with pytest.raises(DataError, match=message):
        read(DataConfig(directory, item_profile=("prize",)))
    with pytest.raises(DataError, match=r"items.csv:1: item_id: there is no such column"):
        read(DataConfig(directory, item_profile=("item_id",)))


def test_columns_that_a_format_makes_can_be_used_too(write: Write) -> None:
    directory = write(
        ratings__csv="userId,movieId,rating,timestamp\n1,1,4.0,10\n1,2,3.5,5\n",
        movies__csv="movieId,title,genres\n1,Toy Story (1995),Comedy\n2,Heat (1995),Action\n",
    )
    _, catalogue = read(DataConfig(directory, item_profile=("year", "genres")))
    (year,) = choose_item_profile(("year",), catalogue, np.ones(2, bool))
    assert year.values == ("1995",)
