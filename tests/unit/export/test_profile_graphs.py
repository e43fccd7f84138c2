"""Profiles through the exported graphs: both layouts, FP16, and the configurations around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from builder.data import Holdout
from builder.errors import GateError
from builder.export.graphs import AdapterGraph, RetrieverGraph
from builder.export.half import convert_to_half
from builder.export.layout import Layout
from builder.export.onnx import export_onnx
from builder.export.parity import HALF, Bound, Grid, check_parity
from builder.export.pipeline import Limits, export, recommender_graphs
from builder.export.ranking_gate import check_ranking
from builder.export.targets import TargetOptions
from builder.export.targets.embedded import Embedded
from builder.export.targets.onnxruntime import OnnxRuntime
from builder.export.targets.tensorrt import TensorRT, TensorRTRTX
from builder.model.checkpoint import save_checkpoint
from builder.model.interest import InterestAdapter
from builder.model.recommender import Recommender
from builder.repository import check_graph, ensemble_config, step_config
from model_repository.core import contract
from model_repository.core.batch import Handler, Request
from model_repository.engines.onnx import OnnxEngine
from model_repository.core.errors import InvalidRequest
from model_repository.graph import Graph
from model_repository.interest import History, InterestModel
from model_repository.interest_requests import EncodedTexts, RankRequests, RecommendRequests
from model_repository.core.items import NO_NEW_ITEMS
from model_repository.policy import Policy
from model_repository.request_tokenizer import RequestTokenizer
from model_repository.slots import EXCLUDED_LOGIT
from model_repository.text_encoder import EncodeRequests
from tests.new_text import logit_of_text
from tests.unit.model.tiny import ITEM_PROFILE, ITEMS, PROFILE, recommender, sequences
from tests.unit.steps.conftest import plain, user

VALIDATION = Holdout(
    replace(
        sequences([0, 1], [3, 4, 5], [2]),
        profiles=np.array([[1, 2], [0, 0], [3, 1]], np.int32),
    ),
    np.array([2, 6, 7], np.int32),
)
LIMITS = Limits(max_top_k=ITEMS, max_rows=4)


@pytest.fixture(scope="module")
def profiled(backbone: Path) -> Recommender:
    model = recommender(backbone, profile=PROFILE, item_profile=ITEM_PROFILE)
    return replace(model, met=np.arange(ITEMS) % 4 > 0, cold_limit=3)


@pytest.fixture(scope="module")
def bounded(profiled: Recommender) -> Layout:
    return Layout.of(profiled, max_top_k=5, max_rows=4, max_users=2, bounded=True)


@pytest.fixture(scope="module")
def repositories(
    profiled: Recommender, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("profiled")
    save_checkpoint(root / "checkpoint", profiled, VALIDATION, config={}, metrics={})
    tokenizer = (backbone / "tokenizer.json").read_bytes()
    (root / "checkpoint/encoder/tokenizer.json").write_bytes(tokenizer)
    for layout in ("fused", "ensemble"):
        target = Embedded(TargetOptions(layout=layout))  # type: ignore[arg-type]
        exported = export(root / "checkpoint", root / layout, target, LIMITS)
        assert exported.ranking.users == 3
    return {layout: root / layout for layout in ("fused", "ensemble")}


def nothing_to_encode(texts: Sequence[str]) -> EncodedTexts:
    raise AssertionError(texts)


def users(model: str, number: int) -> list[Request]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(number):
        told = {
            name: value
            for name, value in (
                ("age", int(random.integers(10, 50))),
                ("gender", str(random.choice(["F", "M", "x"]))),
            )
            if random.random() < 0.7
        }
        columns = {} if random.random() < 0.2 else {"profile": [json.dumps(told)]}
        history = [f"i{item}" for item in random.integers(0, ITEMS, random.integers(0, 9))]
        if model == "rank":
            columns["candidate"] = [f"i{item}" for item in range(ITEMS)]
        found.append(user(history, **columns))
    return found


def checkpoint_logits(model: Recommender, request: Request, asked: str) -> np.ndarray:
    """FP32 [n], by the checkpoint itself."""
    history = [int(item[1:]) for item in request.tensors["HISTORY"][0]]
    profile = np.zeros((1, 2), np.int32)
    if "PROFILE" in request.tensors:
        told = json.loads(request.tensors["PROFILE"][0][0])
        if "age" in told:
            profile[0, 0] = 1 + (told["age"] >= 20) + (told["age"] >= 30)
        profile[0, 1] = {"F": 1, "M": 2}.get(told.get("gender"), 0)
    scorer = model.scorer()
    histories = replace(sequences(history), profiles=profile)
    return (scorer.logits if asked == "rank" else scorer.scores)(histories)[0]


@pytest.mark.parametrize("asked", ["rank", "recommend"])
def test_both_layouts_score_as_the_checkpoint_does(
    profiled: Recommender, repositories: dict[str, Path], asked: str
) -> None:
    requests = users(asked, 40)
    ensemble = steps_of(repositories["ensemble"])
    kind = RankRequests if asked == "rank" else RecommendRequests
    fused = kind(repositories["fused"] / asked / "1", nothing_to_encode)
    together = fused(requests)
    for request, answer in zip(requests, together, strict=True):
        assert not isinstance(answer, Exception)
        logits = checkpoint_logits(profiled, request, asked)
        if asked == "recommend":
            items = [int(item[1:]) for item in answer["ITEM"][0]]
            logits = logits[items]
        np.testing.assert_allclose(answer["LOGIT"][0], logits, rtol=1e-4, atol=1e-4)
        (alone,) = fused([request])
        stepwise = ensemble(asked, request)
        for other in (alone, stepwise):
            assert not isinstance(other, Exception)
            np.testing.assert_allclose(other["LOGIT"], answer["LOGIT"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [1, 2, 5, ITEMS])
def test_a_list_is_the_checkpoints_however_long(
    profiled: Recommender, repositories: dict[str, Path], wanted: int
) -> None:
    """Shorter than the place of the cold items too, where one may come by itself."""
    served = InterestModel(repositories["fused"] / "recommend/1")
    profile = np.zeros((1, 2), np.int32)
    random = np.random.default_rng(0)
    for _ in range(40):
        items = random.integers(0, ITEMS, random.integers(0, 7)).astype(np.int32)
        history = History(items, np.zeros_like(items), np.zeros_like(items))
        states = served.user_states([history], NO_NEW_ITEMS, profile)
        ((_, found),) = served.best(states, [history], [np.unique(items)], [wanted])
        histories = replace(sequences(items.tolist()), profiles=profile)
        scores = profiled.scorer().scores(histories)[0]
        scores[items] = EXCLUDED_LOGIT
        expected = -np.sort(-scores)[:wanted]
        np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-4)


def steps_of(root: Path):  # type: ignore[no-untyped-def]
    steps: dict[str, Handler] = {
        "tokenizer": RequestTokenizer(root / "tokenizer/1"),
        "policy": Policy(root / "policy/1"),
        **{
            spec.name: Graph(root / spec.name / "1", batched=spec.batched)
            for spec in (contract.ENCODER, contract.ADAPTER, contract.RETRIEVER)
        },
    }

    def ask(model: str, request: Request):  # type: ignore[no-untyped-def]
        (ensemble,) = (each for each in contract.ENSEMBLES if each.model.name == model)
        tensors = dict(request.tensors)
        for step in map(contract.with_profile, ensemble.steps):
            given = {spec.name: tensors[spec.name] for spec in step.inputs if spec.name in tensors}
            (outcome,) = steps[step.name]([Request(given, request.parameters)])
            if isinstance(outcome, Exception):
                return outcome
            tensors |= outcome
        return tensors

    return ask


def test_a_text_of_the_request_is_an_item_without_a_profile(
    profiled: Recommender, repositories: dict[str, Path]
) -> None:
    encode = EncodeRequests(repositories["fused"] / "encode/1")

    def encoded(texts: Sequence[str]) -> EncodedTexts:
        (answer,) = encode([plain(*texts)])
        assert not isinstance(answer, Exception)
        return EncodedTexts(answer["VECTOR"], answer["TRUNCATED"][:, 0])

    request = user(["i1"], candidate=["new", "i2"], candidate_text=["the cats", ""])
    (answer,) = RankRequests(repositories["fused"] / "rank/1", encoded)([request])
    stepwise = steps_of(repositories["ensemble"])("rank", request)
    assert not isinstance(answer, Exception)
    expected = logit_of_text(profiled, "the cats", checkpoint_logits(profiled, request, "rank"))
    for found in (answer, stepwise):
        assert found["LOGIT"][0, 0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_bad_profile_harms_no_other_request(repositories: dict[str, Path]) -> None:
    good = user(["i1"], profile=['{"gender": "F"}'], candidate=["i2"])
    bad = user(["i1"], profile=['{"gendre": "F"}'], candidate=["i2"])
    no_json = user(["i1"], profile=["gender=F"], candidate=["i2"])
    rank = RankRequests(repositories["fused"] / "rank/1", nothing_to_encode)
    first, refused, unread, last = rank([good, bad, no_json, good])
    assert isinstance(refused, InvalidRequest)
    assert "'gendre'" in str(refused)
    assert isinstance(unread, InvalidRequest)
    (alone,) = rank([good])
    for found in (first, last):
        assert not isinstance(found, Exception)
        assert not isinstance(alone, Exception)
        np.testing.assert_allclose(found["LOGIT"], alone["LOGIT"], rtol=1e-5)


def test_the_parity_gate_sees_a_profile_that_is_lost(
    profiled: Recommender, bounded: Layout, tmp_path: Path
) -> None:
    spec = bounded.step(contract.ADAPTER)
    blind = replace(profiled, adapter=without_effect(profiled))
    export_onnx(AdapterGraph(blind), spec, bounded.sizes, tmp_path / "blind.onnx")
    export_onnx(AdapterGraph(profiled), spec, bounded.sizes, tmp_path / "whole.onnx")
    grid, graph = Grid(profiled, bounded), AdapterGraph(profiled)
    check_parity(OnnxEngine(tmp_path / "whole.onnx", 1), graph, spec, grid, Bound())
    with pytest.raises(GateError, match=r"adapter\.INTEREST differs from PyTorch"):
        check_parity(OnnxEngine(tmp_path / "blind.onnx", 1), graph, spec, grid, Bound())


def without_effect(model: Recommender) -> InterestAdapter:
    other = deepcopy(model.adapter)
    with torch.no_grad():
        for table in other.profile:
            table.mul_(1e-6)
    return other


def test_the_ranking_gate_asks_with_profiles(
    profiled: Recommender, bounded: Layout, tmp_path: Path
) -> None:
    graph = RetrieverGraph(profiled, ITEMS)
    layout = replace(bounded, retrieved=ITEMS)
    spec = layout.step(contract.RETRIEVER)
    export_onnx(graph, spec, layout.sizes, tmp_path / "retriever.onnx")
    asked = []

    class Engine:
        def __init__(self) -> None:
            self._engine = OnnxEngine(tmp_path / "retriever.onnx", 1)

        def run(self, inputs):  # type: ignore[no-untyped-def]
            asked.append(inputs["PROFILE_ID"].tolist())
            return self._engine.run(inputs)

    figure = check_ranking(Engine(), profiled, VALIDATION, 1, bound=0.001)
    assert asked == [[[1, 2]], [[0, 0]], [[3, 1]]]
    assert figure.engine == pytest.approx(figure.checkpoint)


def test_fp16_graphs_carry_profiles(profiled: Recommender, bounded: Layout, tmp_path: Path) -> None:
    for spec, graph in recommender_graphs(profiled, bounded, "rows").items():
        if spec.name == contract.ENCODER.name:
            continue
        assert spec.inputs[-1].name == "PROFILE_ID"
        whole, half = tmp_path / f"{spec.name}.onnx", tmp_path / f"{spec.name}_half.onnx"
        export_onnx(graph, spec, bounded.sizes, whole)
        convert_to_half(whole, half)
        onnx.checker.check_model(onnx.load(half), full_check=True)
        check_parity(OnnxEngine(half, 1), graph, spec, Grid(profiled, bounded), HALF)


def test_nvidias_builder_takes_the_graphs(
    profiled: Recommender, bounded: Layout, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    for spec, graph in recommender_graphs(profiled, bounded, "rows").items():
        if spec.name == contract.ENCODER.name:
            continue
        (tmp_path / spec.name).mkdir()
        export_onnx(graph, spec, bounded.sizes, tmp_path / f"{spec.name}.onnx")
        TensorRTRTX().build(tmp_path / f"{spec.name}.onnx", spec, bounded, tmp_path / spec.name)


@pytest.mark.parametrize("target", [TensorRT(), OnnxRuntime()], ids=["tensorrt", "onnxruntime"])
def test_the_configurations_of_other_targets_fit_together(
    target: TensorRT | OnnxRuntime, bounded: Layout
) -> None:
    step, sizes, rows = bounded.step, bounded.sizes, bounded.max_rows
    graphs = map(step, (contract.ENCODER, contract.ADAPTER, contract.RETRIEVER))
    configs = [target.config(spec, bounded, 1) for spec in graphs]
    for spec in map(step, (contract.TOKENIZER, contract.POLICY)):
        batch = rows if spec.batched else 0
        configs.append(
            step_config(spec, backend="python", version=1, sizes=sizes, max_batch_size=batch)
        )
    for ensemble in contract.ENSEMBLES:
        batch = rows if ensemble.model.batched else 0
        steps = tuple(map(step, ensemble.steps))
        configs.append(
            ensemble_config(
                replace(ensemble, steps=steps), version=1, sizes=sizes, max_batch_size=batch
            )
        )
    check_graph(configs)


def test_a_model_without_columns_has_no_such_input(model: Recommender, layout: Layout) -> None:
    specs = recommender_graphs(model, layout, "rows")
    assert list(specs) == [contract.ENCODER, contract.ADAPTER, contract.RETRIEVER]
    assert "P" not in layout.sizes
