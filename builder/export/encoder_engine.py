"""Chooses the engine of BERT in the fused layout, and writes it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.errors import ExportError
from builder.export.graph_files import copy_graph
from builder.export.options import ENGINES, FusedOptions, Precision
from builder.export.quantise import quantise
from builder.export.sequence_packing import unpadded
from builder.export.serving_code import write_json
from model_repository.core.contract import INPUT_IDS, VECTOR
from model_repository.engines.packed_encoder import PackedEncoder, pack
from model_repository.engines.settings import SETTINGS, read_settings
from model_repository.engines.tokenizer import Rows, pad

GRAPH: Final = "model.onnx"
_EXTRA: Final = {"onnxruntime": "embedded", "openvino": "embedded,openvino"}
_SAMPLE: Final = 128
_CALIBRATION: Final = 256
_TOGETHER: Final = 8
_ROUNDS: Final = 3

REDUCED_BOUNDS: Final[Mapping[Precision, float]] = {
    # Largest differences found with MiniLM on MovieLens: 0.06, and 1.2 on texts that make no sense.
    # They only keep out what is broken; what rounding costs a user is held by the text gate.
    "bf16": 0.25,
    "int8": 3.0,
}


@dataclass(frozen=True)
class EncoderEngine:
    """What was chosen.

    Attributes
    ----------
    packed
        Whether texts lie back to back in a run, and are not padded.
    lone_parallel
        Whether a run that is alone takes all cores; beside others a run takes one.
    texts_per_second
        Of each engine that was tried, 128 texts at a time; empty where there was no choice.
    """

    engine: str
    precision: Precision
    packed: bool
    lone_parallel: bool
    texts_per_second: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_encoder(
    onnx_file: Path,
    directory: Path,
    settings: Mapping[str, Any],
    rows: Rows,
    wanted: FusedOptions,
) -> EncoderEngine:
    """Write ``model.onnx`` and ``settings.json``, with which `PackedEncoder` runs the graph.

    Parameters
    ----------
    settings
        What else belongs into ``settings.json``; ``packed`` says what the graph takes.
    rows
        Token ids of typical texts, on which engines are compared.

    Raises
    ------
    ExportError
        The engine that was asked for is not installed, or cannot do that here.
    """
    candidates = _candidates(wanted)
    if wanted.precision == "int8":
        quantise(
            onnx_file,
            directory / GRAPH,
            _runs(rows, settings),
            vnni=bool(_processor() & {"avx512_vnni", "avx_vnni", "amx_int8"}),
        )
    else:
        copy_graph(onnx_file, directory / GRAPH)

    # One text at a time gains by a second thread in FP32, with MiniLM a quarter; INT8 loses by it.
    lone_parallel = wanted.precision != "int8"

    def write(engine: str) -> None:
        chosen = {
            "engine": engine,
            "precision": wanted.precision,
            "lone_parallel": lone_parallel,
        }
        write_json(directory / SETTINGS, {**settings, **chosen})

    speeds: dict[str, float] = {}
    if len(candidates) > 1:
        for engine in candidates:
            write(engine)
            speeds[engine] = round(_speed(PackedEncoder(directory), rows[:_SAMPLE]), 1)
    engine = max(speeds, key=speeds.__getitem__) if speeds else candidates[0]
    write(engine)
    return EncoderEngine(engine, wanted.precision, settings["packed"], lone_parallel, speeds)


def encode_rows(directory: Path, rows: Rows) -> NDArray[np.float32]:
    """Vectors FP32 [R, h] of rows of token ids, with what `write_encoder` wrote."""
    encode = PackedEncoder(directory)
    starts = range(0, len(rows), _SAMPLE)
    return np.concatenate([encode(rows[start : start + _SAMPLE]) for start in starts])


class PaddedEncoder:
    """The encoder of the contract, INPUT_IDS [R, L] → VECTOR [R, h], by rows without padding."""

    def __init__(self, directory: Path) -> None:
        settings = read_settings(directory)
        self._pad_id: int = settings["pad_id"]
        self._encode = PackedEncoder(directory)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {VECTOR.name: self._encode(unpadded(inputs[INPUT_IDS.name], self._pad_id))}


def _candidates(wanted: FusedOptions) -> list[str]:
    possible = {
        "fp32": ["onnxruntime", "openvino"],
        "bf16": ["openvino"],
        "int8": ["onnxruntime"],
    }[wanted.precision]
    if wanted.engine != "auto":
        possible = [wanted.engine]
    present = [name for name in ENGINES if name in possible and importlib.util.find_spec(name)]
    if not present:
        raise ExportError(
            f"what runs BERT in {wanted.precision} is the package {possible[0]}, which is missing: "
            f"pip install 'tritonrec[{_EXTRA[possible[0]]}]'"
        )
    if wanted.precision == "bf16" and not _processor() & {"avx512_bf16", "amx_bf16"}:
        raise ExportError(
            "--precision bf16: this processor has no instructions for it (avx512_bf16, amx_bf16); "
            "use fp32 or int8"
        )
    return present


def _runs(rows: Rows, settings: Mapping[str, Any]) -> Iterator[dict[str, NDArray[Any]]]:
    """A sample of the texts, as inputs of the graph."""
    chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, _CALIBRATION).astype(int)]
    for start in range(0, len(chosen), _TOGETHER):
        part = chosen[start : start + _TOGETHER]
        yield (
            pack(part) if settings["packed"] else {INPUT_IDS.name: pad(part, settings["pad_id"])}
        )


def _speed(encode: PackedEncoder, rows: Rows) -> float:
    """Texts per second, the best of some rounds: other work on the machine only slows down."""
    encode(rows)  # the first run of a shape allocates and compiles
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        encode(rows)
        best = min(best, time.perf_counter() - started)
    return len(rows) / best


def _processor() -> set[str]:
    """What the processor can do, as Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
