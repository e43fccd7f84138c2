"""Scores that another program wrote, such as another library's model, under our protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.errors import ConfigError


class RecordedScores:
    """Scores that another program wrote, see `read_scores`."""

    def __init__(self, users: dict[str, int], scores: NDArray[np.float32]) -> None:
        self._users = users
        self._scores = scores

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        return self._scores[[self._users[user] for user in histories.user_ids]]


def read_scores(file: Path, test: Holdout, item_ids: list[str]) -> RecordedScores:
    """Read an ``.npz`` with ``user_ids`` [U], ``item_ids`` [m] and ``scores`` FP32 [U, m].

    The scores are those after each user's test history. Items that it does not have come last.

    Raises
    ------
    ConfigError
        The file cannot be read, lacks an array, or a test user.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            users = [str(user) for user in arrays["user_ids"]]
            items = [str(item) for item in arrays["item_ids"]]
            found = arrays["scores"].astype(np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"--scores {file}: cannot be read ({error}); it must be an .npz with user_ids, "
            "item_ids and scores"
        ) from error
    if found.shape != (len(users), len(items)):
        raise ConfigError(
            f"--scores {file}: scores are {found.shape}, where user_ids and item_ids ask for "
            f"{(len(users), len(items))}"
        )
    there = set(users)
    missing = [user for user in test.histories.user_ids if user not in there]
    if missing:
        raise ConfigError(
            f"--scores {file}: {len(missing):,} test users are not in it (the first is "
            f"{missing[0]}); score all users of the split"
        )
    place = {item: number for number, item in enumerate(item_ids)}
    known = [number for number, item in enumerate(items) if item in place]
    scores = np.full((len(users), len(item_ids)), -np.inf, np.float32)
    scores[:, [place[items[number]] for number in known]] = found[:, known]
    return RecordedScores({user: row for row, user in enumerate(users)}, scores)
