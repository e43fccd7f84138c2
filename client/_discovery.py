"""Which servers there are: keeps what the names of the targets stand for up to date. No I/O."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from grpc import StatusCode

from client._balancing import Balancer
from client._targets import Found, Name
from client.errors import DeadlineExceeded, RecommenderError, Unavailable

_logger = logging.getLogger(__name__)

_AGAIN_AFTER_FAILURE = 1.0  # seconds


class Discovery:
    """Hands the balancer the servers given by address, and those found behind names.

    A shell asks :meth:`due`, looks every one of ``names`` up, hands each answer to :meth:`learn`
    and calls :meth:`done`. A name that cannot be looked up keeps the servers it had.
    """

    def __init__(
        self,
        targets: Sequence[str | Name],
        balancer: Balancer,
        every: float,
        clock: Callable[[], float],
    ) -> None:
        self.names = [target for target in targets if isinstance(target, Name)]
        self._targets = targets
        self._balancer = balancer
        self._every = every
        self._clock = clock
        self._found: dict[Name, Found] = {}
        self._failed = False
        self._next = clock()
        self._under_way = False
        self._lock = threading.Lock()
        if not self.names:
            self._hand_over()

    def due(self) -> bool:
        """Whether the names are to be looked up now, by whoever asks: only one is told so."""
        if not self.names or self._under_way or self._clock() < self._next:
            return False
        with self._lock:
            if self._under_way:
                return False
            self._under_way = True
            return True

    def learn(self, name: Name, answer: Found | OSError) -> None:
        if isinstance(answer, OSError):
            self._failed = True
            _logger.warning("the name %s cannot be looked up: %s", name.host, answer)
        else:
            self._found[name] = answer

    def done(self) -> None:
        """Hand over what was learnt, and settle when to look again."""
        self._hand_over()
        pause = min(self._every, _AGAIN_AFTER_FAILURE) if self._failed else self._every
        self._failed = False
        self._next = self._clock() + pause
        self._under_way = False

    @property
    def has_servers(self) -> bool:
        return bool(self._balancer.endpoints)

    def nobody(self, *, waited: bool) -> RecommenderError:
        """Return the error of a call for which no server is known.

        ``waited`` says that the look-up was not finished when the call's time was over.
        """
        names = ", ".join(name.host for name in self.names)
        if waited:
            return DeadlineExceeded(
                f"DEADLINE_EXCEEDED: looking up {names} took longer than the call's timeout "
                "(check this machine's name service)",
                code=StatusCode.DEADLINE_EXCEEDED,
            )
        return Unavailable(
            f"UNAVAILABLE: no address was found for {names} (check the name and this machine's "
            "name service)",
            code=StatusCode.UNAVAILABLE,
        )

    def _hand_over(self) -> None:
        servers: list[tuple[str, str | None]] = []
        for target in self._targets:
            servers += self._found.get(target, ()) if isinstance(target, Name) else [(target, None)]
        self._balancer.update(servers)
