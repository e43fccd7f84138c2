"""What the calls for many users have in common, blocking or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from client import _inputs
from client._deadlines import NotGiven, Timeout
from client.errors import InvalidInput

OnError = Literal["raise", "return"]


@dataclass(frozen=True, slots=True)
class ManyOptions:
    """Checked options of ``rank_many`` and ``recommend_many``."""

    concurrency: int
    ordered: bool
    fail: bool
    progress: Callable[[int], object] | None
    timeout: Timeout
    metadata: Mapping[str, str] | None

    @property
    def ahead(self) -> int:
        """Most users taken in whose answers were not handed out yet."""
        return 2 * self.concurrency


NO_PROFILE: Final = object()
"""What stands where the profiles have come to their end."""


def are_no_profiles(profiles: object) -> bool:
    """Whether the caller has none at all, rather than as many as there are users."""
    if isinstance(profiles, Mapping):
        raise InvalidInput.at("profiles", profiles, "pass a list, one for each user")
    return isinstance(profiles, (tuple, list)) and not profiles


def check_profile(profile: object, position: int) -> None:
    """Raise unless the user at this position has a profile, be it None."""
    if profile is NO_PROFILE:
        raise InvalidInput.at(
            "profiles", position, "there are more users; pass one for each, None for an unknown one"
        )


def check_no_profile_left(profile: object, position: int) -> None:
    """Raise unless the profiles end where the users do."""
    if profile is not NO_PROFILE:
        raise InvalidInput.at("profiles", position, "there are fewer users; pass one for each")


def read_many_options(
    concurrency: int,
    ordered: bool,  # noqa: FBT001 - it is the value to check
    on_error: OnError,
    progress: Callable[[int], object] | None,
    timeout: Timeout,
    metadata: Mapping[str, str] | None,
) -> ManyOptions:
    """Check the options at once, not when the first answer is asked for."""
    if on_error not in get_args(OnError):
        raise InvalidInput.at("on_error", on_error, "pass 'raise' or 'return'")
    if not isinstance(timeout, NotGiven):
        _inputs.read_timeout(timeout)
    _inputs.read_metadata(metadata)
    return ManyOptions(
        _inputs.read_count(concurrency, "concurrency"),
        _inputs.read_flag(ordered, "ordered"),
        on_error == "raise",
        progress,
        timeout,
        metadata,
    )
