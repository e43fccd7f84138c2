"""The networks as ONNX: any number of rows, of any length; padding counts for nothing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.export.layout import Layout
from builder.export.sequence_packing import packed_graph
from builder.model.recommender import Recommender
from model_repository.core import contract
from model_repository.core.contract import ENCODER, PACKED_ENCODER, USER_ENCODER, ModelSpec
from model_repository.core.users import NO_AGE
from model_repository.engines.onnx import OnnxEngine
from model_repository.engines.packed_encoder import pack
from model_repository.engines.tokenizer import pad
from tests.graph_cache import ExportOnnx
from tests.unit.builder.model.tiny import ITEMS, SHAPE

WORDS = st.lists(st.integers(1, SHAPE["vocab_size"] - 1), min_size=1, max_size=10)
ROWS = st.lists(WORDS, min_size=1, max_size=6)
DAY = 86_400
EVENTS = st.tuples(
    st.integers(0, ITEMS - 1),
    st.integers(0, 2),
    st.sampled_from([NO_AGE, 0, 1, 59, 3 * DAY, 400 * DAY, 2**62]),
)
HISTORIES = st.lists(st.lists(EVENTS, max_size=6), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def encoder(onnx_files: dict[ModelSpec, Path]) -> OnnxEngine:
    return OnnxEngine(onnx_files[ENCODER], 1)


@pytest.fixture(scope="module")
def user_encoder(onnx_files: dict[ModelSpec, Path]) -> OnnxEngine:
    return OnnxEngine(onnx_files[USER_ENCODER], 1)


@pytest.fixture(scope="module")
def packed(
    model: Recommender,
    layout: Layout,
    graphs_exported_once: ExportOnnx,
    tmp_path_factory: pytest.TempPathFactory,
) -> OnnxEngine:
    graph = packed_graph(model.encoder, [[2, 5, 3], [2, 5, 6, 3], [2, 3]])
    assert graph is not None
    file = tmp_path_factory.mktemp("packed") / "model.onnx"
    graphs_exported_once(graph, PACKED_ENCODER, layout.sizes, file)
    return OnnxEngine(file, 1)


@torch.no_grad()
def vectors_of(model: Recommender, rows: list[list[int]]) -> NDArray[np.float32]:
    """FP32 [R, h], each text alone and without padding."""
    return torch.cat([model.encoder(torch.tensor([row])) for row in rows]).numpy()


@settings(max_examples=40)
@given(rows=ROWS, padding=st.integers(0, 6))
def test_a_text_has_one_vector_however_far_it_is_padded(
    model: Recommender, encoder: OnnxEngine, rows: list[list[int]], padding: int
) -> None:
    ids = pad(rows, model.encoder.pad_id, max(map(len, rows)) + padding)
    found = encoder.run({"INPUT_IDS": ids})["VECTOR"]
    np.testing.assert_allclose(found, vectors_of(model, rows), rtol=1e-3, atol=1e-4)


@settings(max_examples=40)
@given(rows=ROWS)
def test_texts_back_to_back_do_not_see_one_another(
    model: Recommender, packed: OnnxEngine, rows: list[list[int]]
) -> None:
    found = packed.run(pack(rows))["VECTOR"]
    np.testing.assert_allclose(found, vectors_of(model, rows), rtol=1e-3, atol=1e-4)


def gaps(since: list[int]) -> list[int]:
    """Of a history alone: 1 + floor(log2(1 + seconds)) from one event to the next, 0: not known."""
    known = [
        0 if NO_AGE in (before, after) else min(31, (max(0, before - after) + 1).bit_length())
        for before, after in pairwise(since)
    ]
    return [0, *known][: len(since)]


@settings(max_examples=60)
@given(histories=HISTORIES, padding=st.integers(0, 2), noise=st.integers(0, 2**32 - 1))
def test_a_user_has_one_state_whoever_is_beside(
    model: Recommender,
    user_encoder: OnnxEngine,
    histories: list[list[tuple[int, int, int]]],
    padding: int,
    noise: int,
) -> None:
    """Whatever lies behind the events of a user. An empty history is padded to one event."""
    items = model.item_vectors()[0].numpy()
    length = min(6, max(1, *map(len, histories), 0) + padding)
    shape = (len(histories), length)
    random = np.random.default_rng(noise)
    batch = {
        contract.EVENT.name: random.normal(size=(*shape, items.shape[1])).astype(np.float32) * 100,
        contract.EVENT_ACTION.name: random.integers(0, 3, shape, np.int32),
        contract.EVENT_AGE.name: random.integers(-1, 2**40, shape, np.int64),
        contract.EVENT_COUNT.name: np.array([[len(history)] for history in histories], np.int32),
    }
    expected = []
    for row, history in enumerate(histories):
        slots, actions, since = ([event[part] for event in history] for part in range(3))
        batch[contract.EVENT.name][row, : len(history)] = items[slots]
        batch[contract.EVENT_ACTION.name][row, : len(history)] = actions
        batch[contract.EVENT_AGE.name][row, : len(history)] = since
        alone = (torch.tensor([each], dtype=torch.int64) for each in (actions, gaps(since)))
        with torch.no_grad():
            events = torch.from_numpy(items[slots]).reshape(1, -1, items.shape[1])
            expected.append(model.adapter.states(events, *alone)[0, -1].numpy())
    found = user_encoder.run(batch)[contract.STATE.name]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-3, atol=1e-4)


def test_actions_and_ages_are_seen(model: Recommender, user_encoder: OnnxEngine) -> None:
    items = model.item_vectors()[0].numpy()

    def state(actions: list[int], since: list[int]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = user_encoder.run(
            {
                contract.EVENT.name: items[[[1, 2]]],
                contract.EVENT_ACTION.name: np.array([actions], np.int32),
                contract.EVENT_AGE.name: np.array([since], np.int64),
                contract.EVENT_COUNT.name: np.array([[2]], np.int32),
            }
        )[contract.STATE.name][0]
        return found

    plain = state([0, 0], [NO_AGE, NO_AGE])
    for other in (state([1, 0], [NO_AGE, NO_AGE]), state([0, 0], [60, 0])):
        assert np.abs(other - plain).max() > 0.01
    # The age of an event beside one whose age is not known says nothing.
    np.testing.assert_allclose(state([0, 0], [60, NO_AGE]), plain, rtol=1e-5, atol=1e-6)
