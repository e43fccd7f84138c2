"""Whether the words that reasons name are the ones that count, for `perf.faithfulness`.

Each item is ranked as a text that the catalogue lacks, so it is no neighbour of its own. Where it
would be in a user's first ten, the text is cut down to some of its words, or these are taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from builder.data import Holdout
from builder.model.recommender import Recommender, encode_texts
from builder.model.scoring import TorchUserEncoder, catalogue_of, histories_of
from builder.reports.trained_run import TrainedRun
from model_repository.core.arrays import Floats
from model_repository.core.items import NewItems
from model_repository.core.reasons import NAMED, strongest
from model_repository.core.score_terms import Users
from model_repository.core.scoring import Scorer
from model_repository.core.word_effects import WithoutWords, lost_of_item, without_words
from model_repository.core.words import Word, without
from perf.kept_shares import kept_shares
from perf.options import note

K: Final = 10
"""Length of a list."""
WORD_WAYS: Final = ("named", "alone", "mean of both", "first", "random")
"""How words are chosen: as reasons do, by what each brings to a text that has no other, by the mean
of both; as many of the first words, and as many at random."""
_ITEMS: Final = 3
"""Texts of a user, the best ones."""
_EVERY: Final = 100
_SLOT: Final = -1
"""What names the text of an item among its own new items."""


def word_figures(loaded: TrainedRun, asked: Holdout) -> dict[str, Any]:
    """For each of `WORD_WAYS`, the share of a user's texts that stay in the first ten.

    ``alone`` is with the chosen words as the whole text, ``without`` is with all others. Only texts
    with more than `NAMED` words count. Nothing is returned where there is none.
    """
    lists = _Lists(loaded, asked)
    shares, texts = [], 0
    for user in range(len(asked)):
        if user % _EVERY == 0:
            note(f"words: user {user} of {len(asked)}")
        stays = lists.stays(user)
        texts += len(stays)
        if stays:
            shares.append(np.mean(stays, axis=0).ravel())
    if not shares:
        return {}
    return {
        "users": len(shares),
        "texts": texts,
        "faithfulness": kept_shares(shares, WORD_WAYS),
    }


class _Encoder:
    """Encodes texts, each once."""

    def __init__(self, model: Recommender) -> None:
        self._model = model
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = encode_texts(self._model.encoder, self._model.tokenizer, new).numpy()
            self._known.update(zip(new, found, strict=True))
        return np.stack([self._known[text] for text in texts])


@dataclass(frozen=True)
class _Text:
    """An item as a text that the catalogue lacks."""

    known: Scorer
    users: TorchUserEncoder
    item: int
    text: str
    encode: _Encoder

    @property
    def scorer(self) -> Scorer:
        """Without the item among the neighbours of texts. To keep all would take gigabytes."""
        nearby = self.known.catalogue.neighbourhood
        others = nearby.items != self.item
        left = replace(
            nearby,
            items=nearby.items[others],
            directions=nearby.directions[others],
            bias=nearby.bias[others],
            rate=nearby.rate[others],
        )
        return Scorer(replace(self.known.catalogue, neighbourhood=left), self.users)

    def placed(self, *texts: str) -> NewItems:
        catalogue = self.scorer.catalogue
        return catalogue.neighbourhood.place(self.encode(list(texts)), catalogue.vectors)

    @cached_property
    def whole(self) -> NewItems:
        return self.placed(self.text)

    @cached_property
    def lacking(self) -> WithoutWords:
        return without_words(self.scorer, {_SLOT: self.text}, self.whole, self.encode)

    @property
    def words(self) -> list[Word]:
        return list(self.lacking.words.get(_SLOT, ()))

    def only(self, kept: set[int]) -> str:
        return without(
            self.text, [word for place, word in enumerate(self.words) if place not in kept]
        )

    @cached_property
    def each_alone(self) -> NewItems:
        """The text of no word, and of each alone."""
        kept: list[set[int]] = [set(), *({place} for place in range(len(self.words)))]
        return self.placed(*map(self.only, kept))


def _logits(scorer: Scorer, user: Users, fresh: NewItems) -> Floats:
    """Of new items FP32 [R]."""
    return scorer.rank(user, 0, -1 - np.arange(len(fresh.bias), dtype=np.int32), fresh).logit


class _Lists:
    """The lists of users, and their items as texts."""

    def __init__(self, loaded: TrainedRun, asked: Holdout) -> None:
        model = loaded.model
        users = TorchUserEncoder(model.adapter)
        self._scorer = Scorer(catalogue_of(model, "timeless"), users)
        self._sequences = asked.histories
        self._histories = histories_of(asked.histories, model.adapter.config.max_history)
        self._random = np.random.default_rng(0)
        encode = _Encoder(model)
        encode(list(model.catalogue.texts))  # together is quicker
        self._texts = [
            _Text(self._scorer, users, item, text, encode)
            for item, text in enumerate(model.catalogue.texts)
        ]
        self._whole = reduce(NewItems.followed_by, [text.whole for text in self._texts])

    def stays(self, user: int) -> list[NDArray[np.bool_]]:
        """BOOL [2, WORD_WAYS] of each item: whether it stays, with chosen words and without."""
        profiles = self._sequences.profiles
        users = self._scorer.users(
            [self._histories[user]], profiles=None if profiles is None else profiles[[user]]
        )
        seen = self._sequences.items_of(user)
        (logits,) = self._scorer.logits(users)
        logits[seen] = -np.inf
        # The tenth of the others.
        least = np.full(len(logits), np.sort(logits)[-K])
        listed = np.argsort(logits)[-K:]
        least[listed] = np.sort(logits)[-K - 1]
        as_texts = _logits(self._scorer, users, self._whole)
        as_texts[seen] = -np.inf
        order = np.argsort(-as_texts, kind="stable")
        found: list[NDArray[np.bool_]] = []
        for item in order[as_texts[order] > least[order]].tolist():
            text = self._texts[item]
            if len(text.words) <= NAMED:
                continue
            chosen = self._chosen(text, users)
            if not chosen["named"]:
                continue
            everything = set(range(len(text.words)))
            parts = [text.only(words) for words in chosen.values()]
            parts += [text.only(everything - words) for words in chosen.values()]
            stays = _logits(self._scorer, users, text.placed(*parts)) > least[item]
            found.append(stays.reshape(2, len(WORD_WAYS)))
            if len(found) == _ITEMS:
                break
        return found

    def _chosen(self, text: _Text, users: Users) -> dict[str, set[int]]:
        """The words that each way chooses, of `WORD_WAYS` in their order."""
        lost = lost_of_item(self._scorer, users, _SLOT, text.lacking)
        of_none, *of_each = _logits(self._scorer, users, text.each_alone)
        alone = np.array(of_each, np.float32) - of_none
        number, words = len(strongest(lost)), len(lost)
        effects = {"named": lost, "alone": alone, "mean of both": (lost + alone) / 2}
        chosen = {way: np.argsort(-each, kind="stable")[:number] for way, each in effects.items()}
        chosen["first"] = np.arange(number)
        chosen["random"] = self._random.choice(words, number, replace=False)
        return {way: set(chosen[way].tolist()) for way in WORD_WAYS}
