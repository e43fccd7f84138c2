"""What Triton's Python backend gives a model, without a server: ``triton_python_backend_utils``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

_IMPORTERS = ("steps.triton_model", "steps.gate", "steps.server_metrics", "engines.triton")


class Tensor:
    def __init__(self, name: str, values: NDArray[Any]) -> None:
        self._name = name
        self._values = values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> NDArray[Any]:
        return self._values

    def shape(self) -> list[int]:
        return list(self._values.shape)


class TritonError:
    INVALID_ARG = 1
    INTERNAL = 2
    CANCELLED = 3
    ALREADY_EXISTS = 4
    UNAVAILABLE = 5

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message = message
        self._code = code

    def code(self) -> int:
        return self._code

    def message(self) -> str:
        return self._message


class Refusal(Exception):  # noqa: N818
    """What a model of the `Backend` raises to fail with a code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InferenceResponse:
    def __init__(self, tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        self.tensors = {tensor.name(): tensor.as_numpy() for tensor in tensors}
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError:
        assert self._error is not None
        return self._error


class Sender:
    """Where the answer to a request goes that is given later; its caller may have ``gone``."""

    def __init__(self) -> None:
        self.sent: list[tuple[InferenceResponse, object]] = []
        self.gone = False

    def is_cancelled(self) -> bool:
        return self.gone

    def send(self, response: InferenceResponse, flags: object) -> None:
        self.sent.append((response, flags))


class IncomingRequest:
    def __init__(
        self,
        tensors: Tensors,
        outputs: Sequence[str],
        parameters: str | bytes = "",
        name: str | bytes = "",
        timeout: int = 0,
    ) -> None:
        self._tensors = tensors
        self._outputs = outputs
        self._parameters = parameters
        self._name = name
        self._timeout = timeout
        self.sender = Sender()

    def request_id(self) -> str:
        return _text(self._name)

    def timeout(self) -> int:
        return self._timeout

    def is_cancelled(self) -> bool:
        return self.sender.gone

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, values) for name, values in self._tensors.items()]

    def parameters(self) -> str | None:
        return _text(self._parameters) or None

    def requested_output_names(self) -> Sequence[str]:
        return self._outputs

    def get_response_sender(self) -> Sender:
        return self.sender


def _text(given: str | bytes) -> str:
    return given.decode() if isinstance(given, bytes) else given


@dataclass
class Backend:
    """The other models of the server, and what was written to its log.

    Attributes
    ----------
    models
        Name → a function from inputs to outputs; it may raise.
    asked
        Every request to another model: its name, version, inputs and wanted outputs.
    names
        The ids of these requests, "" for those that have none.
    warnings, errors
        Lines of the log.
    counted
        Values of the counters, by name.
    """

    models: dict[str, Callable[[Tensors], Tensors]] = field(default_factory=dict)
    asked: list[tuple[str, int, dict[str, NDArray[Any]], list[str]]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def answer(self, name: str, version: int, inputs: Tensors, outputs: list[str]) -> Any:
        self.asked.append((name, version, dict(inputs), outputs))
        try:
            found = self.models[name](inputs)
        except Exception as error:  # noqa: BLE001  (a model that fails)
            code = error.code if isinstance(error, Refusal) else TritonError.INTERNAL
            return InferenceResponse(error=TritonError(str(error), code))
        return InferenceResponse([Tensor(name, np.asarray(found[name])) for name in outputs])


@contextmanager
def triton_backend() -> Iterator[Backend]:
    """Modules that import ``triton_python_backend_utils`` can be imported, and are anew."""
    backend = Backend()

    class InferenceRequest:
        def __init__(
            self, *, model_name: str, model_version: int, requested_output_names: list[str],
            inputs: Sequence[Tensor], preferred_memory: object, request_id: str = "",
        ) -> None:  # fmt: skip
            assert preferred_memory == ("memory", "cpu", 0)
            tensors = {tensor.name(): tensor.as_numpy() for tensor in inputs}
            self._asked = model_name, model_version, tensors, requested_output_names
            self._name = request_id

        def exec(self) -> Any:
            backend.names.append(self._name)
            return backend.answer(*self._asked)

    class MetricFamily:
        COUNTER, GAUGE = 1, 2

        def __init__(self, *, name: str, description: str, kind: int) -> None:
            assert description
            gauges = ("tritonrec_trend_time", "tritonrec_rules_broken")
            assert kind == (self.GAUGE if name in gauges else self.COUNTER)
            self._name = name

        def Metric(self, *, labels: Mapping[str, str]) -> Any:  # noqa: N802
            assert labels.keys() == {"model", "version"}
            return SimpleNamespace(increment=lambda by: backend.counted.update({self._name: by}))

    module = ModuleType("triton_python_backend_utils")
    vars(module).update(
        Tensor=Tensor,
        TritonError=TritonError,
        InferenceResponse=InferenceResponse,
        InferenceRequest=InferenceRequest,
        MetricFamily=MetricFamily,
        PreferredMemory=lambda kind, number: ("memory", kind, number),
        TRITONSERVER_MEMORY_CPU="cpu",
        TRITONSERVER_RESPONSE_COMPLETE_FINAL="final",
        Logger=SimpleNamespace(log_warn=backend.warnings.append, log_error=backend.errors.append),
        get_output_tensor_by_name=lambda response, name: Tensor(name, response.tensors[name]),
    )
    _forget()
    sys.modules["triton_python_backend_utils"] = module
    try:
        yield backend
    finally:
        _forget()


def _forget() -> None:
    for name in _IMPORTERS:
        sys.modules.pop(f"model_repository.{name}", None)
    sys.modules.pop("triton_python_backend_utils", None)
