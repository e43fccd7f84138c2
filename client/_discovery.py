"""Service discovery: keeps the addresses behind the names of the targets up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from grpc import StatusCode

from client._addresses import Found, Name
from client._balancing import Balancer
from client._core import Await, Plan
from client._deadlines import Deadline
from client.errors import DeadlineExceeded, RecommenderError, Unavailable

_logger = logging.getLogger(__name__)

_AGAIN_AFTER_FAILURE = 1.0  # seconds


class Discovery:
    """Hands the balancer the servers given by address, and those found behind names.

    Names are looked up in a thread: the system's resolver has no time limit of its own. A name
    that cannot be looked up keeps the servers it had.
    """

    def __init__(
        self,
        targets: Sequence[str | Name],
        balancer: Balancer,
        every: float,
        clock: Callable[[], float],
    ) -> None:
        self._names = [target for target in targets if isinstance(target, Name)]
        self._targets = targets
        self._balancer = balancer
        self._every = every
        self._clock = clock
        self._found: dict[Name, Found] = {}
        self._next = clock()
        self._look_up: Future[None] = Future()
        self._look_up.set_result(None)
        self._lock = threading.Lock()
        self._hand_over()  # what needs no look-up

    @property
    def names(self) -> Sequence[Name]:
        """The targets that are looked up."""
        return self._names

    def ensure(self, deadline: Deadline) -> Plan[None]:
        """Look the names up when it is time to; only a call that knows no server yet waits."""
        if not self._names:
            return
        self._look_up_if_expired()
        if not self._balancer.endpoints:
            look_up = self._look_up
            yield Await(look_up, deadline.left())
            if not self._balancer.endpoints:
                raise self._nobody(waited=not look_up.done())

    def _look_up_if_expired(self) -> None:
        with self._lock:
            if not self._look_up.done() or self._clock() < self._next:
                return
            self._look_up = Future()
            # A task that is given up cancels what it waits for; others may wait for it too.
            self._look_up.set_running_or_notify_cancel()
        threading.Thread(
            target=self._look_names_up, args=(self._look_up,), name="client-dns", daemon=True
        ).start()

    def _look_names_up(self, look_up: Future[None]) -> None:
        pause = min(self._every, _AGAIN_AFTER_FAILURE)
        try:
            found = [self._look_up_name(name) for name in self._names]
            if all(found):
                pause = self._every
            self._hand_over()
        finally:
            self._next = self._clock() + pause
            look_up.set_result(None)

    def _look_up_name(self, name: Name) -> bool:
        """Return whether it could be."""
        try:
            self._found[name] = name.look_up()
        except (OSError, UnicodeError) as error:
            _logger.warning("the name %s cannot be looked up: %s", name.host, error)
            return False
        return True

    def _nobody(self, *, waited: bool) -> RecommenderError:
        """Return the error of a call for which no server is known.

        ``waited`` says that the look-up was not finished when the call's time was over.
        """
        names = ", ".join(name.host for name in self._names)
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
