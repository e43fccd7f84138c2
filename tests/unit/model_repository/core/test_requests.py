"""What a service sends, read as slots and as texts that must be encoded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import contract
from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.core.identifiers import Identifiers
from model_repository.core.requests import ReaderSettings, RequestReader, UserRequest
from model_repository.core.users import NO_AGE, NO_ITEM
from tests.unit.model_repository.conftest import strings, user

ITEMS = [f"i{index}" for index in range(20)]
MAX_ROWS = 8
MAX_HISTORY = 6
ROWS = 9
SETTINGS = ReaderSettings(
    max_rows=MAX_ROWS, max_history=MAX_HISTORY, actions=["view", "buy"], max_top_k=5
)
READER = RequestReader(SETTINGS, Identifiers.of(ITEMS))
SKIP = {"on_unknown": "skip"}

read = READER.read


def test_every_part_in_its_type_and_length() -> None:
    found = read(
        user(
            ["i1", "new"],
            history_text=["", "a film"],
            history_action=["buy", "view"],
            times=[5, 6],
            candidate=["i2", "other", "i3"],
            candidate_text=["", "the matrix", ""],
            exclude=["i4"],
        )
    )
    assert found.history.slots.tolist() == [1, -1]
    assert found.history.actions.tolist() == [2, 1]
    assert found.history.ages.tolist() == [1, 0]
    assert found.history.ages.dtype == np.int64
    assert found.candidates.tolist() == [2, -2, 3]
    assert found.texts == ["a film", "the matrix"]
    assert (found.seen.tolist(), found.excluded.tolist()) == ([1], [4])
    assert found.skipped == 0
    assert found.options["top_k"] == 5
    for each in (
        found.history.slots, found.history.actions, found.candidates, found.seen, found.excluded,
        found.profile,
    ):  # fmt: skip
        assert each.dtype == np.int32


class TestHistory:
    def test_known_items_are_their_indices(self) -> None:
        assert read(user(["i3", "i0", "i3"])).history.slots.tolist() == [3, 0, 3]

    def test_a_new_user_has_an_empty_one(self) -> None:
        found = read(user([], times=[], history_action=[], history_text=[], candidate=["i1"]))
        for each in (found.history.slots, found.history.actions, found.history.ages, found.seen):
            assert each.shape == (0,)
        assert found.history.slots.dtype == found.seen.dtype == np.int32
        assert found.candidates.tolist() == [1]

    def test_where_all_is_known_no_text_is_encoded(self) -> None:
        assert not read(user(["i1"], candidate=["i2"])).texts

    def test_an_unknown_event_with_a_text_is_its_row(self) -> None:
        found = read(user(["x", "i1", "y"], history_text=["toy", "ignored", "story"]))
        assert found.history.slots.tolist() == [-1, 1, -2]
        assert found.texts == ["toy", "story"]

    def test_the_same_text_is_one_row(self) -> None:
        found = read(
            user(
                ["x", "y"],
                history_text=["toy", "toy"],
                candidate=["z", "w"],
                candidate_text=["story", "toy"],
            )
        )
        assert found.history.slots.tolist() == [-1, -1]
        assert found.candidates.tolist() == [-2, -1]
        assert found.texts == ["toy", "story"]

    @pytest.mark.parametrize("text", ["", " \t"])
    def test_an_unknown_event_without_text_is_dropped_with_all_that_belongs_to_it(
        self, text: str
    ) -> None:
        found = read(
            user(
                ["i1", "x", "i2"],
                history_text=["", text, ""],
                history_action=["view", "buy", "view"],
                times=[0, 30, 32],
            )
        )
        assert found.history.slots.tolist() == [1, 2]
        assert found.history.actions.tolist() == [1, 1]
        assert found.history.ages.tolist() == [32, 0]
        assert found.skipped == 1

    def test_ages_count_from_the_latest_event_that_is_kept(self) -> None:
        found = read(user(["i1", "i2", "x"], times=[3, 10, 500]))
        assert found.history.ages.tolist() == [7, 0]

    def test_the_last_events_are_kept_after_dropping(self) -> None:
        history = [*ITEMS[:10], "x", "y"]
        found = read(user(history, history_text=["never read"] * 10 + ["", ""]))
        assert found.history.slots.tolist() == list(range(10 - MAX_HISTORY, 10))
        assert found.skipped == 2

    def test_what_was_seen_is_the_whole_of_it(self) -> None:
        found = read(user([*ITEMS[:10], "x", "i0"]))
        assert found.seen.tolist() == [*range(10), 0]

    def test_texts_of_events_too_old_to_be_read_are_not_encoded(self) -> None:
        old = [f"x{number}" for number in range(MAX_ROWS + 1)]
        history = [*old, *ITEMS[:MAX_HISTORY]]
        found = read(user(history, history_text=[*old, *[""] * MAX_HISTORY]))
        assert not found.texts
        assert found.skipped == 0

    def test_an_action_that_training_did_not_know_is_zero(self) -> None:
        found = read(user(["i1", "i2", "i3"], history_action=["buy", "", b"\xff"]))
        assert found.history.actions.tolist() == [2, 0, 0]

    def test_without_times_and_actions_both_are_not_known(self) -> None:
        found = read(user(["i1", "i2"]))
        assert found.history.actions.tolist() == [0, 0]
        assert found.history.ages.tolist() == [NO_AGE, NO_AGE]
        assert found.history.ages.dtype == np.int64

    def test_times_must_not_fall(self) -> None:
        read(user(["i1", "i2"], times=[7, 7]))
        with pytest.raises(InvalidRequest, match=r"HISTORY_TIME\[2\] is 6, before .* 7; send"):
            read(user(["i1", "i2", "x"], times=[1, 7, 6]))

    @pytest.mark.parametrize(
        ("factor", "unit"),
        [(10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")],
    )
    def test_times_of_a_finer_unit_are_refused(self, factor: int, unit: str) -> None:
        times = [0, 1_700_000_000, 1_700_086_400]
        read(user(["i1", "i2", "i3"], times=times))
        message = (
            rf"HISTORY_TIME\[1\] is {1_700_000_000 * factor}, .* seconds are expected; "
            f"divide by {factor} if these are {unit}"
        )
        with pytest.raises(InvalidRequest, match=message):
            read(user(["i1", "i2", "i3"], times=[time * factor for time in times]))

    def test_the_last_second_of_2099_is_a_time(self) -> None:
        read(user(["i1"], times=[4_102_444_799]))
        with pytest.raises(InvalidRequest, match="seconds are expected; divide by 1000 "):
            read(user(["i1"], times=[4_102_444_800]))
        read(user([], times=[]))

    def test_the_farthest_times_do_not_overflow(self) -> None:
        assert read(user(["i1", "i2"], times=[-(2**63), 4_102_444_799])).history.ages[0] > 2**61
        with pytest.raises(InvalidRequest, match="oldest first"):
            read(user(["i1", "i2"], times=[2**63 - 1, -(2**63)]))

    def test_it_must_be_there(self) -> None:
        with pytest.raises(
            InvalidRequest, match=r"HISTORY is missing; send it with shape \[1, 0\]"
        ):
            read(Request({}))


def test_what_is_to_be_left_out_may_be_unknown() -> None:
    assert read(user([], exclude=["i15", "i2", "unknown", b"\xff"])).excluded.tolist() == [15, 2]


class TestCandidates:
    def test_none_asked_none_answered(self) -> None:
        assert read(user(["i1"])).candidates.shape == (0,)
        assert read(user(["i1"], candidate=[])).candidates.shape == (0,)

    def test_ten_thousand(self) -> None:
        found = read(user([], candidate=ITEMS * 500))
        assert found.candidates.tolist() == list(range(20)) * 500

    def test_an_unknown_one_is_named_with_the_remedy(self) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            read(user([], candidate=["i1", "film\n7", "i2", "other"]))
        assert str(refusal.value) == (
            "CANDIDATE[1] 'film\\n7' (and 1 more) is not in the catalogue and has no text; send "
            "its text in CANDIDATE_TEXT, or set the parameter on_unknown to 'skip' to get NaN "
            "for it"
        )

    def test_an_id_that_is_no_text_is_shown_escaped_and_clipped(self) -> None:
        with pytest.raises(InvalidRequest, match=r"CANDIDATE\[0\] '\\xff\\x00z+…' is") as refusal:
            read(user([], candidate=[b"\xff\x00" + b"z" * 10_000]))
        assert len(str(refusal.value)) < 300

    def test_an_unknown_one_can_be_skipped(self) -> None:
        found = read(user([], candidate=["i1", "x", "i2"], parameters=SKIP))
        assert found.candidates.tolist() == [1, NO_ITEM, 2]

    def test_skipping_still_encodes_those_with_a_text(self) -> None:
        request = user([], candidate=["x", "y"], candidate_text=["", "toy"], parameters=SKIP)
        assert read(request).candidates.tolist() == [NO_ITEM, -1]


TOO_MANY = [f"toy {number}" for number in range(MAX_ROWS + 1)]
REFUSED = [
    (user(["i1"], history_text=[]), "HISTORY_TEXT has 0 values and HISTORY has 1"),
    (user(["i1"], history_action=["a", "b"]), "HISTORY_ACTION has 2 values and HISTORY"),
    (user(["i1"], times=[1, 2]), "HISTORY_TIME has 2 values and HISTORY has 1"),
    (
        user([], candidate=["i1", "i2"], candidate_text=["a"]),
        "CANDIDATE_TEXT has 1 values and CANDIDATE has 2",
    ),
    (
        user(["i1", "x"], history_text=["", b"caf\xe9"]),
        r"HISTORY_TEXT\[1\] is not UTF-8 \(byte 3 is 0xe9\)",
    ),
    (user([], candidate=["x"], candidate_text=[b"\xff"]), r"CANDIDATE_TEXT\[0\] is not UTF-8"),
    (
        user([], candidate=["x"] * len(TOO_MANY), candidate_text=TOO_MANY),
        "the request has 9 texts to encode, and at most 8 fit in one; split it",
    ),
    (user([], parameters={"top_k": 0}), "top_k is 0"),
    (user([], parameters={"top_k": 6}), "at most 5 items"),
    (
        Request({"HISTORY": np.array([[b"a"], [b"b"]], np.object_)}),
        r"HISTORY must have shape \[1, n\], not \[2, 1\]",
    ),
    (Request({"HISTORY": np.zeros((1, 2), np.int64)}), "HISTORY must be BYTES, not int64"),
    (
        Request({"HISTORY": strings(["i1"]), "HISTORY_TIME": np.zeros((1, 1), np.int32)}),
        "HISTORY_TIME must be INT64, not int32",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED)
def test_each_is_refused_by_name(request_: Request, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read(request_)


def test_a_text_that_nobody_reads_may_be_anything() -> None:
    read(user(["i1"], history_text=[b"\xff"]))


class TestRowsOfVectors:
    """Requests made of texts alone, whose texts are encoded by then."""

    @staticmethod
    def request(history: Sequence[int], candidates: Sequence[int], **columns: object) -> Request:
        rows = {contract.HISTORY_ROW.name: history, contract.CANDIDATE_ROW.name: candidates}
        tensors = {name: np.array([each], np.int32).reshape(1, -1) for name, each in rows.items()}
        return Request(tensors | columns)  # type: ignore[arg-type]

    @pytest.mark.parametrize("row", [-1, ROWS])
    def test_a_row_that_is_not_there_is_refused(self, row: int) -> None:
        for name, request in (
            ("HISTORY_ROW[0, 1]", self.request([0, row], [1])),
            ("CANDIDATE_ROW[0, 0]", self.request([], [row])),
        ):
            refusal = re.escape(f"{name} is {row}; send 0 to {ROWS - 1}")
            with pytest.raises(InvalidRequest, match=refusal):
                READER.read_rows(request, ROWS)

    def test_rows_are_slots_of_new_items(self) -> None:
        found = READER.read_rows(self.request([0, 2, 0], [1, 2]), ROWS)
        assert found.history.slots.tolist() == [-1, -3, -1]
        assert found.candidates.tolist() == [-2, -3]
        assert found.history.actions.tolist() == [0, 0, 0]
        assert found.history.ages.tolist() == [NO_AGE] * 3
        assert found.skipped == len(found.seen) == len(found.excluded) == 0
        for each in (found.history.slots, found.candidates, found.seen, found.excluded):
            assert each.dtype == np.int32

    def test_the_last_events_are_kept_with_all_that_belongs_to_them(self) -> None:
        length = MAX_HISTORY + 2
        found = READER.read_rows(
            self.request(
                range(length), [0],
                HISTORY_ACTION=strings(["view"] * (length - 1) + ["buy"]),
                HISTORY_TIME=np.array([np.arange(length) * 10]),
            ),
            ROWS,
        )  # fmt: skip
        assert found.history.slots.tolist() == [-3, -4, -5, -6, -7, -8]
        assert found.history.actions.tolist() == [1, 1, 1, 1, 1, 2]
        assert found.history.ages.tolist() == [50, 40, 30, 20, 10, 0]

    def test_a_new_user_has_none(self) -> None:
        found = READER.read_rows(self.request([], [0]), ROWS)
        assert found.history.slots.shape == found.history.ages.shape == (0,)

    def test_what_does_not_fit_is_refused_by_what_was_sent(self) -> None:
        for column, value in (
            ("HISTORY_ACTION", strings(["a", "b"])),
            ("HISTORY_TIME", np.array([[1, 2]])),
        ):
            message = f"{column} has 2 values and HISTORY_TEXT has 1"
            with pytest.raises(InvalidRequest, match=message):
                READER.read_rows(self.request([0], [1], **{column: value}), ROWS)
        with pytest.raises(InvalidRequest, match="divide by 1000 "):
            READER.read_rows(
                self.request([0], [1], HISTORY_TIME=np.array([[1_700_000_000_000]])), ROWS
            )
        with pytest.raises(InvalidRequest, match="no option"):
            READER.read_rows(Request(self.request([0], [1]).tensors, '{"top_q": 1}'), ROWS)


@pytest.mark.parametrize("change", ["max_rows", "max_history", "max_top_k"])
def test_settings_that_are_nonsense_fail_at_loading(change: str) -> None:
    with pytest.raises(ValueError, match=change):
        replace(SETTINGS, **{change: 0})  # type: ignore[arg-type]


# Few enough that texts, known and unknown ids meet often, and at most MAX_ROWS of them.
texts = st.sampled_from(["", "toy", "story", "cats", "the matrix", "a film " * 9, "Ünknown", "z"])
ids = st.sampled_from([*ITEMS[:6], "x", "y", "z"])


@given(
    st.lists(st.tuples(ids, texts), max_size=9),
    st.lists(st.tuples(ids, texts), max_size=9),
    st.randoms(use_true_random=False),
)
def test_permuting_candidates_permutes_what_their_slots_mean(
    history: list[tuple[str, str]], candidates: list[tuple[str, str]], random: object
) -> None:
    order = list(range(len(candidates)))
    random.shuffle(order)  # type: ignore[attr-defined]

    def asked(order: Sequence[int]) -> list[object]:
        return meanings(
            read(
                user(
                    [item for item, _ in history],
                    history_text=[text for _, text in history],
                    candidate=[candidates[place][0] for place in order],
                    candidate_text=[candidates[place][1] for place in order],
                    parameters=SKIP,
                )
            )
        )

    straight = asked(range(len(candidates)))
    assert asked(order) == [straight[place] for place in order]


def meanings(found: UserRequest) -> list[object]:
    """Candidates, with its text for each row: rows are numbered by their first use."""
    return [
        found.texts[-slot - 1] if NO_ITEM < slot < 0 else slot for slot in found.candidates.tolist()
    ]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=MAX_ROWS))
def test_every_text_is_the_one_that_its_slot_names(batch: Sequence[str]) -> None:
    found = read(user([], candidate=["x"] * len(batch), candidate_text=batch, parameters=SKIP))
    # What is blank is decided by bytes: a text of other white space is a text.
    expected = [text if text.encode().strip() else NO_ITEM for text in batch]
    assert meanings(found) == expected
    assert len(found.texts) == len(set(found.texts))
