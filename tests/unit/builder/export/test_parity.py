"""The parity gate: which engines it lets pass, and what it tells of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.errors import GateError
from builder.export.graphs import EncoderGraph
from builder.export.layout import Layout
from builder.export.parity import (
    FLOAT,
    ParityFigure,
    check_parity,
    in_deviations,
    in_values,
)
from builder.export.parity_inputs import encoder_inputs, user_encoder_inputs
from builder.model.recommender import Recommender
from builder.model.scoring import UserEncoderGraph
from model_repository.core.contract import ENCODER, USER_ENCODER, ModelSpec
from model_repository.engines.engine import Engine
from model_repository.engines.onnx import OnnxEngine


class Faulty:
    """An engine that is wrong in one respect."""

    def __init__(self, engine: Engine, fault: str) -> None:
        self._engine = engine
        self._fault = fault

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        ((name, found),) = self._engine.run(inputs).items()
        found = found.copy()
        if self._fault == "shape":
            return {name: found[:, :-1]}
        if self._fault == "nan":
            found[0, 0] = np.nan
        if self._fault == "rounded":
            found += 2 * FLOAT * found.std()
        if self._fault == "batch" and len(found) > 1:
            found[-1] += 2 * FLOAT * found.std()
        return {name: found}


Check = Callable[[ModelSpec, str], list[ParityFigure]]


@pytest.fixture
def check(model: Recommender, layout: Layout, onnx_files: dict[ModelSpec, Path]) -> Check:
    networks = {
        ENCODER: (EncoderGraph(model.encoder), encoder_inputs),
        USER_ENCODER: (UserEncoderGraph(model.adapter), user_encoder_inputs),
    }

    def checked(spec: ModelSpec, fault: str) -> list[ParityFigure]:
        graph, grid = networks[spec]
        engine = Faulty(OnnxEngine(onnx_files[spec], 1), fault)
        points = list(grid(model, layout))
        return check_parity(engine, graph, spec, points, in_deviations, FLOAT)

    return checked


@pytest.mark.parametrize("spec", [ENCODER, USER_ENCODER], ids=lambda spec: spec.name)
def test_what_an_engine_is_held_to_is_told(check: Check, spec: ModelSpec) -> None:
    output = spec.outputs[0].name
    of_pytorch, of_batches = check(spec, "none")
    assert (of_pytorch.model, of_pytorch.output) == (spec.name, output)
    assert (of_batches.model, of_batches.output) == (spec.name, f"{output} batched")
    for figure in (of_pytorch, of_batches):
        assert figure.cases > 0
        assert 0 <= figure.difference < figure.bound == FLOAT


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"has shape \(1, \d+\), and PyTorch's has"),
        ("nan", "differs from PyTorch by nan"),
        ("rounded", "differs from PyTorch by 2"),
        ("batch", "differs from PyTorch"),
    ],
)
@pytest.mark.parametrize("spec", [ENCODER, USER_ENCODER], ids=lambda spec: spec.name)
def test_a_faulty_engine_is_refused(
    check: Check, spec: ModelSpec, fault: str, message: str
) -> None:
    with pytest.raises(GateError, match=rf"parity: {spec.name}\..*{message}.*nothing was publ"):
        check(spec, fault)


def test_differences_are_told_in_deviations_or_in_values() -> None:
    expected = np.array([1.0, -1.0, 1.0, -1.0])
    found = expected + np.array([0.0, 0.5, -0.25, 0.0])
    assert in_deviations(10.0 * found, 10.0 * expected) == pytest.approx(0.5)
    assert in_values(found, expected) == pytest.approx(0.5)
    assert in_values(10.0 * found, 10.0 * expected) == pytest.approx(0.5)  # beyond 1, of the value
    assert in_values(found / 10, expected / 10) == pytest.approx(0.05)
    assert np.isnan(in_values(np.array([np.nan]), np.array([1.0])))
