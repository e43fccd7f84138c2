"""Watches one running tritonserver: says what is wrong with it, and of each model how it is.

A server that works must never be taken for dead, so a model that does not answer its golden
request in time is dead only if it does nothing either: none of its processes uses the processor or
waits for the disk, nor does a process of any model that it may be waiting for. A model that is busy
is dead once it has answered nobody for `_SILENT` ticks, after as many of patience. One that answers
that another model is not available stands for that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from builder.repository.golden import GoldenRequest
from builder.serving.access import open_channel
from builder.serving.probes import Probe
from builder.serving.processes import ServerProcesses
from builder.serving.server import TritonServer

# Time is counted in ticks, not read off a clock: a machine that slept has not waited.
TICK: Final = 0.25  # seconds
_ASK_EVERY: Final = 4
_IDLE: Final = 4
_LACKING: Final = 3 * _ASK_EVERY  # several answers
_STOPPED: Final = 2
_WRONG: Final = 2  # answers in a row
_SILENT: Final = 120


class Watch:
    """Looks at a server that has started. Close it.

    Attributes
    ----------
    states
        What is wrong with each model; "" for nothing.
    """

    def __init__(self, server: TritonServer, golden: Sequence[GoldenRequest]) -> None:
        self.states = {status.name: "" for status in server.models()}
        self._channel = open_channel(server.grpc_address, server.tls)
        try:
            self._processes = ServerProcesses(server.pid)
        except BaseException:
            self._channel.close()
            raise
        self._probes = [Probe(each, self._channel) for each in golden if each.model in self.states]
        for probe in self._probes:
            probe.send()
        self._ticks = 1
        self._idle: Counter[str] = Counter()
        self._waited: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._stopped: Counter[str] = Counter()
        self._answered: dict[str, int] = {}

    def close(self) -> None:
        """Look no more."""
        self._channel.close()
        self._processes.close()

    @property
    def silent(self) -> list[str]:
        """The models that have not answered a golden request yet."""
        return [probe.model for probe in self._probes if probe.problem is None]

    def step(self) -> str:
        """Look for a tick, or until a process ends. Returns what is wrong, "" for nothing."""
        ended = self._processes.wait_for_end(TICK)
        if ended:
            return self._broken(ended)
        stopped = self._processes.stopped()
        self._stopped = Counter({model: self._stopped[model] + 1 for model in stopped})
        if max(self._stopped.values(), default=0) >= _STOPPED:
            return self._broken(stopped)
        wrong = self._ask()
        self._ticks += 1
        return self._broken(wrong) if wrong else ""

    def _ask(self) -> dict[str, str]:
        """Read and send golden requests. Returns the models that are dead, with the reason."""
        for probe in self._probes:
            if probe.read():
                self._note(probe)
            if self._ticks % _ASK_EVERY == 0:
                probe.send()
        self._count({probe.model for probe in self._probes if probe.due})
        dead = {}
        for probe in self._probes:
            if self._wrong[probe.model] >= _WRONG:
                dead[probe.model] = f"{probe.model} answers wrong: {probe.problem}"
            elif probe.lacking:
                if self._idle[probe.model] >= _LACKING or self._waited[probe.model] >= _SILENT:
                    dead[probe.model] = f"{probe.model} lacks another model: {probe.lacking}"
            elif self._idle[probe.model] >= _IDLE:
                dead[probe.model] = f"{probe.model} does not answer, and does nothing"
            elif self._waited[probe.model] % _SILENT == _SILENT - 1 and self._silent(probe):
                dead[probe.model] = f"{probe.model} works and answers nobody"
        return dead

    def _note(self, probe: Probe) -> None:
        self.states[probe.model] = probe.problem or ""
        self._wrong[probe.model] = self._wrong[probe.model] + 1 if probe.problem else 0
        self._answered.pop(probe.model, None)

    def _count(self, names: set[str]) -> None:
        """Count the ticks of models that owe an answer, and those of them without any work."""
        own = self._processes.models
        # What it waits for has not answered either, or is a step, which is not asked; models
        # without processes of their own run in tritonserver.
        asked = {probe.model for probe in self._probes}
        # One that lacks another model does answer, so its own work says nothing of that one.
        working = names - {probe.model for probe in self._probes if probe.lacking}
        may_wait_for = working | (own - asked) | ({""} if names - own else set())
        busy = bool(self._processes.working() & may_wait_for)
        self._waited = Counter({name: self._waited[name] + 1 for name in names})
        self._idle = Counter({name: 0 if busy else self._idle[name] + 1 for name in names})

    def _silent(self, probe: Probe) -> bool:
        """Whether the model has answered nobody since this was asked last."""
        before, now = self._answered.get(probe.model), probe.answered()
        self._answered[probe.model] = now
        return before == now

    def _broken(self, problems: dict[str, str]) -> str:
        for model in self.states if "" in problems else problems:
            self.states[model] = problems.get(model) or problems.get("", "")
        return "; ".join(dict.fromkeys(problems.values()))
