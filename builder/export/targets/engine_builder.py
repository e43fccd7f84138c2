"""FP16 ONNX graph → TensorRT engine, with `tensorrt` or `tensorrt_rtx`, whichever is handed in.

The two packages share this API, and so do TensorRT 10.16 and 11: only names are used that all of
them have, and an enumeration is never taken for its number (``STRONGLY_TYPED`` changed it in 11).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx

from builder.errors import ExportError
from builder.export.options import TargetOptions
from builder.export.profiles import Profile
from builder.progress import Progress

log = logging.getLogger(__name__)

Module = Any
"""The imported package; it has no types."""

_LAST_ERRORS: Final = 3


def build_engine(
    trt: Module,
    graph: Path,
    profiles: tuple[Profile, ...],
    options: TargetOptions,
    *,
    configure: Callable[[Any], None],
    timing_cache: Path | None,
    progress: Progress,
    task: str,
) -> tuple[Any, float]:
    """Build the serialised engine of `graph`.

    Parameters
    ----------
    configure
        Called with the builder's configuration, for what one of the packages needs alone.
    timing_cache
        Measured kernel times, read before and written after the build; None keeps none.
    task
        Names the build to `progress`.

    Returns
    -------
    The engine, which has the buffer protocol, and the seconds that the builder took.

    Raises
    ------
    ExportError
        The parser or the builder refuses the graph; the message has its reasons, with the nodes.
    """
    errors: list[str] = []
    logger = _logger(trt, errors)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, logger, graph)
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimization_level
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector's report
    # TF32 has FP16's ten bits: what the graph computes in FP32 would not be FP32.
    config.clear_flag(trt.BuilderFlag.TF32)
    for profile in profiles:
        _add_profile(builder, config, profile, graph)
    configure(config)
    if timing_cache is not None:
        _read_timings(config, timing_cache)
    monitor = _monitor(trt, progress, task)
    config.progress_monitor = monitor
    started = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    seconds = time.monotonic() - started
    if monitor.interruption is not None:
        raise monitor.interruption
    if engine is None:
        reasons = "; ".join(errors[-_LAST_ERRORS:]) or "it gives no reason"
        raise ExportError(f"{trt.__name__} cannot build an engine of {graph.stem!r}: {reasons}")
    if timing_cache is not None:
        _write_timings(config, timing_cache)
    return engine, seconds


def _parse(trt: Module, network: Any, logger: Any, graph: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(graph)):
        return
    reasons = [_reason(parser.get_error(at), graph) for at in range(parser.num_errors)]
    raise ExportError(
        f"{trt.__name__} does not accept the graph of {graph.stem!r}:\n  " + "\n  ".join(reasons)
    )


def _reason(error: Any, graph: Path) -> str:
    """A parser's error with the node that it is about.

    Where the parser refuses an attribute, it tells the importing function alone, such as
    ``importScatterElements``: then every node of that operator is named.
    """
    if error.node_name():
        return f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}"
    operator = error.node_operator() or error.func().removeprefix("import")
    nodes = onnx.load(str(graph), load_external_data=False).graph.node
    named = ", ".join(repr(node.name) for node in nodes if node.op_type == operator)
    return f"node {named or 'unknown'} ({operator}): {error.desc()}"


def _add_profile(builder: Any, config: Any, profile: Profile, graph: Path) -> None:
    added = builder.create_optimization_profile()
    for name, bounds in profile.items():
        added.set_shape(name, bounds.smallest, bounds.usual, bounds.largest)
    if config.add_optimization_profile(added) < 0:
        raise ExportError(f"{graph.stem!r}: the optimisation profile {profile} is not valid")


def _read_timings(config: Any, file: Path) -> None:
    """Use what earlier builds measured; a cache of another GPU or version is left out."""
    kept = file.read_bytes() if file.is_file() else b""
    cache = config.create_timing_cache(kept)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        log.warning(
            "%s was measured on another GPU or by another version of TensorRT, and is made anew",
            file,
        )
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timings(config: Any, file: Path) -> None:
    """Keep what this build measured, where that is possible: the engine is worth more."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(bytes(config.get_timing_cache().serialize()))
        partial.replace(file)
    except OSError as error:
        log.warning(
            "kernel times are not kept for later builds: %s; name another --timing-cache", error
        )


def _logger(trt: Module, errors: list[str]) -> Any:
    """A logger of TensorRT's that collects errors: they become the message of an exception."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(message)
                log.debug("%s", message)
            elif severity == trt.ILogger.WARNING:
                log.warning("%s: %s", trt.__name__, message)
            else:
                log.debug("%s", message)

    return Logger()


def _monitor(trt: Module, progress: Progress, task: str) -> Any:
    """TensorRT's progress monitor, told on to `progress`.

    Only the outermost phase counts: the inner ones come and go in an order of their own.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interruption: BaseException | None = None
            self._outermost = ""
            self._steps = 0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._outermost, self._steps = phase, steps

        def step_complete(self, phase: str, step: int) -> bool:
            """False ends the build."""
            if self.interruption is None and phase == self._outermost:
                try:
                    progress(task, step + 1, self._steps)
                except BaseException as error:  # noqa: BLE001 - raised again after the build
                    # An exception must not travel through TensorRT's own frames.
                    self.interruption = error
            return self.interruption is None

        def phase_finish(self, phase: str) -> None:
            pass

    return Monitor()
