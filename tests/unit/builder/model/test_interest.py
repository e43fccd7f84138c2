from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.model.interest import (
    GAP_BUCKETS,
    WHITENED_DEVIATION,
    AdapterConfig,
    InterestAdapter,
    time_gaps,
)
from builder.model.scoring import UserEncoderGraph, histories_of
from model_repository.core.users import NO_AGE, ages
from tests.unit.builder.model.tiny import ITEMS, adapter, sequences

NETWORK = adapter()


def events(seed: int, users: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (
        torch.randn(users, length, 8, generator=random),
        torch.randint(3, (users, length), generator=random),
        torch.randint(GAP_BUCKETS, (users, length), generator=random),
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 5), st.integers(1, 6))
@torch.no_grad()
def test_padding_on_the_right_changes_no_earlier_state(seed: int, length: int, pad: int) -> None:
    pad = min(pad, 6 - length)
    vectors, actions, gaps = events(seed, 2, length + pad)
    padded = NETWORK.states(vectors, actions, gaps)
    alone = NETWORK.states(vectors[:, :length], actions[:, :length], gaps[:, :length])
    assert padded.shape == (2, length + pad + 1, 8)
    torch.testing.assert_close(padded[:, : length + 1], alone, rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 5))
@torch.no_grad()
def test_an_event_changes_the_states_after_it_and_none_before(seed: int, changed: int) -> None:
    vectors, actions, gaps = events(seed, 1, 6)
    before = NETWORK.states(vectors, actions, gaps)
    vectors = vectors.clone()
    vectors[:, changed, 0] += 1  # not all numbers alike, which the norms would take out again
    difference = (NETWORK.states(vectors, actions, gaps) - before).abs().amax(-1)[0]
    assert not difference[: changed + 1].any()
    assert (difference[changed + 1 :] > 1e-6).all()


@torch.no_grad()
def test_actions_and_times_and_the_order_matter() -> None:
    vectors, actions, gaps = events(0, 1, 3)
    last = NETWORK.states(vectors, actions, gaps)[:, -1]
    for other in (
        NETWORK.states(vectors, (actions + 1) % 3, gaps),
        NETWORK.states(vectors, actions, (gaps + 1) % GAP_BUCKETS),
        NETWORK.states(vectors.flip(1), actions.flip(1), gaps.flip(1)),
    ):
        assert not torch.allclose(other[:, -1], last, atol=1e-3)


@torch.no_grad()
def test_users_of_a_batch_do_not_meet() -> None:
    vectors, actions, gaps = events(1, 4, 5)
    together = NETWORK.states(vectors, actions, gaps)
    for user in range(4):
        one = slice(user, user + 1)
        alone = NETWORK.states(vectors[one], actions[one], gaps[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_fresh_network_reads_the_same_without_actions_and_times() -> None:
    network = InterestAdapter(AdapterConfig(ITEMS, 16, actions=2, width=8, max_history=6)).eval()
    vectors, actions, gaps = events(2, 1, 4)
    nothing = torch.zeros_like(actions)
    torch.testing.assert_close(
        network.states(vectors, actions, gaps), network.states(vectors, nothing, nothing)
    )


def test_whitening_makes_directions_independent_and_alike() -> None:
    random = torch.Generator().manual_seed(0)
    mixed = torch.randn(400, 16, generator=random) @ torch.randn(16, 16, generator=random) + 5
    network = adapter()
    network.fit_whitening(mixed)
    white = (mixed - network.text_mean) @ network.text_whitening
    covariance = white.T @ white / len(white)
    assert white.mean(0).abs().max() < 1e-4
    spread = covariance.diagonal().sqrt() / WHITENED_DEVIATION
    assert spread.max() < 1.001  # the ridge damps and never lifts
    assert spread.median() > 0.9
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 1e-4


def test_whitening_does_not_blow_up_what_a_small_catalogue_says_nothing_about() -> None:
    texts = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    network = adapter()
    network.fit_whitening(texts)
    assert network.from_text(texts).isfinite().all()
    assert network.text_whitening.abs().max() < 10
    network.fit_whitening(texts[:1].repeat(5, 1))  # nothing at all, if they are all the same
    assert network.from_text(texts).isfinite().all()
    assert network.text_whitening.abs().max() < 20


def test_config_round_trip() -> None:
    config = AdapterConfig(3, 4, width=6, dropout=0.1)
    assert AdapterConfig.from_dict({**config.to_dict(), "newer": 1}) == config


def test_histories_are_cut_as_the_reader_of_requests_cuts_them() -> None:
    times = [[10, 20, 21, 400], [], [7]]
    asked = sequences([1, 2, 3, 4], [], [5], times=times, actions=[[1, 2, 1, 0], [], [2]])
    found = histories_of(asked, 3)
    assert [each.slots.tolist() for each in found] == [[2, 3, 4], [], [5]]
    assert [each.actions.tolist() for each in found] == [[2, 1, 0], [], [2]]
    assert [each.ages.tolist() for each in found] == [[380, 379, 0], [], [0]]
    # Of the events that are left, the first has none before it.
    gaps = time_gaps(torch.from_numpy(found[0].ages))
    assert gaps.tolist() == log2_buckets([20, 21, 400])
    for each in found:
        assert each.slots.dtype == each.actions.dtype == np.int32
        assert each.ages.dtype == np.int64


def test_histories_without_times_and_actions() -> None:
    (found,) = histories_of(sequences([1, 2]), 3)
    assert found.actions.tolist() == [0, 0]
    assert found.ages.tolist() == [NO_AGE, NO_AGE]
    assert found.ages.dtype == np.int64


def log2_buckets(times: list[int]) -> list[int]:
    """What training made of times before the network did: a floating-point logarithm."""
    seconds = np.maximum(np.diff(np.array(times, np.float64)), 0)
    buckets = np.minimum(1 + np.log2(1 + seconds), GAP_BUCKETS - 1).astype(int)
    return [0, *buckets.tolist()] if times else []


seconds = st.one_of(
    st.integers(0, 2**49),
    # Where the buckets end.
    st.builds(
        lambda power, beside: max(0, 2**power + beside), st.integers(0, 40), st.integers(-3, 3)
    ),
)


@given(st.integers(-(2**40), 2**40), st.lists(seconds, max_size=6))
def test_gaps_of_ages_are_the_logarithms_of_the_times_between(
    first: int, between: list[int]
) -> None:
    times = np.cumsum([first, *between]) if between else np.array([first])
    found = time_gaps(torch.from_numpy(ages(times)))
    assert found.tolist() == log2_buckets(times.tolist())
    assert found.dtype == torch.int64


def test_gaps_beside_an_age_that_is_not_known_are_not_known() -> None:
    asked = torch.tensor([[60, NO_AGE, 3, 0], [NO_AGE] * 4, [10, 9, 9, 0]])
    assert time_gaps(asked).tolist() == [[0, 0, 0, 3], [0] * 4, [0, 2, 1, 4]]
    assert time_gaps(asked[:, :0]).shape == (3, 0)


def test_the_farthest_times_are_in_the_last_bucket() -> None:
    found = time_gaps(torch.from_numpy(ages(np.array([-(2**63), 2**63 - 1]))))
    assert found.tolist() == [0, GAP_BUCKETS - 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 2))
@torch.no_grad()
def test_what_is_served_reads_events_as_training_does(
    seed: int, lengths: list[int], more: int
) -> None:
    """Ages become gaps, and what lies behind the events of a user counts for nothing."""
    length = min(5, max(1, *lengths) + more)
    vectors, actions, _ = events(seed, len(lengths), length)
    random = torch.Generator().manual_seed(seed)
    since = torch.randint(10_000, (len(lengths), length), generator=random)
    since = since.sort(descending=True).values
    count = torch.tensor(lengths)
    found = UserEncoderGraph(NETWORK)(vectors, actions.int(), since, count.int().unsqueeze(1))
    for user, events_of in enumerate(lengths):
        own = slice(user, user + 1), slice(events_of)
        expected = NETWORK.states(vectors[own], actions[own], time_gaps(since[own]))[0, -1]
        torch.testing.assert_close(found[user], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_last_states_are_those_at_the_end_of_each_history() -> None:
    vectors, actions, gaps = events(3, 4, 5)
    lengths = torch.tensor([0, 5, 2, 4])
    expected = NETWORK.states(vectors, actions, gaps)[torch.arange(4), lengths]
    found = NETWORK.last_states(vectors, actions, gaps, lengths)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


PROFILED = adapter(profile=(4, 3))
profiles = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 5), profiles)
@torch.no_grad()
def test_a_profile_moves_every_state_by_the_sum_of_its_columns(
    seed: int, length: int, known: list[tuple[int, int]]
) -> None:
    history = events(seed, len(known), length)
    together = PROFILED.states(*history, torch.tensor(known))
    without = NETWORK.states(*history)  # the same network but for the profile
    for user, (first, second) in enumerate(known):
        moved = PROFILED.profile[0][first] + PROFILED.profile[1][second]
        expected = without[user] + moved
        torch.testing.assert_close(together[user], expected, rtol=1e-5, atol=1e-5)
        vectors, actions, gaps = (each[user : user + 1] for each in history)
        alone = PROFILED.states(vectors, actions, gaps, torch.tensor([known[user]]))
        torch.testing.assert_close(alone[0], together[user], rtol=1e-5, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(0, 5))
@torch.no_grad()
def test_no_profile_is_one_of_which_nothing_is_known(seed: int, length: int) -> None:
    history = events(seed, 3, length)
    nothing = torch.zeros(3, 2, dtype=torch.int64)
    missing, unknown = PROFILED.states(*history), PROFILED.states(*history, nothing)
    torch.testing.assert_close(missing, unknown, rtol=0, atol=0)


def test_columns_draw_no_random_number_and_say_nothing_before_they_have_learnt() -> None:
    drawn, networks = [], []
    for profile in ((), (4, 3)):
        torch.manual_seed(1)
        config = AdapterConfig(5, 4, actions=2, width=8, profile=profile, item_profile=profile[:1])
        networks.append(InterestAdapter(config).eval())
        drawn.append(torch.rand(1))
    assert drawn[0] == drawn[1]
    without, with_columns = (each.state_dict() for each in networks)
    columns = {"profile.0", "profile.1", "item_profile.0", "item_ids"}
    assert with_columns.keys() - without.keys() == columns
    for name, value in without.items():
        torch.testing.assert_close(with_columns[name], value, rtol=0, atol=0)
    history = events(0, 2, 3)
    with torch.no_grad():
        states = networks[1].states(*history, torch.tensor([[1, 2], [3, 0]]))
        torch.testing.assert_close(states, networks[0].states(*history), rtol=0, atol=0)
        # Who has no columns does not look at a profile.
        same = networks[0].states(*history, torch.tensor([[9, 9], [9, 9]]))
        torch.testing.assert_close(same, networks[0].states(*history), rtol=0, atol=0)


def test_config_with_columns_round_trip() -> None:
    config = AdapterConfig(3, 4, profile=(4, 3), item_profile=(2,))
    assert AdapterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    older = {name: value for name, value in config.to_dict().items() if "profile" not in name}
    assert AdapterConfig.from_dict(older) == AdapterConfig(3, 4)


@torch.no_grad()
def test_an_item_is_its_text_and_what_its_columns_say() -> None:
    plain_network, network = adapter(), adapter(item_profile=(3, 4))
    texts = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 0], [1, 0], [0, 3], [2, 1], [2, 3]])
    first, second = network.item_profile
    expected = plain_network.from_text(texts) + first[ids[:, 0]] + second[ids[:, 1]]
    torch.testing.assert_close(network.from_text(texts, ids), expected)
    # A text that comes without columns is an item of which nothing else is known.
    torch.testing.assert_close(network.from_text(texts), network.from_text(texts, 0 * ids))
    assert plain_network.item_ids is None
    assert "item_ids" not in plain_network.state_dict()


@torch.no_grad()
def test_vectors_of_other_modalities_are_standardised_and_add_nothing_at_first() -> None:
    torch.manual_seed(0)
    config = AdapterConfig(items=6, text_width=4, width=8, modalities=(2, 1))
    network = InterestAdapter(config)
    torch.manual_seed(0)
    plain = InterestAdapter(replace(config, modalities=()))
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, dict(network.named_parameters())[name]), name
    nan = float("nan")
    given = torch.tensor(
        [[1.0, 0.1, 0], [3, 0.1, nan], [nan, nan, 4], [2, 0.1, 8], [100, 0.1, 4], [nan, nan, nan]]
    )
    network.fit_modalities(given, torch.arange(6) < 4)  # the last two are cold
    torch.testing.assert_close(network.modality_mean, torch.tensor([2.0, 0.1, 4]))
    spread = torch.tensor([(2 / 3) ** 0.5, 1, (32 / 3) ** 0.5])
    torch.testing.assert_close(network.modality_deviation, spread)
    found = network.item_modalities
    assert found is not None
    assert found[5].tolist() == [0, 0, 0]
    assert found[1, 2] == found[2, 0] == found[3, 0] == 0
    torch.testing.assert_close(found[4, 0], 98 / spread[0] * WHITENED_DEVIATION)
    texts = torch.randn(6, 4)
    torch.testing.assert_close(network.of_catalogue(texts), plain.from_text(texts))
    for table in network.modality:
        table.copy_(torch.randn_like(table))
    added = found[:, :2] @ network.modality[0] + found[:, 2:] @ network.modality[1]
    torch.testing.assert_close(network.of_catalogue(texts), plain.from_text(texts) + added)
    weight, bias = network.text_projection()
    torch.testing.assert_close((texts.double() @ weight + bias).float(), network.from_text(texts))


def test_a_network_without_other_modalities_is_written_as_before() -> None:
    network = InterestAdapter(AdapterConfig(items=6, text_width=4, width=8))
    assert not [name for name in network.state_dict() if "modalit" in name]
    values = AdapterConfig(items=6, text_width=4).to_dict()
    del values["modalities"]
    assert AdapterConfig.from_dict(values).modalities == ()
