"""Scores that another program wrote, such as another library's model, under our protocol."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.errors import ConfigError
from builder.evaluation.ranking import user_chunk

_UNREADABLE: Final = (
    *(OSError, KeyError, ValueError, TypeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),  # an archive that was cut off or damaged
    RuntimeError,  # one that is encrypted, or compressed in a way that Python does not know
)


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
        The file cannot be read, lacks an array or a test user, or a score of one is NaN.
    """
    try:
        users, items, found = _arrays(file)
    except _UNREADABLE as error:
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
    recorded = RecordedScores({user: row for row, user in enumerate(users)}, scores)
    _refuse_nan(file, recorded, test, item_ids)
    return recorded


def _arrays(file: Path) -> tuple[list[str], list[str], NDArray[np.float32]]:
    with file.open("rb") as opened:  # numpy leaves one open that it cannot read
        arrays = np.load(opened, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")  # noqa: TRY004 - the file's fault
        users, items = (
            [str(each) for each in np.atleast_1d(arrays[name])] for name in ("user_ids", "item_ids")
        )
        return users, items, arrays["scores"].astype(np.float32)


def _refuse_nan(file: Path, recorded: RecordedScores, test: Holdout, item_ids: list[str]) -> None:
    """Say so now: the ranking would only meet them after the baselines."""
    for part in test.chunks(user_chunk(len(item_ids))):
        missing = np.isnan(recorded.scores(part.histories))
        if missing.any():
            user, item = np.argwhere(missing)[0]
            raise ConfigError(
                f"--scores {file}: the score of item {item_ids[item]} for user "
                f"{part.histories.user_ids[user]} is NaN; write a number, or -inf for an item "
                "that comes last"
            )
