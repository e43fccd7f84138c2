"""A small model repository with the code that exports serve, quick to load and easy to predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tritonclient.grpc.model_config_pb2 import ModelConfig

from builder.export.serving_code import install, write_json
from builder.repository import DynamicBatching, ensemble_config, step_config, to_text
from model_repository.core import contract
from model_repository.core.catalogue import Catalogue
from model_repository.core.contract import ModelSpec
from model_repository.core.identifiers import Identifiers
from model_repository.core.items import Neighbourhood
from model_repository.core.trend import NO_TREND, Trend, levels
from model_repository.steps.catalogue_files import save_catalogue

CATALOGUE = 30
MAX_TOP_K = 20
BATCH = 4
"""Texts that one request may hold, and requests that a model takes at once."""

LABELS = ("short", "long")
"""Of the model ``classify``."""

Layout = Literal["ensemble", "fused"]

VOCABULARY = {
    word: index
    for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "toy", "story", "bomb"])
}
# An event of an item adds 100 · log 2 = 69 to its logit, more than any item has.
TREND_UNTIL = 1_700_000_000
TREND = Trend(
    3_600.0,
    100.0,
    levels(np.array([5], np.int32), np.array([TREND_UNTIL]), CATALOGUE, 3_600.0),
    TREND_UNTIL,
)

BOMB = VOCABULARY["bomb"]

# The value of item i is i, that of a text the sum of its tokens. "bomb" is a token that the
# encoder has no entry for, which makes its run fail.
ENCODER = f"""<ir_version: 10, opset_import: ["": 20]>
encoder (int32[R, L] INPUT_IDS) => (float[R, h] VECTOR)
<float[{BOMB}] table = {{{", ".join(map(str, range(BOMB)))}}}, int64[1] last = {{1}}> {{
    values = Gather <axis = 0> (table, INPUT_IDS)
    VECTOR = ReduceSum <keepdims = 1> (values, last)
}}"""

# The vector of an item is (its value, 1), the state of a user (1, sum over the history): every
# logit is a value plus that sum. An event adds its action, and its age plus 1 where it is known,
# so that new users get plain values, and padding counts for nothing.
USER_ENCODER = """<ir_version: 10, opset_import: ["": 20]>
user_encoder (float[U, H, d] EVENT, int32[U, H] EVENT_ACTION, int64[U, H] EVENT_AGE,
              int32[U, c] EVENT_COUNT) => (float[U, d] STATE)
<int64 next = {1}, int64[1] last = {1}> {
    actions = Cast <to = 7> (EVENT_ACTION)
    ages = Add (EVENT_AGE, next)
    events = Add (actions, ages)
    total = ReduceSum <keepdims = 1> (events, last)
    sum = Cast <to = 1> (total)
    nothing = Sub (sum, sum)
    unit = Exp (nothing)
    STATE = Concat <axis = 1> (unit, sum)
}"""
SIZES: Final = {"h": 1, "d": 2}
LARGEST: Final = {contract.ENCODER: {"INPUT_IDS": BOMB}, contract.USER_ENCODER: {"EVENT_ACTION": 2}}

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


def catalogue(*, trend: bool = False) -> Catalogue:
    values = np.arange(CATALOGUE, dtype=np.float32)
    return Catalogue(
        np.stack([values, np.ones_like(values)], 1),
        np.zeros_like(values),
        ids=Identifiers.of([f"i{index}" for index in range(CATALOGUE)]),
        # Nothing may be a neighbour: a new item is what the network makes of its text.
        neighbourhood=Neighbourhood(
            np.zeros(1, np.float32),
            np.array([[1, 0]], np.float32),
            np.array([0, 1], np.float32),
            np.zeros(0, np.int32),
            np.zeros((0, 3), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
        ),
        popular=np.array([3, 1, 4, 15, 9], np.int32),
        uncertainty=np.ones(CATALOGUE, np.float32),
        # The text of an item is like any, or like none: text vectors have one number.
        other_texts=np.where(values % 2, 1, -1).astype(np.float32)[:, np.newaxis],
        trend=TREND if trend else NO_TREND,
    )


def save_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))


def write_tiny_repository(
    root: Path,
    *,
    layout: Layout = "ensemble",
    batch: int = BATCH,
    delay_microseconds: int = 0,
    classifier: bool = False,
    max_wait: int = 0,
    trend: bool = False,
) -> None:
    """Write every model of a layout to ``root``.

    ``delay_microseconds`` is how long ``rank`` and ``recommend`` wait for a full batch, and with
    them the tokenizer of the ensembles; ``classifier`` adds the model ``classify``, in which the
    probability of label 1 grows with the text. ``max_wait`` is the limit of ``rank`` and
    ``recommend`` in milliseconds, 0 for none. ``trend`` has the models ask what is popular, and
    adds ``observe``; of ``rank`` and ``recommend`` there are two instances each then.
    """
    tiny = _Tiny(root, batch, delay_microseconds, max_wait, trend)
    if layout == "fused":
        tiny.write_fused()
    else:
        tiny.write_ensembles()
    if trend:
        tiny.write_observe()
    if classifier:
        tiny.write_classifier()


class _Tiny:
    def __init__(
        self,
        root: Path,
        batch: int,
        delay_microseconds: int,
        max_wait: int,
        trend: bool,
    ) -> None:
        self._root = root
        self._batch = batch
        self._delay = delay_microseconds
        self._trend = trend
        self._limit = {contract.MAX_WAIT: str(max_wait)} if max_wait else {}
        self._until = {contract.TREND_UNTIL: str(TREND_UNTIL)} if trend else {}

    def write_ensembles(self) -> None:
        texts = {"lengths": [8, 16], "pad_id": 0}
        for spec in (contract.RANK, contract.RECOMMEND, contract.ADAPTER):
            directory = self._python(spec, ragged=True, parameters=self._until)
            self._write_user_model(directory, {"lengths": [8, 50], "texts": texts})
            save_tokenizer(directory / "tokenizer.json")
        tokenizer = self._python(contract.TOKENIZER, ragged=True)
        settings = {"max_rows": self._batch, "length_buckets": [8, 16], "pad_id": 0}
        write_json(tokenizer / "settings.json", settings)
        save_tokenizer(tokenizer / "tokenizer.json")
        for spec, graph in ((contract.ENCODER, ENCODER), (contract.USER_ENCODER, USER_ENCODER)):
            directory = self._python(spec)
            settings = {"threads": 1, "largest": LARGEST[spec], "longest": 50}
            write_json(directory / "settings.json", settings)
            onnx.save(onnx.parser.parse_model(graph), directory / "model.onnx")
        for ensemble in (contract.ENCODE_STEPS, contract.RANK_TEXTS_STEPS):
            most = self._batch if ensemble.model.batched else 0
            self._configure(ensemble_config(ensemble, version=1, sizes=SIZES, max_batch_size=most))

    def write_fused(self) -> None:
        for spec in (contract.RANK, contract.RECOMMEND):
            directory = self._python(spec, ragged=True, parameters={**self._limit, **self._until})
            self._write_user_model(directory, {})
            onnx.save(onnx.parser.parse_model(USER_ENCODER), directory / "user_encoder.onnx")
        encode = self._python(contract.ENCODE)
        settings = {
            "engine": "onnxruntime",
            "precision": "fp32",
            "lone_parallel": False,
            "packed": False,
            "pad_id": 0,
            "max_length": 16,
            "cached_texts": 100,
        }
        write_json(encode / "settings.json", settings)
        save_tokenizer(encode / "tokenizer.json")
        onnx.save(onnx.parser.parse_model(ENCODER), encode / "model.onnx")

    def write_observe(self) -> None:
        save_catalogue(self._python(contract.OBSERVE, ragged=True), catalogue(trend=True))

    def write_classifier(self) -> None:
        parameters = {contract.LABELS: json.dumps(LABELS), contract.ACTIVATION: "softmax"}
        directory = self._python(contract.CLASSIFY, ragged=True, parameters=parameters)
        (directory / "model.py").write_text(CLASSIFIER)

    def _write_user_model(self, directory: Path, settings: dict[str, Any]) -> None:
        reader = {
            "max_rows": self._batch,
            "max_history": 50,
            "actions": ["view", "buy"],
            "max_top_k": MAX_TOP_K,
        }
        write_json(directory / "settings.json", {"reader": reader, **settings})
        save_catalogue(directory, catalogue(trend=self._trend))

    def _python(
        self,
        spec: ModelSpec,
        *,
        ragged: bool = False,
        parameters: dict[str, str] | None = None,
    ) -> Path:
        """Configure a Python model and return the directory of its version, with the code."""
        config = step_config(
            spec,
            backend="python",
            version=1,
            sizes=SIZES,
            max_batch_size=self._batch if spec.batched else 0,
            batching=DynamicBatching(self._delay_of(spec), ragged=ragged) if spec.batched else None,
            parameters=parameters,
            instances=2 if self._trend and spec in (contract.RANK, contract.RECOMMEND) else 1,
        )
        directory = self._configure(config)
        install(directory, ["tokenizers", "onnxruntime"])
        return directory

    def _delay_of(self, spec: ModelSpec) -> int:
        # What asks a model from within would wait there as well.
        return self._delay if spec in (contract.RANK, contract.RECOMMEND, contract.TOKENIZER) else 0

    def _configure(self, config: ModelConfig) -> Path:
        directory: Path = self._root / config.name / "1"
        directory.mkdir(parents=True)
        (directory.parent / "config.pbtxt").write_text(to_text(config))
        return directory
