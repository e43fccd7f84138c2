"""Effects of events and words beside integrated gradients, which know networks from inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from scipy import stats
from torch import nn

from builder.model.recommender import Recommender, encode_texts
from builder.model.scoring import TorchUserEncoder, UserEncoderGraph, catalogue_of, histories_of
from model_repository.core.arrays import Floats
from model_repository.core.catalogue import Catalogue
from model_repository.core.items import EDGE, NEIGHBOURS, NO_NEW_ITEMS
from model_repository.core.reasons import event_effects
from model_repository.core.scoring import Scorer
from model_repository.core.users import History
from model_repository.core.word_effects import lost_of_item, without_words
from tests.unit.builder.model.tiny import ITEMS, recommender, sequences, write_backbone
from tests.unit.model_repository.conftest import WORDS, Parts


def test_events_that_speak_for_an_item_do_so_by_integrated_gradients_too(backbone: Path) -> None:
    """Sundararajan et al. (2017), from no events to all of them at once."""
    model = recommender(backbone)
    catalogue = catalogue_of(model, "network")
    scorer = Scorer(catalogue, TorchUserEncoder(model.adapter))
    graph = UserEncoderGraph(model.adapter)
    random = np.random.default_rng(0)
    past = sequences(*[random.permutation(ITEMS)[:6].tolist() for _ in range(20)])
    everything = np.arange(ITEMS, dtype=np.int32)
    alike = []
    for history in histories_of(past, 6):
        places = np.arange(6, dtype=np.int32)
        effects = event_effects(scorer, history, places, everything, NO_NEW_ITEMS)
        for item in everything:
            by_event = _attributed(graph, history, catalogue, item)
            alike.append(stats.spearmanr(by_event, effects[:, item]).statistic)
    low, _ = stats.bootstrap((alike,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert low > 0.1


def _attributed(
    graph: UserEncoderGraph, history: History, catalogue: Catalogue, item: int
) -> Floats:
    """What each of the H events adds to the logit of an item, FP32 [H]."""
    actions, ages = torch.from_numpy(history.actions), torch.from_numpy(history.ages)

    def logit(events: torch.Tensor) -> torch.Tensor:
        users = len(events)
        count = torch.full((users, 1), len(actions), dtype=torch.int32)
        state: torch.Tensor = graph(
            events, actions.expand(users, -1), ages.expand(users, -1), count
        )
        return state @ torch.from_numpy(catalogue.vectors[item])

    vectors = torch.from_numpy(catalogue.vectors[history.slots])[None]
    found: torch.Tensor = IntegratedGradients(logit).attribute(vectors, n_steps=8)
    by_event: Floats = found.detach().sum(-1)[0].numpy()
    return by_event


def test_words_that_count_do_so_by_integrated_gradients_too(parts: Parts, tmp_path: Path) -> None:
    """From padding in the place of all words; two of five words are compared.

    BERT has the small weights that it begins with. Larger ones that nothing was learnt by make of a
    text without a word any other text.
    """
    tokenizer = parts.directory / "tokenizer.json"
    model = recommender(write_backbone(tmp_path, tokenizer, initializer_range=0.02))
    catalogue = catalogue_of(model, "network")
    scorer = Scorer(catalogue, TorchUserEncoder(model.adapter))
    random = np.random.default_rng(0)
    whole_words = [word for word in WORDS if not word.startswith("#")]
    (history,) = histories_of(sequences([3, 7, 1]), 6)
    user = scorer.users([history])

    def encode(texts: Sequence[str]) -> Floats:
        vectors: Floats = encode_texts(model.encoder, model.tokenizer, texts).numpy()
        return vectors

    shares = []
    for _ in range(60):
        text = " ".join(random.permutation(whole_words)[:5])
        fresh = catalogue.neighbourhood.place(encode([text]), catalogue.vectors)
        lost = lost_of_item(scorer, user, -1, without_words(scorer, {-1: text}, fresh, encode))
        logit = scorer.rank(user, 0, np.array([-1], np.int32), fresh).logit[0]
        by_word, told = _attributed_to_words(model, catalogue, text, user.states[0])
        assert told == pytest.approx(logit, abs=1e-3)  # the same function, in PyTorch
        both = set(np.argsort(-lost)[:2]) & set(np.argsort(-by_word)[:2])
        shares.append(len(both) / 2)
    low, _ = stats.bootstrap((shares,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    by_chance = 2 / 5
    assert low > by_chance + 0.2


def _attributed_to_words(
    model: Recommender, catalogue: Catalogue, text: str, state: Floats
) -> tuple[Floats, float]:
    """What each word, a token, adds to the logit of a text FP32 [W], and the logit."""
    nearby = catalogue.neighbourhood
    mean, weight, added, directions, bias, rate = (
        torch.from_numpy(each)
        for each in (
            nearby.text_mean,
            nearby.text_weight,
            nearby.text_bias,
            nearby.directions,
            nearby.bias,
            nearby.rate,
        )
    )
    vectors = torch.from_numpy(catalogue.vectors[nearby.items])
    tokens = torch.tensor([model.tokenizer([text])[0].tokens])
    backbone = model.encoder.backbone
    embed = backbone.get_input_embeddings()  # type: ignore[operator]

    def logit(embedded: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(embedded.shape[:2], dtype=torch.bool)
        hidden = backbone(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        centred = model.encoder.pool(hidden, mask) - mean
        both = [nn.functional.normalize(each) for each in (centred, centred @ weight + added)]
        alike, place = (torch.cat(both, 1) @ directions.T).topk(min(NEIGHBOURS, len(directions)))
        weights = alike - alike[:, -1:] + EDGE
        weights = weights / weights.sum(1, keepdim=True)
        item = torch.einsum("rk,rkd->rd", weights, vectors[place])
        popular = (weights * bias[place]).sum(1) + (weights * rate[place]).sum(1).log()
        return item @ torch.from_numpy(state) + popular

    words = embed(tokens)
    nothing = words.clone()
    nothing[:, 1:-1] = embed(torch.tensor(model.encoder.pad_id))
    found = IntegratedGradients(logit).attribute(words, nothing, n_steps=32)
    by_word: Floats = found.detach().sum(-1)[0, 1:-1].numpy()
    return by_word, float(logit(words).item())
