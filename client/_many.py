"""The part that the blocking and the asyncio calls for many users share."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar, get_args

from client import _inputs
from client._core import Plan
from client._deadlines import NotGiven, Timeout
from client.errors import InvalidInput
from client.items import Profile
from client.results import Result, User

_Entry = TypeVar("_Entry")

Source = Iterable[_Entry] | AsyncIterable[_Entry]
"""What only the asyncio client can read if it is asynchronous."""

OnError = Literal["raise", "return"]


@dataclass(frozen=True, slots=True)
class Many(Generic[User, Result]):
    """The calls of ``rank_many`` and others like it, with their checked options.

    Attributes
    ----------
    plan
        Makes the call of one user, who comes with a profile or None.
    profiles
        One for each user; an empty list or tuple stands for none at all.
    fail
        Whether the first error ends everything.
    """

    plan: Callable[[User, Profile | None], Plan[Result]]
    users: Source[User]
    profiles: Source[Profile | None]
    concurrency: int
    ordered: bool
    fail: bool
    progress: Callable[[int], object] | None

    @property
    def ahead(self) -> int:
        """Most users taken in whose answers were not handed out yet."""
        return 2 * self.concurrency

    @property
    def has_profiles(self) -> bool:
        return not isinstance(self.profiles, (tuple, list)) or bool(self.profiles)


END: Final[Any] = object()
"""What stands where the users or the profiles have come to their end."""


def check_pair(user: object, profile: object, position: int) -> None:
    """Raise where the users come to their end before the profiles do, or after."""
    if profile is END:
        raise InvalidInput.at(
            "profiles", position, "there are more users; pass one for each, None for an unknown one"
        )
    if user is END:
        raise InvalidInput.at("profiles", position, "there are fewer users; pass one for each")


def read_many(
    plan: Callable[[User, Profile | None], Plan[Result]],
    users: Source[User],
    profiles: Source[Profile | None],
    concurrency: int,
    ordered: bool,  # noqa: FBT001 - it is the value to check
    on_error: OnError,
    progress: Callable[[int], object] | None,
    timeout: Timeout,
    metadata: Mapping[str, str] | None,
) -> Many[User, Result]:
    """Check the options at once, not when the first answer is asked for."""
    if isinstance(profiles, Mapping):
        raise InvalidInput.at("profiles", profiles, "pass a list, one for each user")
    if on_error not in get_args(OnError):
        raise InvalidInput.at("on_error", on_error, "pass 'raise' or 'return'")
    if not isinstance(timeout, NotGiven):
        _inputs.read_timeout(timeout)
    _inputs.read_metadata(metadata)
    return Many(
        plan,
        users,
        profiles,
        _inputs.read_count(concurrency, "concurrency"),
        _inputs.read_flag(ordered, "ordered"),
        on_error == "raise",
        progress,
    )
