from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional

from builder.model.interest import InterestAdapter
from builder.model.recommender import item_vectors as recommender_vectors
from builder.training import objective as module
from builder.training.objective import NO_TARGET, NextItemObjective, TuningObjective
from builder.training.text_vectors import FrozenTextVectors
from builder.training.windows import Batch
from tests.unit.builder.model.tiny import ITEMS, adapter

POPULARITY = torch.tensor([5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 0])  # the last is cold
UNMET = ITEMS - 1
BATCH: Batch = {
    "items": torch.tensor([[0, 1, 2], [3, 4, 0]]),
    "targets": torch.tensor([[0, 1, 2, 5], [NO_TARGET, 4, 7, NO_TARGET]]),
    "actions": torch.tensor([[1, 2, 0], [1, 1, 0]]),
    "gaps": torch.tensor([[0, 3, 4], [0, 9, 0]]),
}


def made(*, id_dropout: float = 0.0, feature_dropout: float = 0.0) -> NextItemObjective:
    text = torch.randn(ITEMS, 16, generator=torch.Generator().manual_seed(0))
    objective = NextItemObjective(
        adapter(dropout=0),
        FrozenTextVectors(text),
        POPULARITY,
        id_dropout=id_dropout,
        feature_dropout=feature_dropout,
    )
    return objective.eval()


def item_vectors(objective: NextItemObjective) -> tuple[torch.Tensor, torch.Tensor]:
    network = objective.adapter
    warm = POPULARITY > 0
    text = network.from_text(objective.text(torch.arange(ITEMS)))
    return text + network.residual.weight * warm.unsqueeze(1), network.bias * warm


@torch.no_grad()
def test_an_average_of_the_last_steps_ranks_and_is_what_is_left() -> None:
    objective = made()
    average = torch.empty(0)
    for step in range(300):
        objective.adapter.bias.fill_(step % 7)
        objective.after_step()
        kept = min(module.AVERAGED, (1 + step) / (10 + step)) if step else 0
        latest = objective.adapter.bias.clone()
        average = average * kept + latest * (1 - kept) if step else latest
    torch.testing.assert_close(objective.ranking_adapter.bias, average)
    assert torch.equal(objective.adapter.bias, latest)
    objective.finish()
    torch.testing.assert_close(objective.adapter.bias, average)


@torch.no_grad()
def test_full_softmax_by_hand() -> None:
    objective = made()
    vectors, bias = item_vectors(objective)
    losses = []
    for row in range(2):
        states = objective.adapter.states(
            *(value[row : row + 1] for value in (vectors[BATCH["items"]], *inputs()))
        )[0]
        for place, target in enumerate(BATCH["targets"][row].tolist()):
            if target != NO_TARGET:
                logits = vectors @ states[place] + bias
                losses.append(logits.logsumexp(0) - logits[target])
    assert len(losses) == 6
    torch.testing.assert_close(objective(**BATCH)["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize(("parts", "fewest"), [(4, 8), (20, 1)])
def test_a_step_in_parts_of_like_length_is_the_step(
    parts: int, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, events = 20, 6
    draw = torch.Generator().manual_seed(3)
    lengths = torch.randint(events + 1, (rows,), generator=draw)
    there = torch.arange(events + 1) <= lengths.unsqueeze(1)
    ids = torch.randint(UNMET, (rows, events + 1), generator=draw)
    batch = {
        "items": ids[:, :-1] * there[:, 1:],
        "targets": torch.where(there, ids, NO_TARGET),
        "actions": torch.randint(3, (rows, events), generator=draw) * there[:, 1:],
        "gaps": torch.randint(5, (rows, events), generator=draw) * there[:, 1:],
        "profiles": torch.randint(3, (rows, events + 1, 1), generator=draw),
        "context": torch.rand(rows, events + 1, generator=draw) < 0.5,
    }
    objective = made()
    objective.adapter = adapter(dropout=0, profile=(3,), context=True)
    assert objective.adapter.aside is not None
    torch.nn.init.normal_(objective.adapter.aside)
    torch.nn.init.normal_(objective.adapter.profile[0])
    seen = []
    original = objective.adapter.states

    def spy(vectors: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(vectors.shape[1])
        return original(vectors, *rest)

    monkeypatch.setattr(objective.adapter, "states", spy)
    monkeypatch.setattr(module, "FEWEST_ROWS", rows)
    together = objective(**batch)["loss"]
    expected = gradients(objective.adapter, together)
    monkeypatch.setattr(module, "PARTS", parts)
    monkeypatch.setattr(module, "FEWEST_ROWS", fewest)
    apart = objective(**batch)["loss"]
    torch.testing.assert_close(apart, together)
    found = gradients(objective.adapter, apart)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)
    (whole, *shorter) = seen
    assert whole == max(shorter) == lengths.max()
    assert min(shorter) < whole


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return BATCH["actions"], BATCH["gaps"]


@torch.no_grad()
def test_what_is_no_target_counts_for_nothing() -> None:
    objective = made()
    batch: Any = BATCH
    one_row = {name: value[1:] for name, value in batch.items()}
    shorter = {name: value[:, : 3 if name == "targets" else 2] for name, value in one_row.items()}
    torch.testing.assert_close(objective(**one_row)["loss"], objective(**shorter)["loss"])


def test_items_without_events_learn_nothing_of_their_own() -> None:
    objective = made().train()
    objective(**BATCH)["loss"].backward()
    network = objective.adapter
    for gradient in (network.residual.weight.grad, network.bias.grad):
        assert gradient is not None
        assert not gradient[UNMET].any()
        assert gradient[:UNMET].reshape(UNMET, -1).abs().sum(1).min() > 0


def gradients(network: InterestAdapter, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def test_a_softmax_over_samples_is_the_full_one_where_all_are_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = made()
    full = gradients(objective.adapter, objective(**BATCH)["loss"])
    monkeypatch.setattr(module, "FULL_SOFTMAX_LIMIT", 0)
    monkeypatch.setattr(module, "SAMPLED_ITEMS", 500)
    sampled = gradients(objective.adapter, objective(**BATCH)["loss"])
    assert full.keys() == sampled.keys()
    for name, gradient in full.items():
        torch.testing.assert_close(sampled[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@torch.no_grad()
def test_sampled_normalisers_are_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp(logit) / chance, summed over those drawn, estimates the sum over the catalogue."""
    monkeypatch.setattr(module, "FULL_SOFTMAX_LIMIT", 0)
    monkeypatch.setattr(module, "SAMPLED_ITEMS", 4)
    objective = made()
    torch.manual_seed(0)
    weight = torch.rand(ITEMS)
    share = POPULARITY / POPULARITY.sum()
    estimates = []
    for _ in range(4000):
        targets = torch.multinomial(share, 3, replacement=True)
        candidates, correction = objective._candidates(targets)
        assert set(targets.tolist()) <= set(candidates.tolist())
        estimates.append((weight[candidates] * torch.exp(-correction)).sum())
    torch.testing.assert_close(torch.stack(estimates).mean(), weight.sum(), rtol=0.05, atol=0)


@torch.no_grad()
def test_each_logit_is_corrected_by_the_chance_of_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_SOFTMAX_LIMIT", 0)
    monkeypatch.setattr(module, "SAMPLED_ITEMS", 2)
    objective = made()
    torch.manual_seed(0)
    candidates, correction = objective._candidates(BATCH["targets"])
    torch.manual_seed(0)
    loss = objective(**BATCH)["loss"]
    vectors, bias = item_vectors(objective)
    asked = BATCH["targets"] != NO_TARGET
    states = objective.adapter.states(vectors[BATCH["items"]], *inputs())[asked]
    logits = states @ vectors[candidates].T + bias[candidates] - correction
    assert 0 < len(candidates) < ITEMS
    place = torch.searchsorted(candidates, BATCH["targets"][asked])
    torch.testing.assert_close(loss, functional.cross_entropy(logits, place))


@torch.no_grad()
def test_a_history_reads_the_same_whatever_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event of a later window is no target, so it may be missing from the sample."""
    objective = made()
    seen = []
    original = objective.adapter.states

    def spy(vectors: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(vectors)
        return original(vectors, *rest)

    monkeypatch.setattr(objective.adapter, "states", spy)
    monkeypatch.setattr(module, "FULL_SOFTMAX_LIMIT", 0)
    monkeypatch.setattr(module, "SAMPLED_ITEMS", 1)
    vectors, _ = item_vectors(objective)
    for seed in range(5):
        torch.manual_seed(seed)
        objective(**BATCH)
        shorter, longer = seen[-1]
        torch.testing.assert_close(longer, vectors[BATCH["items"][0]])
        torch.testing.assert_close(shorter[:2], vectors[BATCH["items"][1, :2]])


def test_dropped_ids_leave_the_text_alone() -> None:
    objective = made(id_dropout=0.999999).train()
    loss = objective(**BATCH)["loss"]
    network = copy.deepcopy(objective.adapter)
    with torch.no_grad():
        network.residual.weight.zero_()
        network.bias.zero_()
    vectors = network.from_text(objective.text(torch.arange(ITEMS)))
    asked = BATCH["targets"] != NO_TARGET
    logits = network.states(vectors[BATCH["items"]], *inputs())[asked] @ vectors.T
    torch.testing.assert_close(loss, functional.cross_entropy(logits, BATCH["targets"][asked]))


def test_dropped_features_read_as_not_known() -> None:
    without = {**BATCH, "actions": torch.zeros(2, 3).long(), "gaps": torch.zeros(2, 3).long()}
    dropped = made(feature_dropout=0.999999).train()(**BATCH)["loss"]
    torch.testing.assert_close(dropped, made()(**without)["loss"])
    assert not torch.isclose(dropped, made()(**BATCH)["loss"])


PROFILES = torch.tensor([[1, 2], [3, 0]])


def with_profiles(*, feature_dropout: float = 0.0) -> NextItemObjective:
    text = torch.randn(ITEMS, 16, generator=torch.Generator().manual_seed(0))
    network = adapter(dropout=0, profile=(4, 3))
    return NextItemObjective(
        network,
        FrozenTextVectors(text),
        POPULARITY,
        id_dropout=0.0,
        feature_dropout=feature_dropout,
    ).eval()


@torch.no_grad()
def test_the_loss_is_that_of_states_with_their_profiles() -> None:
    objective = with_profiles()
    vectors, bias = item_vectors(objective)
    asked = BATCH["targets"] != NO_TARGET
    states = objective.adapter.states(vectors[BATCH["items"]], *inputs(), PROFILES)[asked]
    expected = functional.cross_entropy(states @ vectors.T + bias, BATCH["targets"][asked])
    torch.testing.assert_close(objective(**BATCH, profiles=PROFILES)["loss"], expected)
    assert not torch.isclose(objective(**BATCH)["loss"], expected)


@torch.no_grad()
def test_each_target_may_have_a_profile_of_its_own() -> None:
    objective = with_profiles()
    each = PROFILES.unsqueeze(1).repeat(1, BATCH["targets"].shape[1], 1)
    same = objective(**BATCH, profiles=PROFILES)["loss"]
    torch.testing.assert_close(objective(**BATCH, profiles=each)["loss"], same)
    each[0, 1] = torch.tensor([3, 1])
    vectors, bias = item_vectors(objective)
    states = objective.adapter.states(vectors[BATCH["items"]], *inputs(), PROFILES)
    other = PROFILES.clone()
    other[0] = torch.tensor([3, 1])
    states[0, 1] = objective.adapter.states(vectors[BATCH["items"]], *inputs(), other)[0, 1]
    asked = BATCH["targets"] != NO_TARGET
    assert asked[0, 1]
    logits = states[asked] @ vectors.T + bias
    expected = functional.cross_entropy(logits, BATCH["targets"][asked])
    torch.testing.assert_close(objective(**BATCH, profiles=each)["loss"], expected)


@pytest.mark.parametrize("profiles", [PROFILES, PROFILES.unsqueeze(1).repeat(1, 4, 1)])
def test_dropped_profiles_read_as_not_known(profiles: torch.Tensor) -> None:
    dropped = with_profiles(feature_dropout=0.999999).train()(**BATCH, profiles=profiles)["loss"]
    without = {**BATCH, "actions": torch.zeros(2, 3).long(), "gaps": torch.zeros(2, 3).long()}
    torch.testing.assert_close(dropped, with_profiles()(**without)["loss"])


def test_profiles_are_dropped_whole_and_by_column() -> None:
    objective = with_profiles(feature_dropout=0.25)
    torch.manual_seed(0)
    known = objective._known_of_profiles(torch.ones(20_000, 2).long())
    # Whole with 1/4, each column of the others with 1/4.
    assert known.any(1).float().mean() == pytest.approx(0.75 * (1 - 0.25**2), abs=0.01)
    assert known.all(1).float().mean() == pytest.approx(0.75**3, abs=0.01)


def test_without_profiles_no_random_number_is_drawn_for_them() -> None:
    """Nor for those of a network without columns, such as the baseline's."""
    after = []
    for objective, batch in (
        (made(feature_dropout=0.5), BATCH),
        (with_profiles(feature_dropout=0.5), BATCH),
        (made(feature_dropout=0.5), {**BATCH, "profiles": PROFILES}),
    ):
        torch.manual_seed(0)
        objective.train()(**batch)
        after.append(torch.rand(1))
    assert after[0] == after[1] == after[2]


ITEM_IDS = torch.tensor([[item % 3, item % 2] for item in range(ITEMS)])


def with_item_profiles(
    *, id_dropout: float = 0.0, feature_dropout: float = 0.0, kind: type = NextItemObjective
) -> NextItemObjective:
    text = torch.randn(ITEMS, 16, generator=torch.Generator().manual_seed(0))
    network = adapter(dropout=0, item_profile=(3, 2))
    assert network.item_ids is not None
    network.item_ids.copy_(ITEM_IDS)
    more = {} if kind is NextItemObjective else {"text_vectors": text}
    made: NextItemObjective = kind(
        network,
        FrozenTextVectors(text),
        POPULARITY,
        id_dropout=id_dropout,
        feature_dropout=feature_dropout,
        **more,
    )
    return made.eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", [NextItemObjective, TuningObjective])
def test_items_read_and_compete_with_their_profiles(kind: type) -> None:
    objective = with_item_profiles(kind=kind)
    network = objective.adapter
    text_vectors = objective.text(torch.arange(ITEMS))
    objective.settle(text_vectors)
    whole, bias = recommender_vectors(network, text_vectors)
    vectors = objective._item_vectors(torch.arange(ITEMS))
    found = vectors.used
    torch.testing.assert_close(found[:UNMET], whole[:UNMET])
    torch.testing.assert_close(vectors.bias[:UNMET], bias[:UNMET])
    # Of an item without events nothing is known by its id, but its profile is.
    expected = network.from_text(text_vectors, ITEM_IDS)[UNMET]
    torch.testing.assert_close(found[UNMET], expected)
    assert not torch.allclose(found[UNMET], network.from_text(text_vectors)[UNMET])


def test_item_profiles_are_dropped_so_that_a_text_may_come_alone() -> None:
    objective = with_item_profiles(id_dropout=0.999999, feature_dropout=0.999999).train()
    vectors = objective._item_vectors(torch.arange(ITEMS)).used
    expected = objective.adapter.from_text(objective.text(torch.arange(ITEMS)))
    torch.testing.assert_close(vectors, expected)


def test_item_profiles_are_learnt_in_both_stages() -> None:
    for kind in (NextItemObjective, TuningObjective):
        objective = with_item_profiles(id_dropout=0.5, kind=kind).train()
        torch.manual_seed(0)
        objective(**BATCH)["loss"].backward()
        for table in objective.adapter.item_profile:
            assert table.grad is not None
            assert table.grad.abs().sum(1).min() > 0


@pytest.mark.parametrize("kind", [NextItemObjective, TuningObjective])
def test_vectors_of_other_modalities_are_learnt_and_dropped(kind: type) -> None:
    text = torch.randn(ITEMS, 16, generator=torch.Generator().manual_seed(0))
    network = adapter(dropout=0, modalities=(3, 2))
    given = torch.randn(ITEMS, 5, generator=torch.Generator().manual_seed(1))
    network.fit_modalities(given, POPULARITY > 0)
    objective: NextItemObjective = kind(
        network,
        FrozenTextVectors(text),
        POPULARITY,
        id_dropout=0.5,
        feature_dropout=0.25,
        **({} if kind is NextItemObjective else {"text_vectors": text}),
    )
    objective.eval()
    everything = torch.arange(ITEMS)
    objective.settle(text)
    found = objective._item_vectors(everything)
    torch.testing.assert_close(found.text, network.of_catalogue(text))
    torch.testing.assert_close(found.used[:UNMET], recommender_vectors(network, text)[0][:UNMET])
    assert not torch.allclose(found.text, network.from_text(text))
    objective.train()
    torch.manual_seed(0)
    objective(**BATCH)["loss"].backward()
    for table in network.modality:
        assert table.grad is not None
        assert table.grad.abs().max() > 0
    # A column is there or not as a whole: with 3/4, unless the item comes without any.
    known = objective._known_modalities(20_000)
    assert known.shape == (20_000, 5)
    for columns in (slice(3), slice(3, 5)):
        assert (known[:, columns].any(1) == known[:, columns].all(1)).all()
        assert known[:, columns].float().mean() == pytest.approx(0.75**2, abs=0.01)
    objective.feature_dropout = 0.999999
    torch.testing.assert_close(objective._from_text(everything), network.from_text(text))
