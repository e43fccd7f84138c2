"""What both clients are made of: the checked arguments, and what follows from them."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Mapping

from client import _inputs
from client._channel import ChannelFactory
from client._configuration import Labels, Limits
from client._core import Context, Core, Metadata
from client._deadlines import Deadline, Timeout
from client._discovery import Discovery
from client._requests import StableInputs
from client._targets import read_targets
from client.errors import ClientClosed, InvalidInput
from client.observers import Hook, Observer, ResponseInfo
from client.policies import Balancing, Connection, Hedge, Retry, Tls

Token = str | Callable[[], str]


class Settings:
    """The arguments of a client, checked, and the state that needs no I/O."""

    def __init__(
        self,
        targets: str | Iterable[str],
        *,
        timeout: float | None,
        retry: Retry,
        hedge: Hedge | None,
        balancing: Balancing,
        connection: Connection,
        tls: Tls | None,
        token: Token | None,
        metadata: Mapping[str, str] | None,
        max_parallel: int,
        on_response: Callable[[ResponseInfo], object] | None,
        observers: Iterable[Observer],
    ) -> None:
        read = read_targets(targets)
        self.named = tuple(map(str, read))
        self.timeout = _inputs.read_timeout(timeout)
        self.max_parallel = _inputs.read_count(max_parallel, "max_parallel")
        self.factory = ChannelFactory(connection, tls)
        hooks = [] if on_response is None else [Hook(on_response)]
        self.core = Core(retry, hedge, balancing, [*hooks, *observers])
        self.discovery = Discovery(
            read, self.core.balancer, balancing.resolve_every, self.core.clock
        )
        self.stable = StableInputs()
        self.limits: dict[str, Limits] = {}
        self.labels: dict[str, Labels] = {}  # by the version of the classifier
        self._metadata = _inputs.read_metadata(metadata)
        self._token = token
        if token is not None and not callable(token):
            self._authorization(token)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._pid = os.getpid()

    def context(
        self,
        timeout: Timeout | Deadline,
        request_id: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Context:
        """Start a call's clock and settle what goes along with its requests."""
        deadline = (
            timeout if isinstance(timeout, Deadline) else Deadline.after(timeout, self.timeout)
        )
        name = _inputs.read_request_id(request_id) or self.new_id()
        together = self._metadata + _inputs.read_metadata(metadata)
        if self._token is not None:
            token = self._token() if callable(self._token) else self._token
            together += self._authorization(token)
        return Context(deadline, name, together)

    def new_id(self) -> str:
        # Unique among clients by the prefix, among the calls of one by the number, and among
        # processes that were forked from one by the process id.
        return f"{self._prefix}-{os.getpid():x}-{next(self._numbers):x}"

    def in_other_process(self) -> bool:
        return os.getpid() != self._pid

    def adopt_process(self) -> None:
        """Belong to the process that runs: nothing was opened in the one before."""
        self._pid = os.getpid()

    def describe(self, name: str) -> str:
        """Return the ``repr`` of a client: where and how long, and never what authenticates it."""
        where = repr(self.named[0]) if len(self.named) == 1 else repr(list(self.named))
        secure = ", tls=True" if self.factory.tls is not None else ""
        return f"{name}({where}, timeout={self.timeout}{secure})"

    def closed(self, name: str) -> ClientClosed:
        return ClientClosed(
            f"{self.describe(name)} is closed: make a new one, and close it after its last call"
        )

    def _authorization(self, token: object) -> Metadata:
        if not isinstance(token, str) or not token:
            raise InvalidInput("token: pass a str, or a function that returns one", field="token")
        return _inputs.read_metadata({"authorization": f"Bearer {token}"})
