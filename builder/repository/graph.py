"""Checks that a set of configurations fits together, before any of it is written.

Triton finds the same faults one at a time, when the server starts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelEnsembling

from builder.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One end of an ensemble tensor, with the batch dimension written out."""

    owner: str
    name: str
    data_type: int
    shape: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        shape = ", ".join(str(axis) for axis in self.shape)
        return f"{self.owner}.{self.name} {DataType.Name(self.data_type)}[{shape}]"

    def fits(self, other: _Tensor) -> bool:
        """Whether types and ranks agree, and every axis that both fix; Triton's own rule."""
        return (
            self.data_type == other.data_type
            and len(self.shape) == len(other.shape)
            and all(
                mine == theirs or -1 in (mine, theirs)
                for mine, theirs in zip(self.shape, other.shape, strict=True)
            )
        )


def check_graph(configs: Iterable[ModelConfig]) -> None:
    """Check every ensemble against its steps.

    Steps and versions exist; mapped tensors exist, with one producer each and agreeing types and
    shapes; required inputs are mapped, and not from an input that may be left out; every ensemble
    input is read and every output produced; no steps wait for one another.

    Raises
    ------
    RepositoryError
        Every problem found, one per line.
    """
    models = list(configs)
    by_name = {config.name: config for config in models}
    problems = [
        f"model {name!r}: configured {count} times"
        for name, count in Counter(config.name for config in models).items()
        if count > 1
    ]
    for config in models:
        if config.HasField("ensemble_scheduling"):
            problems += [
                f"ensemble {config.name!r}: {problem}" for problem in _faults(config, by_name)
            ]
    if problems:
        raise RepositoryError("the models do not fit together:\n  " + "\n  ".join(problems))


def _faults(ensemble: ModelConfig, models: Mapping[str, ModelConfig]) -> Iterator[str]:
    producers: defaultdict[str, list[_Tensor]] = defaultdict(list)
    consumers: defaultdict[str, list[_Tensor]] = defaultdict(list)
    for name, tensor in _tensors(ensemble, "input").items():
        producers[name].append(tensor)
    for name, tensor in _tensors(ensemble, "output").items():
        consumers[name].append(tensor)

    for step in ensemble.ensemble_scheduling.step:
        model = models.get(step.model_name)
        if model is None:
            yield f"step {step.model_name!r}: no such model"
            continue
        yield from _step_faults(step, model, ensemble)
        outputs, inputs = _tensors(model, "output"), _tensors(model, "input")
        for key, name in step.output_map.items():
            if key in outputs:
                producers[name].append(outputs[key])
        for key, name in step.input_map.items():
            if key in inputs:
                consumers[name].append(inputs[key])

    for name in sorted({*producers, *consumers}):
        yield from _tensor_faults(name, producers[name], consumers[name], ensemble.name)
    yield from _cycle_faults(ensemble)


def _step_faults(
    step: ModelEnsembling.Step, model: ModelConfig, ensemble: ModelConfig
) -> Iterator[str]:
    where = f"step {model.name!r}"
    held = list(model.version_policy.specific.versions)
    if step.model_version not in held:
        yield f"{where}: asks for version {step.model_version}, the model is pinned to {held}"
    if model.max_batch_size < ensemble.max_batch_size:
        yield (
            f"{where}: takes {model.max_batch_size} rows at most, the ensemble offers "
            f"{ensemble.max_batch_size}"
        )
    inputs, outputs = _tensors(model, "input"), _tensors(model, "output")
    for key in sorted(set(step.input_map) - set(inputs)):
        yield f"{where}: has no input {key!r}"
    for key in sorted(set(step.output_map) - set(outputs)):
        yield f"{where}: has no output {key!r}"
    for key, tensor in inputs.items():
        if not tensor.optional and key not in step.input_map:
            yield f"{where}: nothing is mapped to its required input {key!r}"


def _tensor_faults(
    name: str, producers: list[_Tensor], consumers: list[_Tensor], ensemble: str
) -> Iterator[str]:
    if not producers:
        readers = ", ".join(tensor.owner for tensor in consumers)
        yield f"tensor {name!r}: nothing produces it, needed by {readers}"
        return
    if len(producers) > 1:
        owners = ", ".join(tensor.owner for tensor in producers)
        yield f"tensor {name!r}: more than one producer: {owners}"
    source = producers[0]
    if source.owner == ensemble and not consumers:
        yield f"tensor {name!r}: an input that no step reads"
    for tensor in consumers:
        if not source.fits(tensor):
            yield f"tensor {name!r}: {source} does not fit {tensor}"
        if source.optional and not tensor.optional:
            yield f"tensor {name!r}: may be left out of a request, {tensor.owner} requires it"


def _cycle_faults(ensemble: ModelConfig) -> Iterator[str]:
    waiting = list(ensemble.ensemble_scheduling.step)
    produced = {name for step in waiting for name in step.output_map.values()}
    ready = {tensor.name for tensor in ensemble.input}
    while True:
        # Names that no step produces are reported on their own.
        blocked = [step for step in waiting if set(step.input_map.values()) & produced - ready]
        if len(blocked) == len(waiting):
            break
        for step in waiting:
            if step not in blocked:
                ready.update(step.output_map.values())
        waiting = blocked
    if waiting:
        names = ", ".join(step.model_name for step in waiting)
        yield f"steps wait for one another: {names}"


def _tensors(config: ModelConfig, side: str) -> dict[str, _Tensor]:
    batch = (-1,) if config.max_batch_size > 0 else ()
    return {
        tensor.name: _Tensor(
            owner=config.name,
            name=tensor.name,
            data_type=tensor.data_type,
            shape=(*batch, *tensor.dims),
            optional=side == "input" and tensor.optional,
        )
        for tensor in getattr(config, side)
    }
