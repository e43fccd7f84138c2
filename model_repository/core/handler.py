"""Answers ``rank`` and ``recommend``: users come in, scored items go out.

One handler for both layouts: what encodes users and texts is handed to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from . import policy
from .arrays import NO_ITEMS, Floats, Indices
from .batch import Later, Outcome, Request, Tensors, attempt, attempt_together
from .catalogue import Candidates
from .contract import (
    EXPLAIN,
    FALLBACK,
    INTEREST,
    ITEM,
    ITEM_INTEREST,
    ITEM_LOGIT,
    LOGIT,
    ON_UNKNOWN,
    QUERY,
    RANK,
    RANK_TEXTS,
    SIMILARITY,
    SKIPPED,
    TIME,
    TREND_TIME,
    TRUNCATED,
)
from .errors import InvalidRequest, Overloaded, Unavailable, UserEncoderFailed
from .items import NO_NEW_ITEMS, NewItems
from .list_maker import ListMaker
from .policy.facts import FactsSource, FixedFacts
from .reasons import Explained, Reason, no_reasons, reasons, written
from .requests import RequestReader, UserRequest
from .score_terms import Users
from .scoring import Scorer
from .similarity import Held, Similarity
from .users import NO_ITEM, History


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Vectors FP32 [R, h] of texts, and which of them were cut to the longest length, INT32 [R]."""

    vectors: Floats
    truncated: Indices


EncodeTexts = Callable[[Sequence[str]], EncodedTexts]
"""Encodes any number of texts."""


@dataclass(frozen=True, slots=True)
class Observer:
    """What is told of the work of a handler.

    Attributes
    ----------
    items
        For each batch that is scored, how many events and candidates it names, and how many of
        them are unknown and have no text.
    fell_back
        How many requests get a list that is the same for all users, and why.
    searched_in_full
        For each batch, for how many users an index could not tell the best items, so that the
        whole catalogue was scored.
    """

    items: Callable[[int, int], None] = lambda _named, _unknown: None
    fell_back: Callable[[int, Exception], None] = lambda _number, _error: None
    searched_in_full: Callable[[int], None] = lambda _number: None


UNOBSERVED: Final = Observer()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was found in order, and of ``recommend`` what the policy makes of it."""

    request: UserRequest
    plan: policy.Plan | None = None

    def without_texts(self) -> _Asked:
        return replace(self, request=self.request.without_texts())


@dataclass(frozen=True, slots=True)
class _User:
    """A request, with slots that name rows of the texts of the whole batch.

    ``anchor`` is the vector FP32 [h] of the text that its list is to be like; None without one.
    ``texts`` are those of the request by their slots, where they were encoded.
    """

    asked: _Asked
    history: History
    candidates: Indices
    truncated: int
    anchor: Floats | None = None
    texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def request(self) -> UserRequest:
        return self.asked.request

    @property
    def plan(self) -> policy.Plan:
        assert self.asked.plan is not None
        return self.asked.plan


class UserHandler:
    """What ``rank`` and ``recommend`` have in common.

    Parameters
    ----------
    encode_texts
        Called once for the new texts of a batch.
    """

    def __init__(
        self,
        reader: RequestReader,
        scorer: Scorer,
        encode_texts: EncodeTexts,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._reader = reader
        self._scorer = scorer
        self._encode_texts = encode_texts
        self._observer = observer

    def __call__(self, requests: Sequence[Request]) -> list[Outcome | Later]:
        """The answer to each request; those that bring texts are put off."""
        found: list[_Asked | Exception] = [attempt(self._read, request) for request in requests]
        prompt = [
            each for each in found if not isinstance(each, Exception) and not each.request.texts
        ]
        answers = iter(attempt_together(self._answer, prompt))
        return [
            each
            if isinstance(each, Exception)
            else Later(each)
            if each.request.texts
            else next(answers)
            for each in found
        ]

    def finish(self, waiting: Sequence[Later]) -> list[Outcome]:
        """The answers to requests that bring texts.

        Where these cannot be encoded, a request that skips what is unknown goes on without them,
        unless its list is to be like one of them.
        """
        requests: list[_Asked] = [each.request for each in waiting]
        found = attempt_together(self._answer, requests)
        spared = [
            place
            for place, each in enumerate(found)
            if isinstance(each, Unavailable)
            and requests[place].request.options[ON_UNKNOWN.name] == "skip"
            and not requests[place].request.anchored_to_text
        ]
        again = attempt_together(self._answer, [requests[each].without_texts() for each in spared])
        for place, outcome in zip(spared, again, strict=True):
            found[place] = outcome
        return found

    def close(self) -> None:
        """Do nothing: what is held ends with the process."""

    def answer_rows(self, request: Request, vectors: Floats) -> Tensors:
        """The answer to a request whose texts are encoded: rows FP32 [R, h] of ``vectors``."""
        read = self._reader.read_rows(request, len(vectors))
        if read.options[EXPLAIN.name]:
            raise InvalidRequest(
                f"parameter {EXPLAIN.name} is true, and {RANK_TEXTS.name} gives no reasons, since "
                f"it has vectors of texts alone; ask the model {RANK.name}"
            )
        fresh = self._scorer.catalogue.neighbourhood.place(vectors, self._scorer.catalogue.vectors)
        (answer,) = self._scored([_User(_Asked(read), read.history, read.candidates, 0)], fresh)
        return answer

    def _read(self, request: Request) -> _Asked:
        return _Asked(self._reader.read(request))

    def _answer(self, asked: Sequence[_Asked]) -> list[Tensors]:
        rows: dict[str, int] = {}
        for each in asked:
            for text in each.request.texts:
                rows.setdefault(text, len(rows))
        if not rows:
            users = [
                _User(each, each.request.history, each.request.candidates, 0) for each in asked
            ]
            return self._scored(users, NO_NEW_ITEMS)
        encoded = self._encoded(list(rows))
        catalogue = self._scorer.catalogue
        fresh = catalogue.neighbourhood.place(encoded.vectors, catalogue.vectors)
        return self._scored([_user(each, rows, encoded) for each in asked], fresh)

    def _encoded(self, texts: Sequence[str]) -> EncodedTexts:
        try:
            return self._encode_texts(texts)
        except Unavailable as error:
            raise Unavailable(
                f"{error}; call again, send items that the catalogue knows, or set the parameter "
                f"{ON_UNKNOWN.name} to 'skip' to go on without the texts"
            ) from error

    def _scored(self, users: Sequence[_User], fresh: NewItems) -> list[Tensors]:
        candidates = np.concatenate([user.candidates for user in users])
        self._observer.items(
            sum(user.request.events for user in users) + len(candidates),
            sum(user.request.skipped for user in users) + np.count_nonzero(candidates == NO_ITEM),
        )
        try:
            found = self._scorer.users(
                [user.history for user in users],
                fresh,
                np.stack([user.request.profile for user in users]),
                [user.request.options[TIME.name] for user in users],
            )
        except UserEncoderFailed as error:
            answers = self._without_states(users, error)
        else:
            answers = self._answers(users, found, fresh)
            if found.trend:
                answers = [
                    {**each, TREND_TIME.name: np.array([[found.trend_of(place).time]], np.int64)}
                    for place, each in enumerate(answers)
                ]
        return [
            {
                **answer,
                SKIPPED.name: np.array([[user.request.skipped]], np.int32),
                TRUNCATED.name: np.array([[user.truncated]], np.int32),
            }
            for user, answer in zip(users, answers, strict=True)
        ]

    def _without_states(self, users: Sequence[_User], error: UserEncoderFailed) -> list[Tensors]:  # noqa: ARG002
        raise error

    def _answers(self, requests: Sequence[_User], users: Users, fresh: NewItems) -> list[Tensors]:
        raise NotImplementedError

    def _reasons(self, user: Users, explained: Explained) -> list[Reason] | None:
        """The reason of each item; None where the network fails: the answer is as good without."""
        try:
            return reasons(
                self._scorer, user, explained, lambda texts: self._encode_texts(texts).vectors
            )
        except (UserEncoderFailed, Overloaded):
            return None


class Rank(UserHandler):
    """INTEREST and LOGIT [1, N] of the candidates of each request; REASON of one that asks."""

    def _answers(self, requests: Sequence[_User], users: Users, fresh: NewItems) -> list[Tensors]:
        answers: list[Tensors] = []
        for place, each in enumerate(requests):
            scores = self._scorer.rank(users, place, each.candidates, fresh)
            answer = {
                INTEREST.name: scores.interest[np.newaxis],
                LOGIT.name: scores.logit[np.newaxis],
            }
            if each.request.options[EXPLAIN.name]:
                answer |= self._explained(each, users[[place]], scores.logit, fresh)
            answers.append(answer)
        return answers

    def _explained(self, each: _User, user: Users, logit: Floats, fresh: NewItems) -> Tensors:
        """A candidate that was skipped as unknown has an empty reason."""
        slots, first, where = np.unique(each.candidates, return_index=True, return_inverse=True)
        known = slots != NO_ITEM
        asked = Explained(slots[known], logit[first[known]], each.request.places, fresh, each.texts)
        found = self._reasons(user, asked)
        if found is None:
            return {}
        told = [*([{}] * int((~known).sum())), *found]  # `NO_ITEM` is the least slot
        return written([told[place] for place in where])


class Recommend(UserHandler):
    """ITEM, INTEREST and LOGIT [1, k] of the best items for each request, best first.

    Where a request says what they are to be like, SIMILARITY [1, k] says how much they are.

    Where the user encoder fails, these are the catalogue's popular items, if it has any, or what is
    similar, with NaN for INTEREST and LOGIT, and FALLBACK says so.

    Parameters
    ----------
    facts
        What rules are about; None for the attributes of the catalogue alone.
    similarity
        Says what is alike; None to read the whole catalogue for it.
    """

    def __init__(
        self,
        reader: RequestReader,
        scorer: Scorer,
        encode_texts: EncodeTexts,
        observer: Observer = UNOBSERVED,
        facts: FactsSource | None = None,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(reader, scorer, encode_texts, observer)
        self._lists = ListMaker(scorer)
        self._facts = facts or FixedFacts(scorer.catalogue)
        self._similarity = similarity or Similarity(scorer.catalogue)

    def _read(self, request: Request) -> _Asked:
        read = self._reader.read(request)
        plan = policy.plan(read, self._scorer.catalogue, self._facts.current())
        return _Asked(plan.request, plan)

    def close(self) -> None:
        self._facts.close()

    def _without_states(self, users: Sequence[_User], error: UserEncoderFailed) -> list[Tensors]:
        popular = self._scorer.catalogue.popular
        # Where it may be the fault of one of them, each is tried alone first.
        if not len(popular) or (len(users) > 1 and not isinstance(error, Unavailable)):
            raise error
        self._observer.fell_back(len(users), error)
        fallback = {FALLBACK.name: np.ones((1, 1), np.int32)}
        answers: list[Tensors] = []
        for each in users:
            held = self._held(each)
            if held is None:
                chosen = self._lists.popular(each.plan)
            else:
                unmasked = self._held(each, masked=False) if each.plan.traced else None
                chosen = self._lists.similar(each.plan, held, unmasked)
            answer = {**self._listed(each.plan, chosen, held), **fallback}
            if each.request.options[EXPLAIN.name]:
                answer |= written(no_reasons(len(chosen)))
            answers.append(answer)
        return answers

    def _answers(
        self,
        requests: Sequence[_User],
        users: Users,
        fresh: NewItems,
    ) -> list[Tensors]:
        helds = [self._held(each) for each in requests]
        anywhere = [place for place, held in enumerate(helds) if held is None]
        best: dict[int, Candidates] = {}
        if anywhere:
            plans = [requests[place].plan for place in anywhere]
            asking = users if len(anywhere) == len(requests) else users[anywhere]
            found = self._lists.candidates(asking, plans)
            best = dict(zip(anywhere, found, strict=True))
        answers: list[Tensors] = []
        for place, (each, held) in enumerate(zip(requests, helds, strict=True)):
            plan = each.plan
            if held is None and plan.plain:
                answers.append(self._listed(plan, best[place], None))
                continue
            user = users[[place]]
            candidates = best[place] if held is None else held.best(user, plan.wanted)
            chosen = self._lists.listed(
                plan,
                candidates,
                user,
                held or self._lists.anywhere(plan),
                self._held(each, masked=False) if plan.traced else None,
            )
            answer = self._listed(plan, chosen, held)
            if each.request.options[EXPLAIN.name]:
                told = self._reasons(
                    user,
                    Explained(
                        chosen.index,
                        chosen.logit,
                        each.request.places,
                        fresh,
                        each.texts,
                        plan.rules(chosen),
                    ),
                )
                answer |= {} if told is None else written(told)
            answers.append(answer)
        return answers

    def _held(self, each: _User, *, masked: bool = True) -> Held | None:
        """What the list of a user is held to, without what is ``masked``; None for nothing."""
        anchor, plan = each.request.anchor, each.plan
        if anchor == NO_ITEM:
            return None
        if each.anchor is None:
            likeness = self._similarity.to_item(anchor)
        elif each.request.options[QUERY.name].strip():
            likeness = self._similarity.to_query(each.anchor)
        else:
            likeness = self._similarity.to_text(each.anchor)
        if masked:
            return Held(self._scorer, likeness, plan.masked, plan.allowed)
        return Held(self._scorer, likeness, NO_ITEMS, None)

    def _listed(
        self, plan: policy.Plan, chosen: Candidates, held: Held | None
    ) -> dict[str, NDArray[Any]]:
        similar = held and {SIMILARITY.name: held.similarity(chosen.index)[np.newaxis]}
        return {
            ITEM.name: self._scorer.catalogue.ids.strings.take(chosen.index)[np.newaxis],
            ITEM_INTEREST.name: chosen.interest[np.newaxis],
            ITEM_LOGIT.name: chosen.logit[np.newaxis],
            **plan.outputs(chosen),
            **(similar or {}),
        }


def _user(asked: _Asked, rows: Mapping[str, int], encoded: EncodedTexts) -> _User:
    """The user of a request; ``rows`` says where the texts of the batch are."""
    request = asked.request
    where = np.array([rows[text] for text in request.texts], np.int32)
    history = request.history
    return _User(
        asked,
        History(_renumbered(history.slots, where), history.actions, history.ages),
        _renumbered(request.candidates, where),
        int(encoded.truncated[where].sum()),
        encoded.vectors[where[-request.anchor - 1]] if request.anchored_to_text else None,
        {-rows[text] - 1: text for text in request.texts},
    )


def _renumbered(slots: Indices, where: Indices) -> Indices:
    """Slots whose text r is row ``where[r]``."""
    if not len(where):
        return slots
    texts = (slots < 0) & (slots != NO_ITEM)
    renumbered = slots.copy()
    renumbered[texts] = -where[-slots[texts] - 1] - 1
    return renumbered
