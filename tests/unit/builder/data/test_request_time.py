"""Hour and weekday of a request, from the times of a log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from builder.data import DataConfig, Sequences, read, split_log
from builder.data.profiles import choose_profile, with_profiles
from builder.data.request_time import Clock
from builder.errors import ConfigError, DataError
from model_repository.core.profile import ProfileReader
from tests.unit.builder.data.flags import data_config

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Ape\n2,Zebra\n3,Yak\n"
HOUR = 3600
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},{1 + place % 3},{1_700_000_000 + HOUR * (7 * user + place)}\n"
    for user in range(6)
    for place in range(5)
)
USERS = "user_id,group,hour\n" + "".join(f"u{user},{'AB'[user % 2]},9\n" for user in range(6))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC),  # Berlin's clock jumps a second later
        datetime(2024, 3, 31, 1, 0, 0, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2999, 6, 15, 12, 0, 0, tzinfo=UTC),  # nanoseconds end in 2262
    ],
)
def test_the_clock_is_that_of_the_zone(moment: datetime, zone: str) -> None:
    clock = Clock(("weekday", "hour"), zone)
    local = moment.astimezone(ZoneInfo(zone))
    found = clock.ids(np.array([int(moment.timestamp())]))
    assert found.dtype == np.int32
    # The ids of what a request would bring, in the order of the columns.
    told = {"hour": local.hour, "weekday": local.weekday()}
    assert found[0].tolist() == ProfileReader(clock.columns).ids(told).tolist()
    assert [column.name for column in clock.columns] == ["hour", "weekday"]
    assert [column.ids for column in clock.columns] == [25, 8]


def test_held_out_users_have_the_time_of_their_target_behind_their_own_columns(
    write: Write,
) -> None:
    directory = write(interactions__csv=LOG, items__csv=ITEMS, users__csv=USERS)
    config = DataConfig(directory, profile=("group",), request_time=("hour",))
    interactions, catalogue = read(config)
    split = split_log(
        Sequences.from_interactions(interactions),
        len(catalogue),
        method="leave-one-out",
        hold_out_items=0.3,
    )
    columns = (*choose_profile(split, interactions), *config.clock.columns)
    known = with_profiles(split, columns, interactions, config.clock)
    assert known.train.profiles is not None
    assert not known.train.profiles[:, 1].any()  # each event has its own
    for holdout in (known.validation, known.test, known.cold):
        assert len(holdout) > 1
        for part in (holdout, holdout.spread(2), *holdout.chunks(2)):
            profiles = part.histories.profiles
            assert profiles is not None
            times = part.histories.request_times
            assert times is not None
            for row, user in enumerate(part.histories.user_ids):
                assert profiles[row, 0] == 1 + int(user[1:]) % 2
                assert profiles[row, 1] == 1 + datetime.fromtimestamp(times[row], UTC).hour
                before = part.histories.times_of(row)
                assert before is not None
                assert times[row] > before.max()
    alone = with_profiles(split, config.clock.columns, interactions, config.clock)
    assert alone.test.histories.profiles is not None
    assert known.test.histories.profiles is not None
    np.testing.assert_array_equal(
        alone.test.histories.profiles, known.test.histories.profiles[:, 1:]
    )


def test_a_log_without_times_is_refused(write: Write) -> None:
    log = "user_id,item_id,when\n" + "".join(f"u{user},1,5\n" for user in range(6))
    directory = write(interactions__csv=log, items__csv=ITEMS)
    with pytest.raises(
        DataError,
        match=r"interactions.csv:1: .*of a request \(hour\).*--column time=NAME, one of",
    ):
        read(DataConfig(directory, request_time=("hour",)))
    read(DataConfig(directory))


def test_a_count_of_events_has_no_hour(write: Write) -> None:
    log = "user_id,item_id,timestamp\nu,1,1\nu,2,2\n"
    directory = write(interactions__csv=log, items__csv=ITEMS)
    with pytest.raises(DataError, match="the numbers count events, and tell no hour or weekday"):
        read(DataConfig(directory, request_time=("hour",)))
    read(DataConfig(directory, request_time=("hour",), time_format="days"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"request_time": "hour,minute"}, "request_time 'minute': must be one of hour, weekday"),
        ({"request_time": "hour,hour"}, "request_time 'hour': must be one of hour, weekday, once"),
        (
            {"request_time": "hour", "profile": "hour"},
            "profile 'hour': request_time has a column of this name; rename",
        ),
        (
            {"request_time": "hour", "time_zone": "Europe/Berln"},
            "time_zone 'Europe/Berln': there is no such time zone",
        ),
        ({"request_time": "hour", "time_zone": "../x"}, "there is no such time zone"),
        (
            {"time_zone": "Europe/Berlin"},
            "time_zone 'Europe/Berlin': has no effect without request_time",
        ),
    ],
)
def test_options_that_make_no_sense(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data_config(Path("d"), **options)


def test_the_options_survive_json(tmp_path: Path) -> None:
    config = data_config(tmp_path, request_time="weekday, hour", time_zone="Europe/Berlin")
    assert config.request_time == ("weekday", "hour")
    assert DataConfig.from_dict(config.to_dict()) == config
    earlier = {
        name: value
        for name, value in DataConfig(tmp_path).to_dict().items()
        if name not in ("request_time", "time_zone")
    }
    assert DataConfig.from_dict(earlier) == DataConfig(tmp_path)
