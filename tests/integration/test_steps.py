"""The steps inside the real server, each request of a batch standing for itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpc
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from builder.serving import TritonServer
from client import _contract as contract
from client._contract import EnsembleSpec, ModelSpec, TensorSpec
from model_repository.steps import install_step

CATALOGUE = 30
MAX_TOP_K = 20
# A batch leaves as soon as it is full, and every test fills it, so the delay is never waited for.
BATCH = 4
DELAY_MICROSECONDS = 20_000_000
TIMEOUT = 60

VOCABULARY = {
    word: index
    for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "toy", "story", "bomb"])
}
BOMB = VOCABULARY["bomb"]

# The value of item i is i, that of a text the sum of its tokens. "bomb" is a token that the
# encoder has no entry for, which makes its run fail.
ENCODER = f"""<ir_version: 10, opset_import: ["": 20]>
encoder (int32[R, L] INPUT_IDS) => (float[R, h] VECTOR)
<float[{BOMB}] table = {{{", ".join(map(str, range(BOMB)))}}}, int64[1] last = {{1}}> {{
    values = Gather <axis = 0> (table, INPUT_IDS)
    VECTOR = ReduceSum <keepdims = 1> (values, last)
}}"""

CATALOGUE_VALUES = f"""float[{CATALOGUE}] catalogue = {{{", ".join(map(str, range(CATALOGUE)))}}}"""

STATE = """float[R, h] VECTOR, int32[one, H] HISTORY_SLOT, int32[one, H] HISTORY_ACTION_ID,
           int32[one, H] HISTORY_GAP"""

# The history adds the sum of its actions and gaps to every logit: new users get plain values.
HISTORY = """
    events = Add (HISTORY_ACTION_ID, HISTORY_GAP)
    event_values = Cast <to = 1> (events)
    history = ReduceSum <keepdims = 0> (event_values)
"""

ADAPTER = f"""<ir_version: 10, opset_import: ["": 20]>
adapter ({STATE}, int32[one, N] CANDIDATE_SLOT) => (float[one, N] INTEREST, float[one, N] LOGIT)
<{CATALOGUE_VALUES}, int32 zero = {{0}}, int32 last = {{{CATALOGUE - 1}}},
 int32 no_item = {{-2147483648}}, float nothing = {{0}}, int64 first = {{0}}> {{{HISTORY}
    texts = Gather <axis = 1> (VECTOR, first)
    table = Concat <axis = 0> (catalogue, texts)
    known = GreaterOrEqual (CANDIDATE_SLOT, zero)
    row = Sub (last, CANDIDATE_SLOT)
    position = Where (known, CANDIDATE_SLOT, row)
    missing = Equal (CANDIDATE_SLOT, no_item)
    safe = Where (missing, zero, position)
    value = Gather <axis = 0> (table, safe)
    sum = Add (value, history)
    nan = Div (nothing, nothing)
    LOGIT = Where (missing, nan, sum)
    INTEREST = Sigmoid (LOGIT)
}}"""

RETRIEVER = f"""<ir_version: 10, opset_import: ["": 20]>
retriever ({STATE}, int32[one, E] EXCLUDE_SLOT)
=> (int32[one, M] INDEX, float[one, M] INDEX_INTEREST, float[one, M] INDEX_LOGIT)
<{CATALOGUE_VALUES}, int64[1] length = {{{MAX_TOP_K}}}, float excluded = {{-10000}},
 int64[1] row = {{0}}> {{{HISTORY}
    values = Add (catalogue, history)
    logits = Unsqueeze (values, row)
    shape = Shape (EXCLUDE_SLOT)
    updates = Expand (excluded, shape)
    masked = ScatterElements <axis = 1> (logits, EXCLUDE_SLOT, updates)
    INDEX_LOGIT, best = TopK <axis = 1> (masked, length)
    INDEX = Cast <to = 6> (best)
    INDEX_INTEREST = Sigmoid (INDEX_LOGIT)
}}"""


def tensors_config(kind: str, specs: Sequence[TensorSpec], *, batched: bool, ragged: bool) -> str:
    def one(spec: TensorSpec) -> str:
        axes = spec.dims[1:] if batched else spec.dims
        dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in axes)
        dtype = "STRING" if spec.dtype == "BYTES" else spec.dtype
        flags = "optional: true " * spec.optional + "allow_ragged_batch: true " * ragged
        return f'{{ name: "{spec.name}" data_type: TYPE_{dtype} dims: [{dims}] {flags}}}'

    return f"{kind} [ {', '.join(map(one, specs))} ]\n"


def step_config(step: ModelSpec) -> str:
    tokenizer = step is contract.TOKENIZER
    delay = DELAY_MICROSECONDS if tokenizer else 0
    return (
        f'name: "{step.name}"\nbackend: "python"\n'
        f"max_batch_size: {BATCH if step.batched else 0}\n"
        + tensors_config("input", step.inputs, batched=step.batched, ragged=tokenizer)
        + tensors_config("output", step.outputs, batched=step.batched, ragged=False)
        + f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}\n" * step.batched
        + "instance_group [ { kind: KIND_CPU } ]\n"
    )


def ensemble_config(ensemble: EnsembleSpec) -> str:
    model = ensemble.model
    available = {spec.name for spec in model.inputs}
    steps = []
    for step in ensemble.steps:
        maps = [("input", spec.name) for spec in step.inputs if spec.name in available]
        maps += [("output", spec.name) for spec in step.outputs if used(ensemble, step, spec)]
        available |= {spec.name for spec in step.outputs}
        lines = (f'{kind}_map {{ key: "{name}" value: "{name}" }}' for kind, name in maps)
        steps.append(f'{{ model_name: "{step.name}" model_version: -1 {" ".join(lines)} }}')
    return (
        f'name: "{model.name}"\nplatform: "ensemble"\n'
        f"max_batch_size: {BATCH if model.batched else 0}\n"
        + tensors_config("input", model.inputs, batched=model.batched, ragged=False)
        + tensors_config("output", model.outputs, batched=model.batched, ragged=False)
        + f"ensemble_scheduling {{ step [ {', '.join(steps)} ] }}\n"
    )


def used(ensemble: EnsembleSpec, step: ModelSpec, tensor: TensorSpec) -> bool:
    later = ensemble.steps[ensemble.steps.index(step) + 1 :]
    readers = [ensemble.model.outputs, *(other.inputs for other in later)]
    return any(tensor.name == spec.name for specs in readers for spec in specs)


def save_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    settings: dict[str, dict[str, object]] = {
        "tokenizer": {
            "max_rows": BATCH,
            "length_buckets": [8, 16],
            "pad_id": 0,
            "max_history": 50,
            "actions": ["view", "buy"],
            "max_top_k": MAX_TOP_K,
        },
        "policy": {"max_top_k": MAX_TOP_K},
    }
    for step in contract.STEPS:
        version = root / step.name / "1"
        install_step(step.name, version)
        (root / step.name / "config.pbtxt").write_text(step_config(step))
        (version / "settings.json").write_text(json.dumps(settings.get(step.name, {"threads": 1})))
    for name, graph in (("encoder", ENCODER), ("adapter", ADAPTER), ("retriever", RETRIEVER)):
        onnx.save(onnx.parser.parse_model(graph), root / name / "1" / "model.onnx")
    save_tokenizer(root / "tokenizer" / "1" / "tokenizer.json")
    for name in ("tokenizer", "policy"):
        items = json.dumps([f"i{index}" for index in range(CATALOGUE)])
        (root / name / "1" / "items.json").write_text(items)
    for ensemble in contract.ENSEMBLES:
        (root / ensemble.model.name / "1").mkdir(parents=True)
        (root / ensemble.model.name / "config.pbtxt").write_text(ensemble_config(ensemble))
    return root


@pytest.fixture(scope="module")
def triton(repository: Path) -> Iterator[grpc.InferenceServerClient]:
    with (
        TritonServer(repository, grpc_port=0) as server,
        grpc.InferenceServerClient(server.grpc_address) as client,
    ):
        yield client


Answer = dict[str, NDArray[Any]]


def send(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: Mapping[str, NDArray[Any]],
    parameters: Mapping[str, object],
) -> Future[Answer]:
    answer: Future[Answer] = Future()

    def done(result: Any, error: Exception | None) -> None:
        if error is not None:
            answer.set_exception(error)
        else:
            names = [output.name for output in result.get_response().outputs]
            answer.set_result({name: result.as_numpy(name) for name in names})

    inputs = []
    for name, values in tensors.items():
        dtype = {"O": "BYTES", "i": "INT64", "f": "FP32"}[values.dtype.kind]
        inputs.append(grpc.InferInput(name, values.shape, dtype))
        inputs[-1].set_data_from_numpy(values)
    triton.async_infer(model, inputs, done, parameters=dict(parameters), client_timeout=TIMEOUT)
    return answer


def strings(*values: str | bytes) -> NDArray[Any]:
    row = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array([row], np.object_).reshape(1, len(row))


# Triton batches requests that send the same inputs, so good and bad ones send all.
RANK = {
    "HISTORY": strings("i1", "x"),
    "HISTORY_TEXT": strings("", "toy"),
    "HISTORY_ACTION": strings("buy", "view"),
    "HISTORY_TIME": np.array([[100, 101]], np.int64),
    "CANDIDATE": strings("i7", "y", "i2"),
    "CANDIDATE_TEXT": strings("", "toy story", ""),
}
HISTORY_SUM = 2 + 1 + 2  # actions buy and view, a gap of one second
RANK_LOGIT = [[7 + HISTORY_SUM, 2 + 4 + 5 + 3 + HISTORY_SUM, 2 + HISTORY_SUM]]
RECOMMEND = {
    "HISTORY": strings("i29", "x"),
    "EXCLUDE": strings("i28", "never heard of"),
}
GOOD = {"rank": (RANK, {}), "recommend": (RECOMMEND, {"top_k": 3})}

NEW_USER = {
    "HISTORY": strings(),
    "HISTORY_TEXT": strings(),
    "HISTORY_ACTION": strings(),
    "HISTORY_TIME": np.zeros((1, 0), np.int64),
}


def check_good(model: str, answer: Answer) -> None:
    if model == "rank":
        np.testing.assert_array_equal(answer["LOGIT"], RANK_LOGIT)
        interest = 1 / (1 + np.exp(-answer["LOGIT"]))
        np.testing.assert_allclose(answer["INTEREST"], interest, rtol=1e-5)
        assert answer["SKIPPED"].tolist() == [[0]]
        assert answer["TRUNCATED"].tolist() == [[0]]
    else:
        assert answer["ITEM"].tolist() == [[b"i27", b"i26", b"i25"]]
        assert answer["LOGIT"].tolist() == [[27, 26, 25]]
        assert answer["SKIPPED"].tolist() == [[1]]


def full_batches(triton: grpc.InferenceServerClient) -> int:
    """Count the times that the tokenizer was handed BATCH requests at once."""
    statistics = triton.get_inference_statistics("tokenizer").model_stats[0].batch_stats
    return sum(one.compute_infer.count for one in statistics if one.batch_size == BATCH)


def among_good_ones(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: Mapping[str, NDArray[Any]],
    parameters: Mapping[str, object],
    *,
    reaches_the_tokenizer: bool = True,
) -> Answer:
    """Send a request in one batch with good ones, whose answers must be as always."""
    before = full_batches(triton)
    good_tensors, good_parameters = GOOD[model]
    before_it, in_all = 2, BATCH - int(reaches_the_tokenizer)
    good = [send(triton, model, good_tensors, good_parameters) for _ in range(before_it)]
    answer = send(triton, model, {**good_tensors, **tensors}, parameters)
    good += [send(triton, model, good_tensors, good_parameters) for _ in range(before_it, in_all)]
    for each in good:
        check_good(model, each.result(TIMEOUT))
    # Triton counts a batch after its answers have left.
    give_up = time.monotonic() + TIMEOUT
    while full_batches(triton) == before and time.monotonic() < give_up:
        time.sleep(0.01)
    assert full_batches(triton) == before + 1
    return answer.result(TIMEOUT)


INVALID = {
    "unknown candidate": (
        "rank",
        {"CANDIDATE": strings("i1", "nowhere", "i2")} | {"CANDIDATE_TEXT": strings("", "", "")},
        {},
        r"CANDIDATE\[1\] 'nowhere' is not in the catalogue .* CANDIDATE_TEXT",
    ),
    "an id that is no text": (
        "rank",
        {"CANDIDATE": strings(b"\xff\x00"), "CANDIDATE_TEXT": strings("")},
        {},
        r"CANDIDATE\[0\] '\\xff\\x00' is not in the catalogue",
    ),
    "invalid UTF-8": (
        "rank",
        {"HISTORY_TEXT": strings("", b"\xc3\x28")},
        {},
        r"HISTORY_TEXT\[1\] is not UTF-8",
    ),
    "texts without their candidates": (
        "rank",
        {"CANDIDATE": strings("i1")},
        {},
        "CANDIDATE_TEXT has 3 values and CANDIDATE has 1",
    ),
    "time running backwards": (
        "rank",
        {"HISTORY_TIME": np.array([[9, 8]], np.int64)},
        {},
        r"HISTORY_TIME\[1\] is 8, before",
    ),
    "more texts than fit": (
        "rank",
        {
            "CANDIDATE": strings(*"abcde"),
            "CANDIDATE_TEXT": strings(*(f"toy {letter}" for letter in "abcde")),
        },
        {},
        "6 texts to encode, and at most 4 fit in one; split",
    ),
    "option of the wrong type": (
        "rank",
        {},
        {"on_unknown": True},
        "parameter on_unknown is True, a bool; it must be a string",
    ),
    "unknown option": ("rank", {}, {"on_unkown": "skip"}, "did you mean on_unknown?"),
    "top_k of 0": ("recommend", {}, {"top_k": 0}, "top_k is 0; it must be at least 1"),
    "top_k of -1": ("recommend", {}, {"top_k": -1}, "top_k is -1; it must be at least 1"),
    "top_k over the limit": ("recommend", {}, {"top_k": 21}, "at most 20 items"),
    "top_k as text": ("recommend", {}, {"top_k": "5"}, "top_k is '5', a str"),
    "top_k as a boolean": ("recommend", {}, {"top_k": True}, "top_k is True, a bool"),
}


@pytest.mark.parametrize(
    ("model", "tensors", "parameters", "message"), INVALID.values(), ids=INVALID
)
def test_a_bad_request_is_refused_alone(
    triton: grpc.InferenceServerClient,
    model: str,
    tensors: dict[str, NDArray[Any]],
    parameters: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, model, tensors, parameters)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"HISTORY": np.ones((1, 2), np.float32)}, "data-type is 'FP32', but .* expects 'BYTES'"),
        ({"CANDIDATE": strings("i1", "i2").T}, r"shape for input 'CANDIDATE'.*Expected \[1,-1\]"),
    ],
    ids=["wrong dtype", "wrong shape"],
)
def test_what_triton_itself_refuses(
    triton: grpc.InferenceServerClient, tensors: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(grpc.InferenceServerException, match=message) as refusal:
        among_good_ones(triton, "rank", tensors, {}, reaches_the_tokenizer=False)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_fault_of_ours_is_internal_and_alone(triton: grpc.InferenceServerClient) -> None:
    with pytest.raises(grpc.InferenceServerException, match="encoder failed") as failure:
        among_good_ones(triton, "rank", {"CANDIDATE_TEXT": strings("", "toy bomb", "")}, {})
    assert failure.value.status() == "StatusCode.INTERNAL"


class TestDefinedResults:
    def test_a_new_user(self, triton: grpc.InferenceServerClient) -> None:
        answer = among_good_ones(triton, "rank", NEW_USER, {})
        assert answer["LOGIT"].tolist() == [[7, 14, 2]]

    def test_a_new_user_is_recommended_the_best_of_all(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        nothing = {"HISTORY": strings(), "EXCLUDE": strings()}
        answer = among_good_ones(triton, "recommend", nothing, {})
        assert answer["ITEM"].tolist() == [[f"i{29 - n}".encode() for n in range(10)]]
        assert answer["SKIPPED"].tolist() == [[0]]

    def test_no_candidates(self, triton: grpc.InferenceServerClient) -> None:
        none = {"CANDIDATE": strings(), "CANDIDATE_TEXT": strings()}
        answer = among_good_ones(triton, "rank", none, {})
        assert answer["LOGIT"].shape == answer["INTEREST"].shape == (1, 0)

    def test_ten_thousand_candidates(self, triton: grpc.InferenceServerClient) -> None:
        ids = np.arange(10_000) % CATALOGUE
        many = {
            "CANDIDATE": strings(*(f"i{index}" for index in ids)),
            "CANDIDATE_TEXT": strings(*[""] * len(ids)),
        }
        answer = among_good_ones(triton, "rank", {**NEW_USER, **many}, {})
        np.testing.assert_array_equal(answer["LOGIT"][0], ids)

    def test_a_megabyte_of_text_is_truncated_and_said_to_be(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        long = {"CANDIDATE_TEXT": strings("", "toy " * 250_000, "")}
        answer = among_good_ones(triton, "rank", {**NEW_USER, **long}, {})
        assert answer["TRUNCATED"].tolist() == [[1]]
        assert answer["LOGIT"].tolist() == [[7, 2 + 14 * 4 + 3, 2]]

    def test_unknown_candidates_can_be_skipped(self, triton: grpc.InferenceServerClient) -> None:
        no_text = {"CANDIDATE_TEXT": strings("", "", "")}
        answer = among_good_ones(triton, "rank", {**NEW_USER, **no_text}, {"on_unknown": "skip"})
        np.testing.assert_array_equal(answer["LOGIT"], [[7, np.nan, 2]])
        assert np.isnan(answer["INTEREST"]).tolist() == [[False, True, False]]

    def test_unknown_history_is_skipped_and_counted(
        self, triton: grpc.InferenceServerClient
    ) -> None:
        no_text = {"HISTORY_TEXT": strings("", "")}
        answer = among_good_ones(triton, "rank", no_text, {})
        assert answer["SKIPPED"].tolist() == [[1]]
        assert answer["LOGIT"].tolist() == [[9, 16, 4]]

    def test_seen_items_on_request(self, triton: grpc.InferenceServerClient) -> None:
        options = {"top_k": 2, "include_seen": True}
        answer = among_good_ones(triton, "recommend", {}, options)
        assert answer["ITEM"].tolist() == [[b"i29", b"i27"]]

    def test_as_many_as_exist(self, triton: grpc.InferenceServerClient) -> None:
        most = {"EXCLUDE": strings(*(f"i{index}" for index in range(5, CATALOGUE)))}
        answer = among_good_ones(triton, "recommend", most, {"top_k": 20})
        assert answer["ITEM"].tolist() == [[b"i4", b"i3", b"i2", b"i1", b"i0"]]


class TestEncode:
    def test_texts_in_their_order(self, triton: grpc.InferenceServerClient) -> None:
        texts = strings("toy", "story " * 99, "", "toy").T
        answer = send(triton, "encode", {"TEXT": texts}, {}).result(TIMEOUT)
        assert answer["VECTOR"].tolist() == [[9], [2 + 14 * 5 + 3], [5], [9]]
        assert answer["TRUNCATED"].tolist() == [[0], [1], [0], [0]]

    def test_invalid_utf8_is_refused_among_users(self, triton: grpc.InferenceServerClient) -> None:
        answer = send(triton, "encode", {"TEXT": strings("a", "b", "c", b"\xff").T}, {})
        check = [send(triton, "rank", RANK, {}) for _ in range(BATCH)]
        with pytest.raises(grpc.InferenceServerException, match=r"TEXT\[3\] is not UTF-8"):
            answer.result(TIMEOUT)
        for each in check:
            check_good("rank", each.result(TIMEOUT))

    def test_more_than_a_batch_is_refused(self, triton: grpc.InferenceServerClient) -> None:
        answer = send(triton, "encode", {"TEXT": strings(*"abcde").T}, {})
        with pytest.raises(grpc.InferenceServerException, match="batch-size must be <= 4"):
            answer.result(TIMEOUT)
