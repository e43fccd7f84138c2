"""A real checkpoint in both layouts: it answers as it was evaluated, and wastes no work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from numpy.typing import NDArray

from builder.data import Holdout, Sequences
from builder.evaluation.policy_lists import PolicyLists
from builder.evaluation.ranking import rank_holdout
from builder.export.options import ModelLayout
from builder.model.popularity import UNKNOWN
from builder.model.recommender import Recommender
from builder.reports.trained_run import load_run
from builder.repository import from_text, to_text
from builder.serving import TritonServer
from client import Event, Item, RecommenderClient
from model_repository.core.contract import MOST_VALUES
from perf.load import closed_loop, infer_request, triton_infer
from tests.integration.small_run import LIMITS
from tests.integration.test_steps import TIMEOUT, Answer, send, strings
from tests.shared import settled

LAYOUTS = ("fused", "ensemble")
TEXT_MODELS = {"fused": "encode", "ensemble": "encoder"}
"""The models that hold BERT."""

BATCH = 4
DELAY_MICROSECONDS = 20_000_000
"""Longer than any test waits: a batch leaves when it is full."""

SAME_LOGIT = 1e-5
"""Items whose logits are nearer may change places: engines reorder sums."""


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> ModelLayout:
    name: ModelLayout = request.param
    return name


# Both layouts


@pytest.fixture(scope="module")
def server(layout: ModelLayout, exported: Callable[[ModelLayout], Path]) -> Iterator[TritonServer]:
    with TritonServer(exported(layout)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(server.grpc_address, timeout=TIMEOUT) as connected:
        yield connected


@pytest.fixture(scope="module")
def users(run: Path) -> Holdout:
    """The test users of `evaluate` whose target is not in their own history.

    A server leaves out what a user has seen, and the evaluation keeps a target that was seen.
    """
    holdout = load_run(run).split.test
    histories = holdout.histories
    new = np.array(
        [target not in histories.items_of(user) for user, target in enumerate(holdout.targets)]
    )
    offsets = histories.offsets
    return Holdout(histories.part(offsets[:-1], offsets[1:], new), holdout.targets[new])


def events(model: Recommender, histories: Sequences, user: int) -> list[Event]:
    """A whole history, as the log has it."""
    times, actions = histories.times_of(user), histories.actions_of(user)
    assert times is not None
    assert actions is not None
    return [
        Event(model.catalogue.item_ids[item], model.actions[action - 1], int(time))
        for item, action, time in zip(histories.items_of(user), actions, times, strict=True)
    ]


def test_users_are_served_as_they_were_evaluated(
    client: RecommenderClient, model: Recommender, users: Holdout
) -> None:
    assert len(users) > 300
    assert users.histories.actions is not None
    assert set(users.histories.actions) == {1, 2}
    assert users.histories.lengths.max() > model.adapter.config.max_history
    items = len(model.catalogue)
    evaluated = rank_holdout(model.scorer(), users, items)
    scores = model.scorer().scores(users.histories)

    asked = [events(model, users.histories, user) for user in range(len(users))]
    lists = [answer.result for answer in client.recommend_many(asked, top_k=20)]

    gains = []
    for user, found in enumerate(lists):
        assert found is not None
        served = np.array([model.catalogue.index[item] for item in found.items])
        right = evaluated.top[user]
        other = served != right
        apart = np.abs(scores[user, served[other]] - scores[user, right[other]])
        assert (apart < SAME_LOGIT).all(), (user, served, right)
        np.testing.assert_allclose(found.logits, scores[user, served], rtol=1e-4, atol=1e-4)
        place = np.flatnonzero(served[:10] == users.targets[user])
        gains.append(1 / np.log2(2 + place[0]) if len(place) else 0)
    assert evaluated.ndcg(10) > 0.05
    assert float(np.mean(gains)) == pytest.approx(evaluated.ndcg(10), abs=5e-5)


def test_a_policy_is_served_as_it_was_evaluated(
    client: RecommenderClient, model: Recommender, users: Holdout
) -> None:
    some = users.rows(0, 100)
    maker = PolicyLists(model, some.histories)
    assert model.popularity is not UNKNOWN
    asked = [events(model, some.histories, user) for user in range(len(some))]
    options: list[dict[str, Any]] = [
        {"diversity": 0.5},
        {"diversity": 0.5, "diversity_by": "text", "diversity_method": "msd", "pool": 50},
        {"popularity_penalty": 0.5},
    ]
    for each in options:
        lists = [answer.result for answer in client.recommend_many(asked, **each)]
        served = [
            [model.catalogue.index[item] for item in (found.ids if found else ())]
            for found in lists
        ]
        same = (np.array(served) == maker.lists(some, each)).all(axis=1)
        assert same.mean() > 0.95  # engines reorder sums
        plain = maker.lists(some, {})
        assert (np.array(served) != plain).any(axis=1).mean() > 0.1


def executions(client: RecommenderClient, model: str) -> tuple[int, int]:
    """How many rows a model has worked on, and in how many executions."""

    def counted() -> tuple[int, int]:
        (found,) = client.statistics(model=model)
        return found.inferences, found.executions

    return settled(counted)


def test_more_candidates_than_a_request_may_hold_are_ranked_in_parts(
    client: RecommenderClient, model: Recommender
) -> None:
    known = model.catalogue.item_ids
    many = [known[number % len(known)] for number in range(MOST_VALUES + 1)]
    logits = client.rank(known[:3], many).logits
    assert len(logits) == len(many)
    np.testing.assert_array_equal(logits[: len(known)], logits[len(known) : 2 * len(known)])
    assert logits[-1] == logits[MOST_VALUES % len(known)]


def test_known_items_never_reach_bert(
    client: RecommenderClient, layout: ModelLayout, model: Recommender, users: Holdout
) -> None:
    bert = TEXT_MODELS[layout]
    known = model.catalogue.item_ids[:50]
    before = executions(client, bert)
    for user in range(20):
        history = events(model, users.histories, user)
        assert len(client.recommend(history))
        assert len(client.rank(history, known)) == len(known)
    assert len(client.recommend([]))
    assert executions(client, bert) == before
    client.rank([], [*known, Item("new", "A film that nobody knows")])
    assert executions(client, bert) == (before[0] + 1, before[1] + 1)


# Users with texts and without


@pytest.fixture(scope="module")
def waiting(
    layout: ModelLayout,
    exported: Callable[[ModelLayout], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[grpc.InferenceServerClient]:
    """A server whose `rank` and `recommend` wait until a batch is full."""
    path = tmp_path_factory.mktemp("waiting") / "models"
    shutil.copytree(exported(layout), path)
    for name in ("rank", "recommend"):
        file = path / name / "config.pbtxt"
        config = from_text(file.read_text("utf-8"), name)
        config.max_batch_size = BATCH
        config.dynamic_batching.max_queue_delay_microseconds = DELAY_MICROSECONDS
        file.write_text(to_text(config), "utf-8")
    with TritonServer(path) as server, grpc.InferenceServerClient(server.grpc_address) as raw:
        yield raw


Tensors = dict[str, NDArray[Any]]


def some_new(model: str, known: list[str], number: int) -> Tensors:
    """A request with as many texts as it may have, long and never sent before.

    Triton merges requests with the same inputs.
    """
    opera = "space opera " * 200
    texts = [f"{model} {number} {place} {opera}" for place in range(LIMITS.max_rows)]
    if model == "recommend":
        return {
            "HISTORY": strings(*(f"new{place}" for place in range(len(texts)))),
            "HISTORY_TEXT": strings(*texts),
        }
    return {
        "HISTORY": strings(*known[:3]),
        "HISTORY_TEXT": strings("", "", ""),
        "CANDIDATE": strings(*(f"new{place}" for place in range(len(texts)))),
        "CANDIDATE_TEXT": strings(*texts),
    }


def all_known(model: str, known: list[str]) -> Tensors:
    user = {"HISTORY": strings(*known[:3]), "HISTORY_TEXT": strings("", "", "")}
    if model == "recommend":
        return user
    return {**user, "CANDIDATE": strings(*known[3:9]), "CANDIDATE_TEXT": strings(*[""] * 6)}


def order_of_answers(
    waiting: grpc.InferenceServerClient, model: str, requests: list[tuple[str, Tensors]]
) -> list[str]:
    """Send requests in their order; return their names in the order of the answers."""
    order: list[str] = []
    answers = []
    for name, tensors in requests:
        answers.append(send(waiting, model, tensors, {}))
        answers[-1].add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    for answer in answers:
        answer.result(TIMEOUT)
    return order


@pytest.mark.parametrize("asked", ["recommend", "rank"])
def test_users_of_known_items_do_not_wait_for_the_texts_of_their_batch(
    waiting: grpc.InferenceServerClient, model: Recommender, asked: str
) -> None:
    """Nor for those of the batch before. Were they answered together, it would be in order."""
    known = model.catalogue.item_ids
    for number in range(3):
        mixed = [("texts", some_new(asked, known, number))]
        mixed += [("known", all_known(asked, known))] * (BATCH - 1)
        alone = [("known", all_known(asked, known))] * BATCH
        order = order_of_answers(waiting, asked, mixed + alone)
        assert order == ["known"] * (2 * BATCH - 1) + ["texts"]


# The ensemble layout alone


@pytest.fixture(scope="module")
def ensemble(ensemble_repository: Path) -> Iterator[TritonServer]:
    with TritonServer(ensemble_repository) as running:
        yield running


def test_users_go_through_the_network_together(
    ensemble: TritonServer, model: Recommender, users: Holdout
) -> None:
    """While a batch is in work, the requests of the other clients gather for the next.

    8 users an execution are usual. But where other work on the machine keeps clients from sending,
    there are fewer to gather, so the best of several rounds counts; without merging it is 1 in
    each. A round begins when every client has had an answer: the first requests come one by one.
    """
    ids, histories = model.catalogue.item_ids, users.histories
    requests = [
        infer_request("recommend", {"HISTORY": [ids[item] for item in histories.items_of(user)]})
        for user in range(len(users))
    ]
    together = 0.0
    with RecommenderClient(ensemble.grpc_address, timeout=TIMEOUT) as client:
        for _ in range(5):
            rows, runs = executions(client, "user_encoder")
            closed_loop(triton_infer(ensemble.grpc_address, requests), clients=16, seconds=2)
            more_rows, more_runs = executions(client, "user_encoder")
            assert more_rows - rows > 200
            together = max(together, (more_rows - rows) / (more_runs - runs))
            if together >= 4:
                break
    assert together >= 4


@pytest.fixture(scope="module")
def raw(ensemble: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(ensemble.grpc_address) as connected:
        yield connected


class TestRankTexts:
    """The chain of tokenizer, encoder and adapter, as one model."""

    HISTORY = ("Star Wars (1977) Sci-Fi", "Star Wars (1977) Sci-Fi", "Fargo (1996) Crime Drama")
    CANDIDATES = ("Alien (1979) Horror Sci-Fi", "Heat (1995) Crime", "Fargo (1996) Crime Drama")

    def ask(self, raw: grpc.InferenceServerClient, **tensors: NDArray[Any]) -> Answer:
        texts = {
            "HISTORY_TEXT": strings(*self.HISTORY),
            "CANDIDATE_TEXT": strings(*self.CANDIDATES),
        }
        return send(raw, "rank_texts", {**texts, **tensors}, {}).result(TIMEOUT)

    def as_items(self, raw: grpc.InferenceServerClient, **tensors: NDArray[Any]) -> Answer:
        """What `rank` says of the same texts, sent as items that the catalogue lacks."""
        items = {
            "HISTORY": strings(*(f"h{place}" for place in range(len(self.HISTORY)))),
            "HISTORY_TEXT": strings(*self.HISTORY),
            "CANDIDATE": strings(*(f"c{place}" for place in range(len(self.CANDIDATES)))),
            "CANDIDATE_TEXT": strings(*self.CANDIDATES),
        }
        return send(raw, "rank", {**items, **tensors}, {}).result(TIMEOUT)

    def test_it_ranks_as_rank_does(
        self, raw: grpc.InferenceServerClient, model: Recommender
    ) -> None:
        circumstances = {
            "HISTORY_ACTION": strings(model.actions[0], model.actions[1], "another"),
            "HISTORY_TIME": np.array([[880_000_000, 880_000_100, 881_000_000]], np.int64),
        }
        plain = self.ask(raw)
        told = self.ask(raw, **circumstances)
        for found, expected in (
            (plain, self.as_items(raw)),
            (told, self.as_items(raw, **circumstances)),
        ):
            for name in ("LOGIT", "INTEREST"):
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
            assert found["TRUNCATED"].tolist() == expected["TRUNCATED"].tolist() == [[0]]
        assert len(set(plain["LOGIT"][0].tolist())) == len(self.CANDIDATES)
        assert np.abs(plain["LOGIT"] - told["LOGIT"]).max() > 1e-3

    @pytest.mark.parametrize(
        ("name", "place", "texts"),
        [
            ("HISTORY_TEXT", 1, ("Fargo", "")),
            ("CANDIDATE_TEXT", 0, (" \t", "Fargo")),
        ],
    )
    def test_an_empty_text_is_refused_by_name(
        self, raw: grpc.InferenceServerClient, name: str, place: int, texts: tuple[str, ...]
    ) -> None:
        with pytest.raises(
            grpc.InferenceServerException, match=rf"{name}\[{place}\] is empty"
        ) as refusal:
            self.ask(raw, **{name: strings(*texts)})
        assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"

    def test_nothing_to_rank_is_refused(self, raw: grpc.InferenceServerClient) -> None:
        with pytest.raises(grpc.InferenceServerException, match="CANDIDATE_TEXT is empty"):
            self.ask(raw, CANDIDATE_TEXT=strings())

    def test_a_new_user_needs_no_history(self, raw: grpc.InferenceServerClient) -> None:
        found = self.ask(raw, HISTORY_TEXT=strings())
        expected = self.as_items(raw, HISTORY=strings(), HISTORY_TEXT=strings())
        np.testing.assert_allclose(found["LOGIT"], expected["LOGIT"], rtol=1e-5, atol=1e-5)
        assert np.abs(found["LOGIT"] - self.ask(raw)["LOGIT"]).max() > 1e-3

    def test_texts_that_are_too_long_are_counted(self, raw: grpc.InferenceServerClient) -> None:
        long = "space opera " * 1_000
        found = self.ask(raw, CANDIDATE_TEXT=strings(long, "Heat", long, long + "again"))
        assert found["TRUNCATED"].tolist() == [[2]]
        assert found["LOGIT"][0, 0] == found["LOGIT"][0, 2]
