"""Libraries called in a process of their own, without a server between.

``python in_process.py KIND MODEL`` loads the model and then answers one JSON line with another:

``{"do": "answer", "arguments": [...]}``
    ``{"values": [...]}``: what the library returns for the one call.
``{"do": "measure", "calls": [[...], ...], "seconds": s}``
    ``{"latencies": [...], "wall": s}``: one call after the other for ``s`` seconds, or until all
    were made. The first comes before the clock starts.

KIND is ``sentence-transformers`` (MODEL: a directory, a call: texts), ``cross-encoder`` (MODEL: a
directory, a call: pairs of texts) or ``engine`` (MODEL: a model repository; a call: texts, for the
tokenizer and encoder that Triton would run).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


def sentence_transformers(directory: str) -> Callable[[list[str]], Any]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(directory, device="cpu")
    return lambda texts: model.encode(texts, batch_size=len(texts), show_progress_bar=False)


def cross_encoder(directory: str) -> Callable[[list[list[str]]], Any]:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(directory, device="cpu")
    return lambda pairs: model.predict(
        [(first, second) for first, second in pairs], batch_size=32, show_progress_bar=False
    )


def engine(repository: str) -> Callable[[list[str]], Any]:
    """What ``encode`` runs, from the files that the repository serves it from."""
    root = Path(repository)
    if list(root.glob("encode/*/model.py")):  # the fused layout: one step
        encode = _step(root / "encode", "encode", "Encode")
        return lambda texts: encode({"TEXT": _column(texts)})["VECTOR"]
    tokenizer = _step(root / "tokenizer", "tokenizer", "load", "tokenizer")
    encoder = _step(root / "encoder", "graph", "load", "encoder")

    def encode_in_steps(texts: list[str]) -> Any:
        tokens = tokenizer({"TEXT": _column(texts)})
        return encoder({"INPUT_IDS": tokens["INPUT_IDS"]})["VECTOR"]

    return encode_in_steps


def _column(texts: list[str]) -> Any:
    import numpy as np

    return np.array([[text.encode()] for text in texts], np.object_)


def _step(model: Path, module: str, function: str, *name: str) -> Callable[[dict[str, Any]], Any]:
    """Load a model's code as Triton's Python backend does, its version being a package."""
    version = max(int(each.name) for each in model.iterdir() if each.name.isdigit())
    directory = model / str(version)
    package = types.ModuleType(f"step_{model.name}")
    package.__path__ = [str(directory)]
    sys.modules[package.__name__] = package
    steps = importlib.import_module(f"{package.__name__}.serving.steps.{module}")
    handler = getattr(steps, function)(directory, *name)
    request = importlib.import_module(f"{package.__name__}.serving.core.batch").Request

    def call(tensors: dict[str, Any]) -> Any:
        (outcome,) = handler([request(tensors)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call


KINDS: dict[str, Callable[[str], Callable[[Any], Any]]] = {
    "sentence-transformers": sentence_transformers,
    "cross-encoder": cross_encoder,
    "engine": engine,
}


def measure(call: Callable[[Any], Any], calls: list[Any], seconds: float) -> dict[str, Any]:
    call(calls[0])
    latencies: list[float] = []
    began = ended = time.perf_counter()
    for arguments in calls[1:]:
        start = time.perf_counter()
        call(arguments)
        now = time.perf_counter()
        if now > began + seconds and latencies:
            break
        latencies.append(now - start)
        ended = now
    return {"latencies": latencies, "wall": ended - began}


def main(kind: str, model: str) -> None:
    # What libraries print must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    call = KINDS[kind](model)
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "answer":
            answer = {"values": call(order["arguments"]).tolist()}
        else:
            answer = measure(call, order["calls"], order["seconds"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
