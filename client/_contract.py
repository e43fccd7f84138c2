"""The wire contract: every model of the repository, its tensors, their types and axes.

Declared once, here. The ONNX axes, the optimisation profiles, ``config.pbtxt``, the ensemble
maps and the client's encoding are all derived from these declarations.

A *name* stands for one tensor in the whole data flow: where a step's output and a later step's
input carry the same name, they are the same tensor. That is what makes the ensemble maps
derivable.

An axis is an ``int`` when its length is fixed and a ``str`` when it varies:

====== =======================================================================
``H``  events of a user's history (0 for a new user)
``N``  candidates to rank
``E``  items that must not be recommended
``M``  items that the retriever hands to the policy (fixed at export)
``k``  items recommended
``B``  texts of an ``encode`` or ``classify`` request
``R``  distinct texts of a request that the catalogue does not know, at least 1
``L``  tokens of the longest of them, rounded up to a bucket
``h``  width of a text vector (fixed by the backbone)
``d``  width of an item vector and of a user state (fixed by the checkpoint)
``P``  columns of a user's profile (fixed by the checkpoint)
``U``  users that are scored together
labels classes of a classifier (fixed by the checkpoint)
====== =======================================================================

Slots (INT32) name an item on the inside: ``s >= 0`` is catalogue index ``s``; ``-(r + 1)`` is row
``r`` of VECTOR, a text that was encoded for this request; the smallest INT32 is no item at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Axis = int | str
Dtype = Literal["BYTES", "FP32", "INT32", "INT64"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: its name, Triton data type (without the ``TYPE_``) and axes."""

    name: str
    dtype: Dtype
    dims: tuple[Axis, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One Triton model.

    ``batched`` says that the first axis of every tensor is Triton's batch dimension, so that the
    dynamic batcher may merge requests (``max_batch_size`` > 0, and ``config.pbtxt`` leaves that
    axis out of ``dims``).
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = False


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """A public model that is a data flow through ``steps``, in order."""

    model: ModelSpec
    steps: tuple[ModelSpec, ...]


def _optional(tensor: TensorSpec) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.dtype, tensor.dims, optional=True)


# What a service sends.
HISTORY: Final = TensorSpec("HISTORY", "BYTES", (1, "H"))  # item ids, oldest first
HISTORY_TEXT: Final = TensorSpec("HISTORY_TEXT", "BYTES", (1, "H"), optional=True)  # "" for none
HISTORY_ACTION: Final = TensorSpec("HISTORY_ACTION", "BYTES", (1, "H"), optional=True)
HISTORY_TIME: Final = TensorSpec("HISTORY_TIME", "INT64", (1, "H"), optional=True)  # Unix seconds
CANDIDATE: Final = TensorSpec("CANDIDATE", "BYTES", (1, "N"))  # item ids
CANDIDATE_TEXT: Final = TensorSpec("CANDIDATE_TEXT", "BYTES", (1, "N"), optional=True)
EXCLUDE: Final = TensorSpec("EXCLUDE", "BYTES", (1, "E"), optional=True)  # item ids
# A JSON object of the user file's columns, such as {"age": 24}; "" for none.
PROFILE: Final = TensorSpec("PROFILE", "BYTES", (1, 1), optional=True)
TEXT: Final = TensorSpec("TEXT", "BYTES", ("B", 1))
TEXT_PAIR: Final = TensorSpec("TEXT_PAIR", "BYTES", ("B", 1), optional=True)  # "" for none

# What it gets back.
INTEREST: Final = TensorSpec("INTEREST", "FP32", (1, "N"))  # probability
LOGIT: Final = TensorSpec("LOGIT", "FP32", (1, "N"))
ITEM: Final = TensorSpec("ITEM", "BYTES", (1, "k"))  # item ids, best first
ITEM_INTEREST: Final = TensorSpec("INTEREST", "FP32", (1, "k"))
ITEM_LOGIT: Final = TensorSpec("LOGIT", "FP32", (1, "k"))
SKIPPED: Final = TensorSpec("SKIPPED", "INT32", (1, 1))  # history events left out as unknown
TRUNCATED: Final = TensorSpec("TRUNCATED", "INT32", (1, 1))  # texts cut to the longest length
TEXT_TRUNCATED: Final = TensorSpec("TRUNCATED", "INT32", ("B", 1))
VECTOR: Final = TensorSpec("VECTOR", "FP32", ("R", "h"))
TEXT_VECTOR: Final = TensorSpec("VECTOR", "FP32", ("B", "h"))
PROBABILITY: Final = TensorSpec("PROBABILITY", "FP32", ("B", "labels"))

# What travels between the steps.
INPUT_IDS: Final = TensorSpec("INPUT_IDS", "INT32", ("R", "L"))
HISTORY_SLOT: Final = TensorSpec("HISTORY_SLOT", "INT32", (1, "H"))
HISTORY_ACTION_ID: Final = TensorSpec("HISTORY_ACTION_ID", "INT32", (1, "H"))  # 0: not known
HISTORY_GAP: Final = TensorSpec("HISTORY_GAP", "INT32", (1, "H"))  # bucket of seconds, 0: not known
PROFILE_ID: Final = TensorSpec("PROFILE_ID", "INT32", (1, "P"))  # 0: not known
CANDIDATE_SLOT: Final = TensorSpec("CANDIDATE_SLOT", "INT32", (1, "N"))
EXCLUDE_SLOT: Final = TensorSpec("EXCLUDE_SLOT", "INT32", (1, "E"))
INDEX: Final = TensorSpec("INDEX", "INT32", (1, "M"))  # catalogue indices, best first
INDEX_LOGIT: Final = TensorSpec("INDEX_LOGIT", "FP32", (1, "M"))
INDEX_INTEREST: Final = TensorSpec("INDEX_INTEREST", "FP32", (1, "M"))

_USER: Final = (HISTORY, HISTORY_TEXT, HISTORY_ACTION, HISTORY_TIME, PROFILE)
_HISTORY_STATE: Final = (VECTOR, HISTORY_SLOT, HISTORY_ACTION_ID, HISTORY_GAP)

TOKENIZER: Final = ModelSpec(
    "tokenizer",
    inputs=tuple(
        _optional(tensor) for tensor in (*_USER, CANDIDATE, CANDIDATE_TEXT, EXCLUDE, TEXT)
    ),
    outputs=(
        INPUT_IDS,
        HISTORY_SLOT,
        HISTORY_ACTION_ID,
        HISTORY_GAP,
        CANDIDATE_SLOT,
        EXCLUDE_SLOT,
        SKIPPED,
        TRUNCATED,
    ),
    batched=True,
)
ENCODER: Final = ModelSpec("encoder", inputs=(INPUT_IDS,), outputs=(VECTOR,), batched=True)
ADAPTER: Final = ModelSpec(
    "adapter", inputs=(*_HISTORY_STATE, CANDIDATE_SLOT), outputs=(INTEREST, LOGIT)
)
RETRIEVER: Final = ModelSpec(
    "retriever",
    inputs=(*_HISTORY_STATE, EXCLUDE_SLOT),
    outputs=(INDEX, INDEX_INTEREST, INDEX_LOGIT),
)
POLICY: Final = ModelSpec(
    "policy",
    inputs=(INDEX, INDEX_INTEREST, INDEX_LOGIT),
    outputs=(ITEM, ITEM_INTEREST, ITEM_LOGIT),
)


def with_profile(step: ModelSpec) -> ModelSpec:
    """The step in a model that knows profile columns; another model has no PROFILE_ID inside."""
    if step is TOKENIZER:
        return replace(step, outputs=(*step.outputs, PROFILE_ID))
    if step in (ADAPTER, RETRIEVER):
        return replace(step, inputs=(*step.inputs, PROFILE_ID))
    return step


RANK: Final = EnsembleSpec(
    ModelSpec(
        "rank",
        inputs=(*_USER, CANDIDATE, CANDIDATE_TEXT),
        outputs=(INTEREST, LOGIT, SKIPPED, TRUNCATED),
    ),
    steps=(TOKENIZER, ENCODER, ADAPTER),
)
RECOMMEND: Final = EnsembleSpec(
    ModelSpec(
        "recommend",
        inputs=(*_USER, EXCLUDE),
        outputs=(ITEM, ITEM_INTEREST, ITEM_LOGIT, SKIPPED, TRUNCATED),
    ),
    steps=(TOKENIZER, ENCODER, RETRIEVER, POLICY),
)
ENCODE: Final = EnsembleSpec(
    ModelSpec("encode", inputs=(TEXT,), outputs=(TEXT_VECTOR, TEXT_TRUNCATED), batched=True),
    steps=(TOKENIZER, ENCODER),
)

FUSED: Final = tuple(
    replace(ensemble.model, batched=True) for ensemble in (RANK, RECOMMEND, ENCODE)
)
"""The same models where each is one step, which takes many users at a time."""

# What the fused models run on the inside: BERT on texts that lie back to back, where it can, and
# one graph for the events of many users.
PACKED_ENCODER: Final = ModelSpec(
    "packed_encoder",
    inputs=(
        TensorSpec("INPUT_IDS", "INT32", ("T",)),
        TensorSpec("TEXT", "INT32", ("T",)),  # of each token, from 0
        TensorSpec("FIRST", "INT32", ("R",)),  # token of each text
    ),
    outputs=(VECTOR,),
)
EVENT: Final = TensorSpec("EVENT", "FP32", ("U", "H", "d"))  # item vectors, padded at the end
STATE: Final = ModelSpec(
    "state",
    inputs=(
        EVENT,
        TensorSpec("HISTORY_ACTION_ID", "INT32", ("U", "H")),
        TensorSpec("HISTORY_GAP", "INT32", ("U", "H")),
        TensorSpec("LENGTH", "INT32", ("U",)),  # events of each
    ),
    outputs=(TensorSpec("STATE", "FP32", ("U", "d")),),
)

STEPS: Final = (TOKENIZER, ENCODER, ADAPTER, RETRIEVER, POLICY)
ENSEMBLES: Final = (RANK, RECOMMEND, ENCODE)

# What a checkpoint of the other family serves: a classifier of texts. Not one of ENSEMBLES, which
# every recommender has.
CLASSIFY: Final = ModelSpec(
    "classify", inputs=(TEXT, TEXT_PAIR), outputs=(PROBABILITY, TEXT_TRUNCATED), batched=True
)

# What a model's configuration tells of it, as string parameters.
LABELS: Final = "labels"  # of classify: a JSON list, in the order of PROBABILITY
ACTIVATION: Final = "activation"  # of classify: "softmax", "sigmoid" or "none"
MAX_CANDIDATES: Final = "max_candidates"  # of rank, where its engines take a limited number

# Options travel as typed request parameters; Triton hands them to every step of an ensemble.
TOP_K: Final = "top_k"  # int, how many items to recommend
ON_UNKNOWN: Final = "on_unknown"  # "error" or "skip": a candidate that is neither known nor text
INCLUDE_SEEN: Final = "include_seen"  # bool, items of the history may be recommended again
