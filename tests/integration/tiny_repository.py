"""A small model repository with the steps that exports serve, quick to load and easy to predict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from model_repository.core import contract
from model_repository.core.contract import EnsembleSpec, ModelSpec, TensorSpec
from model_repository.steps import install_step

CATALOGUE = 30
MAX_TOP_K = 20
BATCH = 4
"""Texts that one request may hold, and requests that the tokenizer takes at once."""

LABELS = ("short", "long")
"""Of the model ``classify``."""

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

CLASSIFIER = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.classify(request) for request in requests]

    def classify(self, request):
        def column(name):
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            return tensor.as_numpy() if tensor is not None else np.array([[b""]], object)

        lengths = np.vectorize(len)(np.concatenate(
            np.broadcast_arrays(column("TEXT"), column("TEXT_PAIR")), axis=1)).sum(1)
        one = (lengths / (lengths + 10)).astype(np.float32)
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("PROBABILITY", np.stack([1 - one, one], 1)),
            pb_utils.Tensor("TRUNCATED", np.zeros((len(one), 1), np.int32)),
        ])
"""


def tensors_config(kind: str, specs: Sequence[TensorSpec], *, batched: bool, ragged: bool) -> str:
    def one(spec: TensorSpec) -> str:
        axes = spec.dims[1:] if batched else spec.dims
        dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in axes)
        dtype = "STRING" if spec.dtype == "BYTES" else spec.dtype
        flags = "optional: true " * spec.optional + "allow_ragged_batch: true " * ragged
        return f'{{ name: "{spec.name}" data_type: TYPE_{dtype} dims: [{dims}] {flags}}}'

    return f"{kind} [ {', '.join(map(one, specs))} ]\n"


def step_config(step: ModelSpec, batch: int, delay_microseconds: int) -> str:
    tokenizer = step is contract.TOKENIZER
    delay = delay_microseconds if tokenizer else 0
    # Without a longer default, Triton pays no heed to the timeout that a request brings along.
    queue = (
        "default_queue_policy { timeout_action: REJECT allow_timeout_override: true "
        "default_timeout_microseconds: 3600000000 }"
    )
    return (
        f'name: "{step.name}"\nbackend: "python"\n'
        f"max_batch_size: {batch if step.batched else 0}\n"
        + tensors_config("input", step.inputs, batched=step.batched, ragged=tokenizer)
        + tensors_config("output", step.outputs, batched=step.batched, ragged=False)
        + f"dynamic_batching {{ max_queue_delay_microseconds: {delay} {queue} }}\n" * step.batched
        + "instance_group [ { kind: KIND_CPU } ]\n"
    )


def ensemble_config(ensemble: EnsembleSpec, batch: int) -> str:
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
        f"max_batch_size: {batch if model.batched else 0}\n"
        + tensors_config("input", model.inputs, batched=model.batched, ragged=False)
        + tensors_config("output", model.outputs, batched=model.batched, ragged=False)
        + f"ensemble_scheduling {{ step [ {', '.join(steps)} ] }}\n"
    )


def string_parameter(key: str, value: str) -> str:
    written = f"string_value: {json.dumps(value)}"
    return f"parameters {{ key: {json.dumps(key)} value {{ {written} }} }}\n"


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


def write_tiny_repository(
    root: Path, *, batch: int = BATCH, delay_microseconds: int = 0, classifier: bool = False
) -> None:
    """Write every step and ensemble to ``root``.

    ``delay_microseconds`` is how long the tokenizer waits for a full batch; ``classifier`` adds
    the model ``classify``, in which the probability of label 1 grows with the text.
    """
    settings: dict[str, dict[str, object]] = {
        "tokenizer": {
            "max_rows": batch,
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
        config = step_config(step, batch, delay_microseconds)
        (root / step.name / "config.pbtxt").write_text(config)
        (version / "settings.json").write_text(json.dumps(settings.get(step.name, {"threads": 1})))
    for name, graph in (("encoder", ENCODER), ("adapter", ADAPTER), ("retriever", RETRIEVER)):
        onnx.save(onnx.parser.parse_model(graph), root / name / "1" / "model.onnx")
    save_tokenizer(root / "tokenizer" / "1" / "tokenizer.json")
    for name in ("tokenizer", "policy"):
        items = json.dumps([f"i{index}" for index in range(CATALOGUE)])
        (root / name / "1" / "items.json").write_text(items)
    for ensemble in contract.ENSEMBLES:
        (root / ensemble.model.name / "1").mkdir(parents=True)
        (root / ensemble.model.name / "config.pbtxt").write_text(ensemble_config(ensemble, batch))
    if classifier:
        (root / "classify" / "1").mkdir(parents=True)
        (root / "classify" / "1" / "model.py").write_text(CLASSIFIER)
        (root / "classify" / "config.pbtxt").write_text(
            f'name: "classify"\nbackend: "python"\nmax_batch_size: {batch}\n'
            + tensors_config("input", contract.CLASSIFY.inputs, batched=True, ragged=True)
            + tensors_config("output", contract.CLASSIFY.outputs, batched=True, ragged=False)
            + "instance_group [ { kind: KIND_CPU } ]\n"
            + string_parameter(contract.LABELS, json.dumps(LABELS))
            + string_parameter(contract.ACTIVATION, "softmax")
        )
