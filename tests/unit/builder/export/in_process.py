"""A repository without a server: its models' handlers, which ask one another in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
from numpy.typing import NDArray

from model_repository.core.batch import Handler, Outcome, Request, answer
from model_repository.core.contract import ENCODE_STEPS, RANK_TEXTS_STEPS, EnsembleSpec, ModelSpec
from model_repository.steps import encode, graph, tokenizer, user_models

Tensors = Mapping[str, NDArray[Any]]

LOADERS: Final[Mapping[str, Callable[[Path, str], Handler]]] = {
    "rank": user_models.load,
    "recommend": user_models.load,
    "adapter": user_models.load_adapter,
    "encode": encode.load,
    "tokenizer": tokenizer.load,
    "encoder": graph.load,
    "user_encoder": graph.load,
}
ENSEMBLES: Final = {each.model.name: each for each in (ENCODE_STEPS, RANK_TEXTS_STEPS)}

_TRITON: Final = "triton_python_backend_utils"
_CALLS: Final = "model_repository.engines.triton"
_METRICS: Final = "model_repository.steps.server_metrics"


class Server:
    """The active version of a repository.

    Attributes
    ----------
    asked
        What its models asked of one another.
    refuse
        Called with what a model is asked; may raise.
    """

    def __init__(self, repository: Path, version: int = 1) -> None:
        self._repository = repository
        self._version = str(version)
        self._handlers: dict[str, Handler] = {}
        self.asked: list[tuple[str, Tensors]] = []
        self.refuse: Callable[[str, Tensors], None] = lambda _model, _inputs: None

    def directory(self, model: str) -> Path:
        return self._repository / model / self._version

    def __call__(self, model: str, *requests: Request) -> list[Outcome]:
        """The answers to requests that come to a model together."""
        if (self.directory(model) / "model.py").is_file():
            return answer(self._handler(model), requests)
        return [self._through(ENSEMBLES[model], request) for request in requests]

    def tensors(self, model: str, request: Request) -> Tensors:
        """The answer to one request, which must be none but an answer."""
        (outcome,) = self(model, request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rows(self, model: str) -> list[int]:
        """The rows of each call that models made of `model`."""
        return [len(next(iter(sent.values()))) for name, sent in self.asked if name == model]

    def _through(self, ensemble: EnsembleSpec, request: Request) -> Outcome:
        tensors = dict(request.tensors)
        for step in ensemble.steps:
            given = {spec.name: tensors[spec.name] for spec in step.inputs if spec.name in tensors}
            (outcome,) = self(step.name, Request(given, request.parameters))
            if isinstance(outcome, Exception):
                return outcome
            tensors |= {
                spec.name: outcome[spec.name] for spec in step.outputs if spec.name in outcome
            }
        return {spec.name: tensors[spec.name] for spec in ensemble.model.outputs}

    def _handler(self, model: str) -> Handler:
        if model not in self._handlers:
            with _calls_through(self._model):
                self._handlers[model] = LOADERS[model](self.directory(model), model)
        return self._handlers[model]

    def _model(self, spec: ModelSpec, version: int) -> _Asked:
        assert version == int(self._version)
        return _Asked(self, spec)

    def ask(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[Any]]:
        assert inputs.keys() == {tensor.name for tensor in spec.inputs}
        self.asked.append((spec.name, inputs))
        self.refuse(spec.name, inputs)
        answered = self.tensors(spec.name, Request(inputs))
        return {tensor.name: answered[tensor.name] for tensor in spec.outputs}


class _Asked:
    """Stands for `model_repository.engines.triton.TritonModel`."""

    def __init__(self, server: Server, spec: ModelSpec) -> None:
        self._server = server
        self._spec = spec

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return self._server.ask(self._spec, inputs)


@contextmanager
def _calls_through(model: Callable[[ModelSpec, int], _Asked]) -> Iterator[None]:
    """Gives models that are loaded meanwhile `model` for ``TritonModel``, and counters to nobody.

    The modules with them import what only Triton has; other tests find none of this.
    """
    known = _CALLS in sys.modules
    metrics = ModuleType(_METRICS)
    vars(metrics)["Counters"] = lambda *_: SimpleNamespace(increment=lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, _METRICS, metrics)
        if not known:
            patch.setitem(sys.modules, _TRITON, ModuleType(_TRITON))
        calls = import_module(_CALLS)
        patch.setattr(calls, "TritonModel", model)
        patch.setattr(calls, "_USER_PATIENCE", 60.0)  # a busy machine is not what is tested
        yield
    if not known:
        del sys.modules[_CALLS]
