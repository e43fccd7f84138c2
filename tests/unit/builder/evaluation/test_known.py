"""A row says what it knew of other users."""

from __future__ import annotations

import pytest

from builder.evaluation.known import EvaluationProtocol, known_of_others

LATER = "training events of any time, later ones too"
EARLIER = "training events before the target"


@pytest.mark.parametrize(
    ("name", "protocol", "expected"),
    [
        ("EASE", "leave-one-out", LATER),
        ("decayed popularity", "leave-one-out", EARLIER),
        (
            "decayed popularity + EASE, all events",
            "leave-one-out",
            f"{LATER}; counts: {EARLIER}",
        ),
        ("full model", "temporal", "events before the test window"),
        ("decayed popularity + EASE", "temporal", "events before the test window"),
        ("SASRec, all events", "temporal replay", "events before the test window"),
        ("decayed popularity, all events", "temporal replay", "every event before the target"),
    ],
)
def test_known(name: str, protocol: EvaluationProtocol, expected: str) -> None:
    assert known_of_others(name, protocol) == expected
