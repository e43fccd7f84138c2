from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.core import contract
from model_repository.core.batch import Request
from model_repository.core.errors import InvalidRequest
from model_repository.request_tokenizer import RequestTokenizer
from model_repository.slots import NO_ITEM, gap_buckets

from .conftest import ITEMS, MAX_HISTORY, MAX_LENGTH, MAX_ROWS, Answer, Parts, plain, user

DTYPES = {"INT32": np.dtype(np.int32), "FP32": np.dtype(np.float32)}
SKIP = {"on_unknown": "skip"}


def test_every_output_of_the_contract_in_its_type_and_shape(answer: Answer) -> None:
    tensors = answer(
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
    assert tensors.keys() == {spec.name for spec in contract.TOKENIZER.outputs}
    lengths = {"H": 2, "N": 3, "E": 2, "R": 2, "L": 4}
    for spec in contract.TOKENIZER.outputs:
        assert tensors[spec.name].dtype == DTYPES[spec.dtype]
        expected = tuple(lengths[axis] if isinstance(axis, str) else axis for axis in spec.dims)
        assert tensors[spec.name].shape == expected, spec.name


class TestHistory:
    def test_known_items_are_their_indices(self, answer: Answer) -> None:
        assert answer(user(["i3", "i0", "i3"]))["HISTORY_SLOT"].tolist() == [[3, 0, 3]]

    def test_a_new_user_has_an_empty_one(self, answer: Answer) -> None:
        tensors = answer(user([], times=[], history_action=[], history_text=[], candidate=["i1"]))
        for name in ("HISTORY_SLOT", "HISTORY_ACTION_ID", "HISTORY_GAP", "EXCLUDE_SLOT"):
            assert tensors[name].shape == (1, 0)
            assert tensors[name].dtype == np.int32
        assert tensors["CANDIDATE_SLOT"].tolist() == [[1]]

    def test_without_texts_one_row_stands_in_that_is_the_empty_text(self, answer: Answer) -> None:
        assert answer(user(["i1"]))["INPUT_IDS"].tolist() == [[2, 3, 0, 0]]

    def test_an_unknown_event_with_a_text_is_its_row(self, answer: Answer) -> None:
        tensors = answer(user(["x", "i1", "y"], history_text=["toy", "ignored", "story"]))
        assert tensors["HISTORY_SLOT"].tolist() == [[-1, 1, -2]]
        assert tensors["INPUT_IDS"].tolist() == [[2, 4, 3, 0], [2, 5, 3, 0]]

    def test_the_same_text_is_one_row(self, answer: Answer) -> None:
        tensors = answer(
            user(
                ["x", "y"],
                history_text=["toy", "toy"],
                candidate=["z", "w"],
                candidate_text=["story", "toy"],
            )
        )
        assert tensors["HISTORY_SLOT"].tolist() == [[-1, -1]]
        assert tensors["CANDIDATE_SLOT"].tolist() == [[-2, -1]]
        assert len(tensors["INPUT_IDS"]) == 2

    @pytest.mark.parametrize("text", ["", " \t"])
    def test_an_unknown_event_without_text_is_dropped_with_all_that_belongs_to_it(
        self, answer: Answer, text: str
    ) -> None:
        tensors = answer(
            user(
                ["i1", "x", "i2"],
                history_text=["", text, ""],
                history_action=["view", "buy", "view"],
                times=[0, 30, 32],
            )
        )
        assert tensors["HISTORY_SLOT"].tolist() == [[1, 2]]
        assert tensors["HISTORY_ACTION_ID"].tolist() == [[1, 1]]
        assert tensors["HISTORY_GAP"].tolist() == [gap_buckets(np.array([0, 32])).tolist()]
        assert tensors["SKIPPED"].tolist() == [[1]]

    def test_the_last_events_are_kept_after_dropping(self, answer: Answer) -> None:
        history = [*ITEMS[:10], "x", "y"]
        tensors = answer(user(history, history_text=["never read"] * 10 + ["", ""]))
        assert tensors["HISTORY_SLOT"].tolist() == [list(range(10 - MAX_HISTORY, 10))]
        assert tensors["SKIPPED"].tolist() == [[2]]

    def test_texts_of_events_too_old_to_be_read_are_not_encoded(self, answer: Answer) -> None:
        old = [f"x{number}" for number in range(MAX_ROWS + 1)]
        history = [*old, *ITEMS[:MAX_HISTORY]]
        tensors = answer(user(history, history_text=[*old, *[""] * MAX_HISTORY]))
        assert tensors["INPUT_IDS"].shape == (1, 4)
        assert tensors["SKIPPED"].tolist() == [[0]]

    def test_an_action_that_training_did_not_know_is_zero(self, answer: Answer) -> None:
        tensors = answer(user(["i1", "i2", "i3"], history_action=["buy", "", b"\xff"]))
        assert tensors["HISTORY_ACTION_ID"].tolist() == [[2, 0, 0]]

    def test_without_times_and_actions_both_are_not_known(self, answer: Answer) -> None:
        tensors = answer(user(["i1", "i2"]))
        assert tensors["HISTORY_ACTION_ID"].tolist() == [[0, 0]]
        assert tensors["HISTORY_GAP"].tolist() == [[0, 0]]

    def test_times_must_not_fall(self, answer: Answer) -> None:
        answer(user(["i1", "i2"], times=[7, 7]))
        with pytest.raises(InvalidRequest, match=r"HISTORY_TIME\[2\] is 6, before .* 7; send"):
            answer(user(["i1", "i2", "x"], times=[1, 7, 6]))

    def test_the_farthest_times_do_not_overflow(self, answer: Answer) -> None:
        tensors = answer(user(["i1", "i2"], times=[-(2**63), 2**63 - 1]))
        assert tensors["HISTORY_GAP"].tolist() == [[0, 31]]

    def test_it_must_be_there(self, answer: Answer) -> None:
        with pytest.raises(
            InvalidRequest, match=r"HISTORY is missing; send it with shape \[1, 0\]"
        ):
            answer(Request({}))


class TestExclude:
    def test_the_whole_history_and_what_is_named(self, answer: Answer) -> None:
        history = [*ITEMS[:10], "x"]
        tensors = answer(user(history, exclude=["i15", "i2", "unknown", b"\xff"]))
        assert tensors["EXCLUDE_SLOT"].tolist() == [[*range(10), 15]]

    def test_seen_items_may_be_included(self, answer: Answer) -> None:
        tensors = answer(user(["i1"], exclude=["i3"], parameters={"include_seen": True}))
        assert tensors["EXCLUDE_SLOT"].tolist() == [[3]]


class TestCandidates:
    def test_none_asked_none_answered(self, answer: Answer) -> None:
        assert "CANDIDATE_SLOT" not in answer(user(["i1"]))
        assert answer(user(["i1"], candidate=[]))["CANDIDATE_SLOT"].shape == (1, 0)

    def test_ten_thousand(self, answer: Answer) -> None:
        candidates = ITEMS * 500
        slots = answer(user([], candidate=candidates))["CANDIDATE_SLOT"]
        assert slots.tolist() == [list(range(20)) * 500]

    def test_an_unknown_one_is_named_with_the_remedy(self, answer: Answer) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            answer(user([], candidate=["i1", "film\n7", "i2", "other"]))
        assert str(refusal.value) == (
            "CANDIDATE[1] 'film\\n7' (and 1 more) is not in the catalogue and has no text; send "
            "its text in CANDIDATE_TEXT, or set the parameter on_unknown to 'skip' to get NaN "
            "for it"
        )

    def test_an_id_that_is_no_text_is_shown_escaped_and_clipped(self, answer: Answer) -> None:
        with pytest.raises(InvalidRequest, match=r"CANDIDATE\[0\] '\\xff\\x00z+…' is") as refusal:
            answer(user([], candidate=[b"\xff\x00" + b"z" * 10_000]))
        assert len(str(refusal.value)) < 300

    def test_an_unknown_one_can_be_skipped(self, answer: Answer) -> None:
        tensors = answer(user([], candidate=["i1", "x", "i2"], parameters=SKIP))
        assert tensors["CANDIDATE_SLOT"].tolist() == [[1, NO_ITEM, 2]]

    def test_skipping_still_encodes_those_with_a_text(self, answer: Answer) -> None:
        request = user([], candidate=["x", "y"], candidate_text=["", "toy"], parameters=SKIP)
        assert answer(request)["CANDIDATE_SLOT"].tolist() == [[NO_ITEM, -1]]


class TestRefusals:
    @pytest.mark.parametrize(
        ("request_", "message"),
        [
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
            (
                user([], candidate=["x"], candidate_text=[b"\xff"]),
                r"CANDIDATE_TEXT\[0\] is not UTF-8",
            ),
            (plain("fine", b"\xc3"), r"TEXT\[1\] is not UTF-8"),
            (
                user([], candidate=["x"] * 9, candidate_text=[f"toy {n}" for n in range(9)]),
                "the request has 9 texts to encode, and at most 8 fit in one; split it",
            ),
            (plain(*["same"] * 9), "the request has 9 texts to encode"),
            (user([], parameters={"top_k": 0}), "top_k is 0"),
            (user([], parameters={"top_k": 6}), "at most 5 items"),
            (
                Request({"HISTORY": np.array([[b"a"], [b"b"]], np.object_)}),
                r"HISTORY must have shape \[1, n\], not \[2, 1\]",
            ),
            (Request({"HISTORY": np.zeros((1, 2), np.int64)}), "HISTORY must be BYTES, not int64"),
            (
                Request({"TEXT": np.array([[b"a", b"b"]], np.object_)}),
                r"TEXT must have shape \[B, 1\], not \[1, 2\]",
            ),
        ],
    )
    def test_each_is_refused_by_name_and_alone(
        self, tokenize: RequestTokenizer, request_: Request, message: str
    ) -> None:
        good = user(["i1", "x"], history_text=["", "the matrix"])
        before, refused, after = tokenize([good, request_, plain("toy story")])
        with pytest.raises(InvalidRequest, match=message):
            raise_(refused)
        assert not isinstance(before, Exception)
        assert not isinstance(after, Exception)
        assert before["INPUT_IDS"].tolist() == [[2, 6, 7, 3]]
        assert after["INPUT_IDS"].tolist() == [[2, 4, 5, 3]]

    def test_a_text_that_nobody_reads_may_be_anything(self, answer: Answer) -> None:
        answer(user(["i1"], history_text=[b"\xff"]))


class TestTexts:
    def test_each_row_in_its_order_without_merging(self, answer: Answer) -> None:
        tensors = answer(plain("toy", "story", "toy", ""))
        assert [row[1] for row in tensors["INPUT_IDS"]] == [4, 5, 4, 3]
        assert tensors["TRUNCATED"].tolist() == [[0], [0], [0], [0]]
        assert tensors.keys() == {"INPUT_IDS", "TRUNCATED"}

    @pytest.mark.parametrize(
        ("words", "length"), [(2, 4), (3, 8), (6, 8), (7, 16), (14, 16), (15, 16), (500, 16)]
    )
    def test_the_smallest_bucket_that_holds_the_longest(
        self, answer: Answer, words: int, length: int
    ) -> None:
        tensors = answer(plain("toy", "toy " * words))
        assert tensors["INPUT_IDS"].shape == (2, length)
        assert tensors["TRUNCATED"].tolist() == [[0], [int(words > MAX_LENGTH - 2)]]
        assert tensors["INPUT_IDS"][1].max(initial=0) == 4
        assert 3 in tensors["INPUT_IDS"][1]  # the closing special token outlives the cut

    def test_a_megabyte_is_cut_and_said_to_be(self, answer: Answer) -> None:
        tensors = answer(plain("toy " * 250_000, "a" * 1_000_000, "é" * 500_000))
        assert tensors["INPUT_IDS"].shape == (3, MAX_LENGTH)
        assert tensors["TRUNCATED"].tolist() == [[1], [1], [1]]

    def test_a_user_learns_how_many_texts_were_cut(self, answer: Answer) -> None:
        long = "story " * 99
        tensors = answer(
            user(
                ["x", "y"],
                history_text=[long, "toy"],
                candidate=["z", "x"],
                candidate_text=["film " * 99, long],
            )
        )
        assert tensors["TRUNCATED"].tolist() == [[2]]


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"max_history": 0}, "max_history"),
            ({"length_buckets": [8, 4]}, "must ascend"),
            ({"length_buckets": []}, "must ascend"),
        ],
    )
    def test_nonsense_fails_at_loading(
        self, parts: Parts, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        shutil.copytree(parts.directory, tmp_path, dirs_exist_ok=True)
        settings = json.loads((tmp_path / "settings.json").read_text())
        (tmp_path / "settings.json").write_text(json.dumps(settings | change))
        with pytest.raises(ValueError, match=message):
            RequestTokenizer(tmp_path)


def raise_(outcome: object) -> None:
    assert isinstance(outcome, Exception)
    raise outcome


# Few enough that texts, known and unknown ids meet often, and at most MAX_ROWS of them.
texts = st.sampled_from(["", "toy", "story", "cats", "the matrix", "a film " * 9, "Ünknown", "z"])
ids = st.sampled_from([*ITEMS[:6], "x", "y", "z"])
PARAMETERS: list[dict[str, object]] = [{}, dict(SKIP), {"top_k": 99}, {"include_seen": True}]


@st.composite
def users(draw: st.DrawFn) -> Request:
    history = draw(st.lists(st.tuples(ids, texts, st.integers(0, 99)), max_size=9))
    candidates = draw(st.lists(st.tuples(ids, texts), max_size=9))
    return user(
        [item for item, _, _ in history],
        history_text=[text for _, text, _ in history],
        times=sorted(time for _, _, time in history),
        candidate=[item for item, _ in candidates],
        candidate_text=[text for _, text in candidates],
        parameters=draw(st.sampled_from(PARAMETERS)),
    )


requests = st.one_of(users(), st.builds(lambda row: plain(*row), st.lists(texts, min_size=1)))


@given(st.lists(requests, max_size=5))
def test_a_batch_is_its_requests_one_at_a_time(
    tokenize: RequestTokenizer, batch: Sequence[Request]
) -> None:
    for together, request in zip(tokenize(batch), batch, strict=True):
        (alone,) = tokenize([request])
        if isinstance(alone, Exception):
            assert isinstance(alone, InvalidRequest)
            assert str(together) == str(alone)
        else:
            assert not isinstance(together, Exception)
            assert together.keys() == alone.keys()
            for name, values in alone.items():
                np.testing.assert_array_equal(together[name], values)


@given(users(), st.randoms(use_true_random=False))
def test_permuting_candidates_permutes_what_their_slots_mean(
    answer: Answer, request_: Request, random: object
) -> None:
    request = Request(request_.tensors, SKIP)
    order = list(range(request.tensors["CANDIDATE"].shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    permuted = dict(request.tensors)
    for name in ("CANDIDATE", "CANDIDATE_TEXT"):
        permuted[name] = permuted[name][:, order]
    expected = [meanings(answer(request))[position] for position in order]
    assert meanings(answer(Request(permuted, SKIP))) == expected


def meanings(tensors: dict[str, np.ndarray]) -> list[object]:  # type: ignore[type-arg]
    """Replace each row of the encoded texts by its tokens: rows are numbered as they are met."""
    rows = tensors["INPUT_IDS"]
    return [
        tuple(rows[-slot - 1]) if NO_ITEM < slot < 0 else int(slot)
        for slot in tensors["CANDIDATE_SLOT"][0]
    ]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=MAX_ROWS))
def test_every_text_is_in_the_row_that_its_slot_names(
    parts: Parts, answer: Answer, batch: Sequence[str]
) -> None:
    request = user(
        [], candidate=["x"] * len(batch), candidate_text=batch, parameters={"on_unknown": "skip"}
    )
    tensors = answer(request)
    for text, slot in zip(batch, tensors["CANDIDATE_SLOT"][0], strict=True):
        if not text.encode().strip():
            assert slot == NO_ITEM
            continue
        tokens = parts.tokenizer.encode(text).ids
        if len(tokens) > MAX_LENGTH:
            tokens = [*tokens[: MAX_LENGTH - 1], tokens[-1]]
        row = tensors["INPUT_IDS"][-slot - 1].tolist()
        assert row[: len(tokens)] == tokens
        assert not any(row[len(tokens) :])
