"""The results of the client's calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from client.errors import RecommenderError, Unsupported
from client.sentences import ENGLISH, Sentences, titles_of

User = TypeVar("User")
Result = TypeVar("Result")

PropensityKind = Literal["exact", "estimated", "deterministic"]
"""How propensities are known: computed, from at least 1,000 draws, or since no chance decided."""

Activation = Literal["softmax", "sigmoid", "none"]
"""What made a classifier's probabilities: one label applies to a text (``softmax``), each label
applies or not by itself (``sigmoid``), or they are values of a regression (``none``)."""


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item and how much the user is expected to care for it.

    Attributes
    ----------
    id
        The item's id.
    interest
        Calibrated probability, 0 to 1; NaN for a candidate skipped as unknown.
    logit
        The score before calibration; it orders items as ``interest`` does, without saturating.
    """

    id: str
    interest: float
    logit: float


@dataclass(frozen=True, slots=True, eq=False)
class _ScoredItems(Sequence[ScoredItem]):
    """A sequence of :class:`ScoredItem`, kept as columns.

    Attributes
    ----------
    ids
        Item ids [n].
    items
        Deprecated, the earlier name of ``ids``. To get the items themselves, iterate.
    interests
        FP32 [n], read-only. Probabilities, 0 to 1.
    logits
        FP32 [n], read-only.
    skipped
        Events of the history that were left out: not in the catalogue and without a text.
    truncated
        Texts that were cut to the longest length that the encoder reads. Of a ranking that was
        split into several requests, at least so many: where the history has texts too, each
        request counts those again, and their number is not known.
    trend_time
        Unix seconds as of which the server knew what is popular; None where its model does not
        ask, or could not.
    """

    items: tuple[str, ...]
    interests: NDArray[np.float32]
    logits: NDArray[np.float32]
    skipped: int
    truncated: int
    trend_time: int | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return self.items

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> ScoredItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[ScoredItem]: ...
    def __getitem__(self, index: int | slice) -> ScoredItem | list[ScoredItem]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return ScoredItem(
            self.items[index], float(self.interests[index]), float(self.logits[index])
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ranking(_ScoredItems):
    """The candidates of a ``rank`` call, in the order asked; see :meth:`sorted`.

    A candidate that was skipped as unknown (``on_unknown="skip"``) has NaN as its interest and
    its logit, and an empty reason.

    Attributes
    ----------
    reasons
        Why each candidate is ranked so, with the option ``explain``, in the order asked; None
        without it, and where the server's network over users failed meanwhile.
    """

    reasons: tuple[Reason, ...] | None = None

    def sorted(self) -> list[ScoredItem]:
        """Return the candidates best first: ties in the order asked, skipped ones last."""
        # Stable, on the negated score: numpy sorts NaN last.
        order = np.argsort(-self.logits, kind="stable")
        return [self[position] for position in order.tolist()]


@dataclass(frozen=True, slots=True)
class Trace:
    """What the rules of a request did to its list.

    Attributes
    ----------
    items
        By the id of an item of the list, the rules that changed its score or its rank.
    removed
        By the id of an item, the rule that took it out of the list: without this rule and those
        after it the item would be there.
    unmet
        Quotas that are not met.
    """

    items: Mapping[str, Sequence[str]]
    removed: Mapping[str, str]
    unmet: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReasonWord:
    """A word of a text that speaks for an item.

    Attributes
    ----------
    word
        As it is first written in the text.
    effect
        How much smaller the logit, or the effect of the event, is without the word; above 0.
    """

    word: str
    effect: float


@dataclass(frozen=True, slots=True)
class ReasonEvent:
    """An event of the history that speaks for an item.

    Attributes
    ----------
    place
        Of the event in the history that was passed, from 0.
    id
        Of its item, as passed.
    effect
        How much larger the item's logit is for a user who did this alone, than for a new user;
        above 0.
    words
        Of an event that the catalogue knows by its text alone, the words that count most,
        strongest first; three at most.
    """

    place: int
    id: str
    effect: float
    words: tuple[ReasonWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is recommended, or ranked so.

    Attributes
    ----------
    events
        The events that speak most for it, strongest first; three at most, none for a new user.
    terms
        The parts of its logit by their names; they sum up to the logit. docs/policy-reasons.md
        says what they are.
    neighbours
        Of an item without training events, the nearest of those in whose place it stands.
    rules
        The rules of the request that moved it.
    fallback
        Whether it is only popular, since the server's network over users failed.
    words
        Of a ranked item that the catalogue lacks, the words of its text that count most, strongest
        first; three at most.
    """

    events: tuple[ReasonEvent, ...] = ()
    terms: Mapping[str, float] = field(default_factory=dict)
    neighbours: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    fallback: bool = False
    words: tuple[ReasonWord, ...] = ()

    def sentence(self, titles: Mapping[str, str], sentences: Sentences = ENGLISH) -> str:
        """Say it to the user, such as "because you liked Alien and Aliens".

        The words are said that count for the item: of its own text, or else of the first event that
        is named and has some.

        Parameters
        ----------
        titles
            Of items, by their ids. Items without one are not named: leave out what the user did
            not like.
        """
        liked = [event for event in self.events if event.id in titles]
        words = [self.words, *(event.words for event in liked[: len(sentences.events)])]
        counted = [each.word for each in next(filter(None, words), ())]
        said = [
            sentences.naming_events(titles_of([event.id for event in liked], titles)),
            sentences.naming_words(counted),
        ]
        if any(said):
            return ", ".join(filter(None, said))
        if named := titles_of(self.neighbours, titles):
            return sentences.naming_neighbours(named)
        return sentences.popular


@dataclass(frozen=True, slots=True, eq=False)
class Recommendations(_ScoredItems):
    """The items of a ``recommend`` call, best first; fewer than asked where no more exist.

    Attributes
    ----------
    fallback
        Whether these are popular items, the same for all users, since the server's network over
        users failed. Their interests and logits are NaN then.
    cursor
        Of a call with ``cursor``: what to pass as ``cursor`` for the next page, with all else the
        same; None after the last one.
    trace
        Of a call with ``trace``: which rules moved or removed items; else None.
    propensities
        FP32 [n], read-only. How likely each item was to be shown at its rank, given those before
        it, above 0; None unless the call asks to ``explore``.
    propensity_kind
        How the propensities are known; None where there are none. With ``deterministic`` they are 1
        and say nothing of what another list would have brought.
    similarities
        FP32 [n], read-only. The cosine of each item with the item, the text or the query that the
        list is to be like, at most 1; None unless the call names one.
    reasons
        Why each item is recommended, with the option ``explain``; None without it, and where the
        server's network over users failed meanwhile.
    """

    fallback: bool = False
    cursor: str | None = None
    trace: Trace | None = None
    propensities: NDArray[np.float32] | None = None
    propensity_kind: PropensityKind | None = None
    reasons: tuple[Reason, ...] | None = None
    similarities: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """The vectors of an ``encode`` call.

    Attributes
    ----------
    vectors
        FP32 [B, h], read-only; row i belongs to text i. h is the width of the text encoder.
    truncated
        bool [B]: the text was cut to the longest length that the encoder reads.
    """

    vectors: NDArray[np.float32]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The labels of a ``classify`` call.

    Attributes
    ----------
    probabilities
        FP32 [B, labels], read-only; row i belongs to text i, column j to label j. A row sums to 1
        with the activation ``softmax`` only; with ``none`` its values are no probabilities.
    truncated
        bool [B]: the text, or pair, was cut to the longest length that the classifier reads.
    labels
        Names of the labels [labels]; ``LABEL_0`` and so on where the server does not say.
    activation
        How the probabilities are to be read; None where the server does not say.
    """

    probabilities: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    labels: tuple[str, ...]
    activation: Activation | None

    def predicted(self) -> list[tuple[str, ...]]:
        """Return the labels that apply to each text, [B].

        With ``softmax`` the most probable one, with ``sigmoid`` all that are as likely as not
        (0.5) or more, which may be none.

        Raises
        ------
        Unsupported
            The values are those of a regression, or the server does not tell what they are.
        """
        if self.activation == "softmax":
            return [(self.labels[best],) for best in self.probabilities.argmax(axis=1)]
        if self.activation == "sigmoid":
            return [
                tuple(label for label, applies in zip(self.labels, row, strict=True) if applies)
                for row in self.probabilities >= 0.5
            ]
        raise Unsupported(
            "a regression predicts values and no labels; read probabilities"
            if self.activation == "none"
            else "the server does not tell how its probabilities are to be read; let this client "
            "see the configuration of model 'classify', or read probabilities"
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of the events of an ``observe`` call; of several servers, where fewest counted.

    Attributes
    ----------
    accepted
        Events that are counted now.
    unknown
        Events of items that the catalogue lacks. They are kept for the next version of the model.
    repeated
        Events of an id that was sent before.
    """

    accepted: int
    unknown: int
    repeated: int


@dataclass(frozen=True, slots=True, eq=False)
class Answer(Generic[User, Result]):
    """What came of one user of ``rank_many`` or ``recommend_many``, or item of ``related_many``.

    Attributes
    ----------
    position
        Of the user in what was passed, from 0.
    user
        As passed; the item of ``related_many``.
    result
        None where ``error`` is set.
    error
        What kept the call from its result; only with ``on_error="return"``.
    """

    position: int
    user: User
    result: Result | None
    error: RecommenderError | None = None


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A tensor of a model; -1 in ``shape`` is an axis that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model as the server describes it.

    ``trend_until`` is the end of the log that it was exported from, in Unix seconds; None where it
    does not ask what is popular, or the server does not show its configuration.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    trend_until: int | None = None


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The server, and the models asked for."""

    name: str
    version: str
    extensions: tuple[str, ...]
    models: Mapping[str, ModelMetadata]


@dataclass(frozen=True, slots=True)
class Times:
    """How often something was done, and for how many seconds in all."""

    count: int
    seconds: float

    @property
    def mean(self) -> float:
        """Seconds each time; NaN for what was never done."""
        return self.seconds / self.count if self.count else float("nan")


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What a server counted for one version of one model since it was loaded.

    Attributes
    ----------
    server
        Address of the server.
    inferences
        Rows inferred, one for a model without batching.
    executions
        Batches; fewer than requests where Triton merged some.
    success, fail
        Whole requests, from arrival to answer. A cancelled request is counted as failed.
    queue, compute_input, compute_infer, compute_output
        Their parts: waiting for an execution, and the execution's three phases.
    """

    server: str
    name: str
    version: str
    inferences: int
    executions: int
    success: Times
    fail: Times
    queue: Times
    compute_input: Times
    compute_infer: Times
    compute_output: Times
