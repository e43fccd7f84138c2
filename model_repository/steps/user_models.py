"""The models ``rank`` and ``recommend``, and ``adapter``, which is the second half of ``rank``.

Settings of a version, ``settings.json``:

``reader``
    The `ReaderSettings`.
``lengths``
    Events that histories are padded to before they go to the model ``user_encoder``, ascending.
    Left out: the network is run in this process, from ``user_encoder.onnx``.
``texts``
    Where the model ``encoder`` is asked, what is needed to tokenize: ``lengths`` in tokens and
    ``pad_id``; ``tokenizer.json`` lies beside it. Left out: the model ``encode`` is asked.

Beside it lie the files of the catalogue and, where they are, `INDEX_FILE` for the items of most
interest, `ALIKE_FILES` for those that are alike, and `POLICY_FILE`, the policy of the repository.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ..core.batch import Handler, Outcome, Prompt, Request, attempt
from ..core.catalogue import Catalogue
from ..core.contract import RANK, RECOMMEND, VECTOR
from ..core.handler import UNOBSERVED, EncodeTexts, Observer, Rank, Recommend, UserHandler
from ..core.live_trend import LiveTrend
from ..core.options import NO_POLICY, RepositoryPolicy
from ..core.policy.facts import FactsSource, FixedFacts
from ..core.requests import ReaderSettings, RequestReader
from ..core.scoring import CandidateSource, Scorer
from ..core.similarity import DirectionIndex, Similarity
from ..core.trend import Trend
from ..core.users import UserEncoder
from ..engines.settings import read_settings
from .catalogue_files import load_catalogue
from .rules_directory import load_facts

POLICY_FILE: Final = "policy.json"
USER_ENCODER_FILE: Final = "user_encoder.onnx"
INDEX_FILE: Final = "index.faiss"
ALIKE_FILES: Final = {"items": "alike_items.faiss", "texts": "alike_texts.faiss"}
"""Indexes over `ItemDirections` and `TextDirections`."""

FactsOf = Callable[[Catalogue], FactsSource]
"""What rules are about, given the catalogue."""


def load(
    directory: Path,
    model: str,
    observer: Observer = UNOBSERVED,
    facts_of: FactsOf = FixedFacts,
) -> Handler:
    """Make the handler of ``rank`` or ``recommend``."""
    encode_users, encode_texts = load_user_encoder(directory), _text_encoder(directory)
    return load_handler(model, directory, encode_users, encode_texts, observer, facts_of)


def load_counted(directory: Path, model: str) -> Handler:
    """The same with metrics and with rules that change, which only Triton has."""

    def facts_of(catalogue: Catalogue) -> FactsSource:
        return load_facts(catalogue, model, directory.name)

    return load(directory, model, _observer(model, directory.name), facts_of)


def load_adapter(directory: Path, model: str) -> Handler:  # noqa: ARG001
    """Make the handler of ``adapter``."""
    return _Adapter(load_handler(RANK.name, directory, load_user_encoder(directory), _no_texts))


def load_handler(
    model: str,
    directory: Path,
    encode_users: UserEncoder,
    encode_texts: EncodeTexts,
    observer: Observer = UNOBSERVED,
    facts_of: FactsOf = FixedFacts,
) -> UserHandler:
    """Make a handler of the files in a directory and of engines from elsewhere."""
    scorer = load_scorer(
        directory, encode_users, live=True, count_full_searches=observer.searched_in_full
    )
    settings = ReaderSettings(**read_settings(directory)["reader"])
    ids = scorer.catalogue.ids
    if model == RANK.name:
        return Rank(RequestReader(settings, ids), scorer, encode_texts, observer)
    reader = RequestReader(settings, ids, read_policy(directory))
    facts, similarity = facts_of(scorer.catalogue), load_similarity(directory, scorer.catalogue)
    return Recommend(reader, scorer, encode_texts, observer, facts, similarity)


def read_policy(directory: Path) -> RepositoryPolicy:
    """The policy of a version of ``recommend``; one that says nothing where there is no file."""
    file = directory / POLICY_FILE
    if not file.exists():
        return NO_POLICY
    return RepositoryPolicy(**json.loads(file.read_text("utf-8")))


def load_scorer(
    directory: Path,
    encode_users: UserEncoder,
    *,
    exact: bool = False,
    live: bool = False,
    count_full_searches: Callable[[int], None] = lambda _: None,
) -> Scorer:
    """Make the scorer of the files in a directory.

    ``exact`` leaves an index alone. ``live`` has the trend of what the model ``observe`` of this
    server counts, once it does.
    """
    source: CandidateSource | None = None
    if not exact and (directory / INDEX_FILE).exists():
        from ..engines.item_index import ItemIndex

        source = ItemIndex(directory / INDEX_FILE)
    catalogue = load_catalogue(directory)
    trend = _live_trend(directory, catalogue.trend) if live and catalogue.trend else None
    return Scorer(catalogue, encode_users, source, count_full_searches, trend)


def load_similarity(directory: Path, catalogue: Catalogue, *, exact: bool = False) -> Similarity:
    """Make what says what is alike; ``exact`` leaves indexes alone."""

    def index(of: str) -> DirectionIndex | None:
        file = directory / ALIKE_FILES[of]
        if exact or not file.exists():
            return None
        from ..engines.direction_index import DirectionIndex

        return DirectionIndex(file)

    return Similarity(catalogue, index("items"), index("texts"))


def _live_trend(directory: Path, trend: Trend) -> LiveTrend:
    from .live_counts_file import LiveCountsFile, live_counts_path

    return LiveTrend(trend, LiveCountsFile(live_counts_path(int(directory.name)), trend))


def load_user_encoder(directory: Path) -> UserEncoder:
    """The network over events, in this process or as a model of the server."""
    lengths = read_settings(directory).get("lengths")
    if lengths is not None:
        from ..engines.triton import TritonUserEncoder

        return TritonUserEncoder(int(directory.name), lengths)
    from ..engines.onnx import OnnxEngine
    from ..engines.user_encoder import EngineUserEncoder

    # One thread: the graph is done before a second one wakes.
    return EngineUserEncoder(OnnxEngine(directory / USER_ENCODER_FILE, 1))


def _text_encoder(directory: Path) -> EncodeTexts:
    from ..engines.triton import EncodeModel, EncoderModel

    settings = read_settings(directory)
    version, max_rows = int(directory.name), settings["reader"]["max_rows"]
    texts = settings.get("texts")
    if texts is None:
        return EncodeModel(version, max_rows)
    from ..engines.tokenizer import TextTokenizer

    tokenizer = TextTokenizer(directory / "tokenizer.json", texts["lengths"][-1])
    return EncoderModel(version, max_rows, tokenizer, texts["lengths"], texts["pad_id"])


def _observer(model: str, version: str) -> Observer:
    """Counts what a handler does, and says in the log why answers are the same for all users."""
    import triton_python_backend_utils as pb_utils

    from .server_metrics import Counters

    def counter(**described: str) -> Callable[..., None]:
        return Counters(model, version, described).increment

    items = counter(
        tritonrec_items_named="Number of events and candidates in requests",
        tritonrec_items_unknown="Number of those that the catalogue lacks and that have no text",
    )
    if model != RECOMMEND.name:
        return Observer(items)
    full_searches = counter(
        tritonrec_full_searches="Number of users for whom the index could not tell the best items, "
        "so that the whole catalogue was scored"
    )
    fallbacks = counter(
        tritonrec_fallbacks="Number of recommend requests answered with popular items, since the "
        "user encoder failed"
    )

    def fell_back(number: int, error: Exception) -> None:
        fallbacks(number)
        reason = "".join(traceback.format_exception(error))
        pb_utils.Logger.log_error(f"{model} answers with popular items: {reason}")

    return Observer(items, fell_back, full_searches)


def _no_texts(texts: Sequence[str]) -> Any:
    raise AssertionError(f"the adapter is given vectors, and was to encode {len(texts)} texts")


class _Adapter(Prompt):
    """Vectors of texts → INTEREST and LOGIT, one request at a time."""

    def __init__(self, rank: UserHandler) -> None:
        self._rank = rank

    def __call__(self, requests: Sequence[Request]) -> list[Outcome]:
        return [attempt(self._answer, request) for request in requests]

    def _answer(self, request: Request) -> Outcome:
        return self._rank.answer_rows(request, request.tensors[VECTOR.name])
