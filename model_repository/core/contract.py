"""The wire contract: every model of the repository, its tensors, their types and axes, its options.

Declared once, here. The ONNX axes, the optimisation profiles, ``config.pbtxt``, the ensemble
maps, the client's encoding and the serving code's reading are all derived from these declarations.

A *name* stands for one tensor in the whole data flow: where a step's output and a later step's
input carry the same name, they are the same tensor. That is what makes the ensemble maps
derivable.

An axis is an ``int`` when its length is fixed and a ``str`` when it varies:

====== =======================================================================
``H``  events of a user's history (0 for a new user)
``N``  candidates to rank
``E``  items that must not be recommended
``O``  events that happen while the model is served
``k``  items recommended
``B``  texts of an ``encode`` or ``classify`` request
``R``  distinct texts of a request that the catalogue does not know, at least 1
``L``  tokens of the longest of them, rounded up to a bucket
``U``  users whose histories are encoded together
``h``  width of a text vector (fixed by the backbone)
``d``  width of an item vector and of a user state (fixed by the checkpoint)
labels classes of a classifier (fixed by the checkpoint)
====== =======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, TypedDict, get_args, get_type_hints

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
    return replace(tensor, optional=True)


def _required(tensor: TensorSpec) -> TensorSpec:
    return replace(tensor, optional=False)


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
# An event that happens now: the item's id, Unix seconds (0: the server's clock), what was done, and
# the id of the event, "" for none: one of an id that was sent before is not counted again.
OBSERVED_ITEM: Final = TensorSpec("ITEM", "BYTES", (1, "O"))
OBSERVED_TIME: Final = TensorSpec("TIME", "INT64", (1, "O"), optional=True)
OBSERVED_ACTION: Final = TensorSpec("ACTION", "BYTES", (1, "O"), optional=True)
EVENT_ID: Final = TensorSpec("EVENT_ID", "BYTES", (1, "O"), optional=True)
TEXT: Final = TensorSpec("TEXT", "BYTES", ("B", 1))
TEXT_PAIR: Final = TensorSpec("TEXT_PAIR", "BYTES", ("B", 1), optional=True)  # "" for none

# What it gets back.
INTEREST: Final = TensorSpec("INTEREST", "FP32", (1, "N"))  # probability
LOGIT: Final = TensorSpec("LOGIT", "FP32", (1, "N"))
ITEM: Final = TensorSpec("ITEM", "BYTES", (1, "k"))  # item ids, best first
ITEM_INTEREST: Final = replace(INTEREST, dims=(1, "k"))
ITEM_LOGIT: Final = replace(LOGIT, dims=(1, "k"))
SKIPPED: Final = TensorSpec("SKIPPED", "INT32", (1, 1))  # history events left out as unknown
TRUNCATED: Final = TensorSpec("TRUNCATED", "INT32", (1, 1))  # texts cut to the longest length
# 1 where the list is the same for all users, since there was no state of the user; else left out.
FALLBACK: Final = TensorSpec("FALLBACK", "INT32", (1, 1), optional=True)
# Of a request that asks for a trace: a JSON object of the rules that moved or removed items.
TRACE: Final = TensorSpec("TRACE", "BYTES", (1, 1), optional=True)
# Of a request that asks for a page: what asks for the next one; "" where there is none.
CURSOR: Final = TensorSpec("CURSOR", "BYTES", (1, 1), optional=True)
# How likely each item was to be shown at its rank, given those before it, and what kind of number
# that is: "exact", "estimated" or "deterministic"; of a request that explores.
PROPENSITY: Final = TensorSpec("PROPENSITY", "FP32", (1, "k"), optional=True)
PROPENSITY_KIND: Final = TensorSpec("PROPENSITY_KIND", "BYTES", (1, 1), optional=True)
# Of a request with something to be like: the cosine of each item with it.
SIMILARITY: Final = TensorSpec("SIMILARITY", "FP32", (1, "k"), optional=True)
# Of a request that asks for reasons: for each item a JSON object, see `reasons`.
REASON: Final = TensorSpec("REASON", "BYTES", (1, "k"), optional=True)
CANDIDATE_REASON: Final = replace(REASON, dims=(1, "N"))
# Unix seconds as of which the model knows what is popular; left out by one that does not ask.
TREND_TIME: Final = TensorSpec("TREND_TIME", "INT64", (1, 1), optional=True)
# Of the events of a request: how many are counted now, how many name an item that the catalogue
# lacks, and how many were sent before.
ACCEPTED: Final = TensorSpec("ACCEPTED", "INT32", (1, 1))
UNKNOWN: Final = TensorSpec("UNKNOWN", "INT32", (1, 1))
REPEATED: Final = TensorSpec("REPEATED", "INT32", (1, 1))
TEXT_TRUNCATED: Final = replace(TRUNCATED, dims=("B", 1))
VECTOR: Final = TensorSpec("VECTOR", "FP32", ("R", "h"))
TEXT_VECTOR: Final = replace(VECTOR, dims=("B", "h"))
PROBABILITY: Final = TensorSpec("PROBABILITY", "FP32", ("B", "labels"))

# What the networks take and give.
INPUT_IDS: Final = TensorSpec("INPUT_IDS", "INT32", ("R", "L"))
TOKEN_TYPE_IDS: Final = TensorSpec("TOKEN_TYPE_IDS", "INT32", ("R", "L"))
EVENT: Final = TensorSpec("EVENT", "FP32", ("U", "H", "d"))  # item vectors, padded at the end
EVENT_ACTION: Final = TensorSpec("EVENT_ACTION", "INT32", ("U", "H"))  # action ids, 0: not known
# Seconds from an event to the latest one of its user, -1: not known.
EVENT_AGE: Final = TensorSpec("EVENT_AGE", "INT64", ("U", "H"))
EVENT_COUNT: Final = TensorSpec("EVENT_COUNT", "INT32", ("U", 1))  # of each user, without padding
STATE: Final = TensorSpec("STATE", "FP32", ("U", "d"))

# Texts back to back: the number of the text of each token, from 0, and where each text begins.
TOKEN_TEXT: Final = TensorSpec("TOKEN_TEXT", "INT32", ("T",))
FIRST_TOKEN: Final = TensorSpec("FIRST_TOKEN", "INT32", ("R",))

# What travels between the steps of an ensemble: rows of VECTOR.
HISTORY_ROW: Final = TensorSpec("HISTORY_ROW", "INT32", (1, "H"))
CANDIDATE_ROW: Final = TensorSpec("CANDIDATE_ROW", "INT32", (1, "N"))

_USER: Final = (HISTORY, HISTORY_TEXT, HISTORY_ACTION, HISTORY_TIME, PROFILE)
_CIRCUMSTANCES: Final = (HISTORY_ACTION, HISTORY_TIME, PROFILE)

# What services ask. `rank` and `recommend` take one user a request, and many requests at a time.
RANK: Final = ModelSpec(
    "rank",
    inputs=(*_USER, CANDIDATE, CANDIDATE_TEXT),
    outputs=(INTEREST, LOGIT, SKIPPED, TRUNCATED, TREND_TIME, CANDIDATE_REASON),
    batched=True,
)
RECOMMEND: Final = ModelSpec(
    "recommend",
    inputs=(*_USER, EXCLUDE),
    outputs=(
        ITEM,
        ITEM_INTEREST,
        ITEM_LOGIT,
        SKIPPED,
        TRUNCATED,
        FALLBACK,
        TREND_TIME,
        TRACE,
        CURSOR,
        PROPENSITY,
        PROPENSITY_KIND,
        REASON,
        SIMILARITY,
    ),
    batched=True,
)  # fmt: skip
ENCODE: Final = ModelSpec(
    "encode", inputs=(TEXT,), outputs=(TEXT_VECTOR, TEXT_TRUNCATED), batched=True
)
OBSERVE: Final = ModelSpec(
    "observe",
    inputs=(OBSERVED_ITEM, OBSERVED_TIME, OBSERVED_ACTION, EVENT_ID),
    outputs=(ACCEPTED, UNKNOWN, REPEATED),
    batched=True,
)
"""Takes events as they happen; only of a model that asks what is popular."""
RANK_TEXTS: Final = ModelSpec(
    "rank_texts",
    inputs=(_required(HISTORY_TEXT), _required(CANDIDATE_TEXT), *_CIRCUMSTANCES),
    outputs=(INTEREST, LOGIT, TRUNCATED),
)
"""``rank`` for requests made of texts alone, an ensemble of tokenizer, encoder and adapter."""

# The networks.
ENCODER: Final = ModelSpec("encoder", inputs=(INPUT_IDS,), outputs=(VECTOR,), batched=True)
USER_ENCODER: Final = ModelSpec(
    "user_encoder",
    inputs=(EVENT, EVENT_ACTION, EVENT_AGE, EVENT_COUNT),
    outputs=(STATE,),
    batched=True,
)
PACKED_ENCODER: Final = ModelSpec(
    "packed_encoder",
    inputs=(
        replace(INPUT_IDS, dims=("T",)),
        TOKEN_TEXT,
        FIRST_TOKEN,
    ),
    outputs=(VECTOR,),
)
"""The encoder in process: texts lie back to back in a row of T tokens, where the backbone can."""

# The other steps of the ensembles.
TOKENIZER: Final = ModelSpec(
    "tokenizer",
    inputs=tuple(_optional(tensor) for tensor in (TEXT, HISTORY_TEXT, CANDIDATE_TEXT)),
    outputs=(INPUT_IDS, HISTORY_ROW, CANDIDATE_ROW, TRUNCATED),
    batched=True,
)
ADAPTER: Final = ModelSpec(
    "adapter",
    inputs=(VECTOR, HISTORY_ROW, CANDIDATE_ROW, *_CIRCUMSTANCES),
    outputs=(INTEREST, LOGIT),
)

ENCODE_STEPS: Final = EnsembleSpec(ENCODE, steps=(TOKENIZER, ENCODER))
RANK_TEXTS_STEPS: Final = EnsembleSpec(RANK_TEXTS, steps=(TOKENIZER, ENCODER, ADAPTER))

# What a checkpoint of the other family serves: a classifier of texts.
CLASSIFY: Final = ModelSpec(
    "classify", inputs=(TEXT, TEXT_PAIR), outputs=(PROBABILITY, TEXT_TRUNCATED), batched=True
)


def classify_steps(*, token_types: bool) -> EnsembleSpec:
    """Data flow of ``classify``; ``token_types`` if the network tells the texts of a pair apart."""
    tokens = (INPUT_IDS, TOKEN_TYPE_IDS) if token_types else (INPUT_IDS,)
    tokenizer = ModelSpec(
        "pair_tokenizer",
        inputs=(TEXT, TEXT_PAIR),
        outputs=(*tokens, TEXT_TRUNCATED),
        batched=True,
    )
    classifier = ModelSpec("classifier", inputs=tokens, outputs=(PROBABILITY,), batched=True)
    return EnsembleSpec(CLASSIFY, steps=(tokenizer, classifier))


# What a model's configuration tells of it, as string parameters.
LABELS: Final = "labels"  # of classify: a JSON list, in the order of PROBABILITY
ACTIVATION: Final = "activation"  # of classify: "softmax", "sigmoid" or "none"
MAX_WAIT: Final = "max_wait"  # of models that refuse requests while overloaded: milliseconds
MAX_CANDIDATES: Final = "max_candidates"  # of rank: larger calls of the client are split
TREND_UNTIL: Final = "trend_until"  # where popular items count: the log's end, Unix seconds

# What a request may hold, whatever the export's own limits are: texts of `export --max-rows` and
# items of `--max-top-k`.
MOST_VALUES: Final = 10_000  # ids or texts of a tensor
LONGEST_VALUE: Final = 2**20  # bytes of an id, a text or a profile
LARGEST_TENSOR: Final = 64 * 2**20  # bytes of a BYTES tensor; as much as a client's message holds
MOST_PARAMETERS: Final = 64
LONGEST_EVENT_VALUE: Final = 1024  # bytes of an item's id, an action or an event's id in observe
FARTHEST_AHEAD: Final = 300  # seconds that an event may be ahead of the server's clock


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """An option of a request; it travels as a typed request parameter.

    Attributes
    ----------
    name, default
        The type of the default is the type of the option: bool, int, float or str.
    meaning
        One line, for the caller.
    choices
        What a string may be; any string if there are none.
    minimum, maximum
        The least and the most that a number may be; the default may be another one.
    """

    name: str
    default: bool | int | float | str
    meaning: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


TOP_K: Final = OptionSpec("top_k", 10, "how many items to recommend", minimum=1)
ON_UNKNOWN: Final = OptionSpec(
    "on_unknown",
    "error",
    "what happens to a candidate that is neither in the catalogue nor given as text: the request "
    "is refused, or the candidate gets NaN",
    choices=("error", "skip"),
)
INCLUDE_SEEN: Final = OptionSpec(
    "include_seen",
    default=False,
    meaning="whether items of the history may be recommended again",
)
BACKGROUND: Final = OptionSpec(
    "background",
    default=False,
    meaning="whether the request makes room for others: it is refused first where requests wait",
)
NEW_ITEMS: Final = OptionSpec(
    "new_items",
    0,
    "the rank that the best item without training events has at the latest, from 2 on; 0 is the "
    "model's own",
    minimum=2,
    maximum=500,
)
EXPLAIN: Final = OptionSpec(
    "explain",
    default=False,
    meaning="whether each item comes with its reasons: the events of the history that speak for "
    "it, the parts of its logit, and of texts that the catalogue lacks the words that count",
)
YEAR_2100: Final = 4_102_444_800  # as Unix seconds; what is later was meant in a finer unit
TIME: Final = OptionSpec(
    "time",
    0,
    "the time that popular items are wanted for, in Unix seconds; 0 is now",
    minimum=0,
    maximum=YEAR_2100,
)
FILTER: Final = OptionSpec(
    "filter",
    "",
    "expressions over attributes that hold for every item of the list, such as "
    """'"Comedy" in genres and year >= 1990'""",
)
BOOST: Final = OptionSpec(
    "boost",
    "",
    "what the interest of items is multiplied by or gets added before they are ordered, such as "
    "'*1.5 if year >= 1998; -0.1 if stock < 5'",
)
LIMITS: Final = OptionSpec(
    "limits",
    "",
    "how many items of a kind the list has, such as "
    "'at most 2 per artist; at least 3 where year >= 1998'",
)
PINS: Final = OptionSpec(
    "pins", "", """items that have a rank of their own, such as '"i42" at 1; "i7" at 3'"""
)
POOL: Final = OptionSpec(
    "pool",
    200,
    "how many of the best items boosts, limits and diversity choose from",
    minimum=1,
    maximum=10_000,
)
TRACED: Final = OptionSpec(
    "trace",
    default=False,
    meaning="whether the answer says which rule moved or removed an item",
)
PAGE: Final = OptionSpec(
    "cursor",
    "",
    "'start' for the first page of a list, and then the cursor that came with the last page",
)
EXPLORE: Final = OptionSpec(
    "explore",
    "",
    "how items that are not surely the best get a chance: by chance alone (greedy, softmax) or "
    "where little is known of them (thompson, ucb); empty for never",
    choices=("", "greedy", "softmax", "thompson", "ucb"),
)
EXPLORE_RATE: Final = OptionSpec(
    "explore_rate",
    0.0,
    "how much is explored: the probability of a random item (greedy), the temperature (softmax), "
    "or a factor of the uncertainty (thompson, ucb); 0 is the method's own: 0.1, 0.2, 1, 1",
    minimum=0.001,
    maximum=100,
)
DIVERSITY: Final = OptionSpec(
    "diversity",
    0.0,
    "how much the items of a list differ, from 0, where only the interest counts, to 1",
    minimum=0,
    maximum=1,
)
DIVERSITY_BY: Final = OptionSpec(
    "diversity_by",
    "item",
    "what items differ in: 'item' is the vector that the model has learnt, 'text' that of the "
    "text, and another name is a column of the items",
)
DIVERSITY_METHOD: Final = OptionSpec(
    "diversity_method",
    "dpp",
    "how the list is chosen: 'dpp' keeps items that are nearly the same apart and shows more of "
    "the catalogue, 'msd' has the largest mean distance",
    choices=("dpp", "msd"),
)
MATCH: Final = OptionSpec(
    "match",
    "",
    "a column of the items, such as genres: the list has the mix of its values that the history "
    "has; '' for none",
)
POPULARITY_PENALTY: Final = OptionSpec(
    "popularity_penalty",
    0.0,
    "how much popular items are held back, from 0 to 1",
    minimum=0,
    maximum=1,
)
LIKE: Final = OptionSpec(
    "like", "", "the id of an item that the items of the list are like; '' for none"
)
LIKE_TEXT: Final = OptionSpec(
    "like_text",
    "",
    "the text of the item that they are like, for where the catalogue does not know it",
)
QUERY: Final = OptionSpec(
    "query", "", "words to search for: the list has items whose texts are like them; '' for none"
)
DiversityMethod = Literal["dpp", "msd"]
OnUnknown = Literal["error", "skip"]
Explore = Literal["", "greedy", "softmax", "thompson", "ucb"]


class RankOptions(TypedDict, total=False):
    """The options of ``rank``: a line here is a keyword of the SDK and a flag of its command."""

    on_unknown: Annotated[OnUnknown, ON_UNKNOWN]
    time: Annotated[int, TIME]
    background: Annotated[bool, BACKGROUND]
    explain: Annotated[bool, EXPLAIN]


class RelatedOptions(TypedDict, total=False):
    """The options of ``related``, a call of the SDK to the model ``recommend``, likewise."""

    top_k: Annotated[int, TOP_K]
    include_seen: Annotated[bool, INCLUDE_SEEN]
    new_items: Annotated[int, NEW_ITEMS]
    explore: Annotated[Explore, EXPLORE]
    explore_rate: Annotated[float, EXPLORE_RATE]
    popularity_penalty: Annotated[float, POPULARITY_PENALTY]
    diversity: Annotated[float, DIVERSITY]
    diversity_by: Annotated[str, DIVERSITY_BY]
    diversity_method: Annotated[DiversityMethod, DIVERSITY_METHOD]
    match: Annotated[str, MATCH]
    time: Annotated[int, TIME]
    background: Annotated[bool, BACKGROUND]
    filter: Annotated[str, FILTER]
    boost: Annotated[str, BOOST]
    limits: Annotated[str, LIMITS]
    pins: Annotated[str, PINS]
    pool: Annotated[int, POOL]
    cursor: Annotated[str, PAGE]
    trace: Annotated[bool, TRACED]
    explain: Annotated[bool, EXPLAIN]


class RecommendOptions(RelatedOptions, total=False):
    """The options of ``recommend``, likewise."""

    like: Annotated[str, LIKE]
    like_text: Annotated[str, LIKE_TEXT]
    query: Annotated[str, QUERY]


def options_of(declared: type) -> tuple[OptionSpec, ...]:
    """The options that `RankOptions` or another such class declares."""
    hints = get_type_hints(declared, include_extras=True)
    return tuple(get_args(hint)[1] for hint in hints.values())


OPTIONS: Final = tuple(dict.fromkeys((*options_of(RecommendOptions), *options_of(RankOptions))))
