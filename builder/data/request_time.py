"""The time of a request as columns of a profile: the hour, the day of the week.

They belong to the request, not to the user. In a log, an event stands for a request at the event's
own time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_repository.core.profile import ProfileColumn

REQUEST_TIME: Final[Mapping[str, int]] = {"hour": 24, "weekday": 7}
"""Columns and how many values each has, which count from 0; the first weekday is Monday."""


@dataclass(frozen=True)
class Clock:
    """What a model knows of the time of a request.

    Attributes
    ----------
    names
        Some of `REQUEST_TIME`.
    zone
        The time zone of the clock, by its IANA name.
    """

    names: Sequence[str] = ()
    zone: str = "UTC"

    @property
    def columns(self) -> tuple[ProfileColumn, ...]:
        """The same whatever the log says, in the order of `REQUEST_TIME`."""
        return tuple(
            ProfileColumn(name, values=tuple(map(str, range(count))))
            for name, count in REQUEST_TIME.items()
            if name in self.names
        )

    def ids(self, times: NDArray[np.int64]) -> NDArray[np.int32]:
        """Ids INT32 [E, columns] of Unix seconds INT64 [E]."""
        utc = pd.DatetimeIndex(times.astype("datetime64[s]")).tz_localize("UTC")
        local = utc.tz_convert(self.zone)
        found = np.zeros((len(times), len(self.columns)), np.int32)
        for place, column in enumerate(self.columns):
            found[:, place] = 1 + np.asarray(getattr(local, column.name))
        return found


NO_CLOCK: Final = Clock()
"""Of a model that is not told when a request is made."""
