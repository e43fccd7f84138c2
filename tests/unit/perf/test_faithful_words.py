"""Whether named words count, in models where it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.data import DataConfig, Holdout
from builder.model.recommender import encode_texts
from builder.reports.trained_run import TrainedRun
from builder.training.config import TrainingConfig
from model_repository.core.score_terms import Users
from model_repository.core.words import words_of
from perf import faithful_words
from perf.faithful_words import WORD_WAYS, word_figures
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, split_of, write_backbone
from tests.unit.model_repository.conftest import WORDS, Parts

USERS = 60


def histories(number: int = USERS) -> Holdout:
    """Users who have seen a third of the items, in any order."""
    random = np.random.default_rng(0)
    rows = [random.permutation(ITEMS)[: ITEMS // 3].tolist() for _ in range(number)]
    return Holdout(sequences(*rows), np.zeros(number, np.int32))


@pytest.fixture
def loaded(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedRun:
    """A tiny run of items with six words each, whose lists hold two of eight items."""
    monkeypatch.setattr(faithful_words, "K", 2)
    random = np.random.default_rng(1)
    words = [word for word in WORDS if not word.startswith("#")]
    texts = [" ".join(random.permutation(words)[:6]) for _ in range(ITEMS)]
    backbone = write_backbone(
        tmp_path / "bert", parts.directory / "tokenizer.json", initializer_range=0.02
    )
    model = recommender(backbone)
    model = replace(
        model,
        catalogue=replace(model.catalogue, texts=texts),
        text_vectors=encode_texts(model.encoder, model.tokenizer, texts),
    )
    log = sequences([0, 1, 2], [1, 2, 3])
    config = TrainingConfig(DataConfig(tmp_path), str(backbone))
    return TrainedRun(tmp_path, model, config, split_of(log, histories()))


def test_named_words_keep_a_text_in_the_list(loaded: TrainedRun) -> None:
    found = word_figures(loaded, histories())
    assert 20 <= found["users"] <= USERS
    assert found["users"] <= found["texts"] <= 3 * found["users"]
    shares = found["faithfulness"]
    assert tuple(shares) == WORD_WAYS
    for kept, sign in (("alone", 1), ("without", -1)):
        share = {way: sign * row[kept]["share"] for way, row in shares.items()}
        assert share["named"] > max(share["first"], share["random"])
    for row in shares.values():
        for each in row.values():
            low, high = each["interval"]
            assert 0 <= low <= each["share"] <= high <= 1


def test_as_many_of_the_first_words_stand_beside(loaded: TrainedRun) -> None:
    lists = faithful_words._Lists(loaded, histories())
    users = lists._scorer.users([lists._histories[0]])
    for text in lists._texts:
        chosen = lists._chosen(text, users)
        assert len({len(words) for words in chosen.values()}) == 1
        assert chosen["first"] == set(range(len(chosen["named"])))
        assert text.only(chosen["first"]).split() == text.text.split()[: len(chosen["first"])]


def test_an_item_is_no_neighbour_of_its_own_text(loaded: TrainedRun) -> None:
    lists = faithful_words._Lists(loaded, histories())
    for item, text in enumerate(lists._texts):
        assert item not in text.whole.items
        assert text.whole.items.shape == (1, ITEMS - 1)


def test_what_was_seen_is_no_item_of_the_list(
    loaded: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = faithful_words._Lists(loaded, histories())
    asked: list[int] = []
    chosen = lists._chosen

    def noted(text: faithful_words._Text, users: Users) -> dict[str, set[int]]:
        asked.append(text.item)
        return chosen(text, users)

    monkeypatch.setattr(lists, "_chosen", noted)
    for user in range(USERS):
        asked.clear()
        lists.stays(user)
        assert not set(asked) & set(histories().histories.items_of(user).tolist())


def test_texts_of_few_words_tell_nothing(loaded: TrainedRun) -> None:
    texts = [" ".join(text.split()[:3]) for text in loaded.model.catalogue.texts]
    model = replace(loaded.model, catalogue=replace(loaded.model.catalogue, texts=texts))
    assert len(words_of(texts[0])) == 3
    assert word_figures(replace(loaded, model=model), histories()) == {}
