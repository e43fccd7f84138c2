"""Train, export, serve and ask: real data, a real BERT, the real tritonserver."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import shutil
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import AutoModel

from builder.data import Catalogue
from builder.errors import ConfigError, ExportError, GateError, RepositoryError
from builder.evaluation.ranking import best_items
from builder.export.add_items import add_items
from builder.export.layout import Limits
from builder.export.options import ModelLayout
from builder.export.pipeline import target_named
from builder.export.targets import TargetOptions
from builder.export.targets.embedded import Embedded
from builder.model.checkpoint import load_validation
from builder.model.new_items import with_new_items
from builder.model.recommender import Recommender, encode_texts
from builder.repository import activate, read_manifest
from builder.repository.manifest import Manifest, VersionRecord, manifest_text
from builder.serving import TritonServer
from client import Event, InvalidInput, Item, RecommenderClient
from model_repository.core.catalogue import Catalogue as ItemArrays
from model_repository.steps.catalogue_files import save_catalogue
from perf.__main__ import main as measure
from perf.engines import measure_engines
from perf.goals import (
    APPROXIMATE,
    CATALOGUE_CURVE,
    EXACT,
    READING,
    SERVED,
    SERVED_APPROXIMATE,
)
from tests.integration.small_run import FILMS, export_run
from tests.new_text import logit_of_text
from tests.shared import first_of, reached
from tests.unit.builder.model.tiny import sequences

NEW_TEXT = "The Matrix (1999) Action Sci-Fi Thriller"


@pytest.fixture(scope="module")
def client(repository: Path) -> Iterator[RecommenderClient]:
    with (
        TritonServer(repository) as server,
        RecommenderClient(server.grpc_address, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ensemble(ensemble_repository: Path) -> Iterator[RecommenderClient]:
    with (
        TritonServer(ensemble_repository) as server,
        RecommenderClient(server.grpc_address, timeout=30) as client,
    ):
        yield client


def events(model: Recommender, run: Path, user: int) -> list[Event]:
    histories = load_validation(run).histories
    times, actions = histories.times_of(user), histories.actions_of(user)
    assert times is not None
    assert actions is not None
    assert set(actions) == {1, 2}  # what was not liked is there too
    return [
        Event(model.catalogue.item_ids[item], model.actions[action - 1], int(time))
        for item, action, time in zip(histories.items_of(user), actions, times, strict=True)
    ]


def test_the_checkpoint_is_what_it_says(run: Path, minilm: Path) -> None:
    tuned = AutoModel.from_pretrained(run / "encoder").state_dict()
    before = AutoModel.from_pretrained(minilm).state_dict()
    changed = {name for name in tuned if not torch.equal(tuned[name], before[name])}
    assert changed
    assert all(name.startswith(("encoder.layer.5.", "pooler.")) for name in changed)
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    assert {"frozen BERT: full model", "fine-tuned: text alone"} <= {row["name"] for row in rows}
    assert not run.with_name("checkpoint.partial").exists()


@pytest.mark.parametrize("user", [0, 7, 50])
def test_recommendations_are_the_checkpoints_own(
    client: RecommenderClient, model: Recommender, run: Path, user: int
) -> None:
    histories = load_validation(run).histories.rows(user, user + 1)
    scores = model.scorer().scores(histories)
    scores[0, histories.items] = -np.inf
    expected = [model.catalogue.item_ids[index] for index in best_items(scores, 10)[0]]

    found = client.recommend(events(model, run, user), top_k=10)

    assert list(found.items) == expected
    best = np.sort(scores[0])[::-1][:10]
    np.testing.assert_allclose(found.logits, best, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.interests, model.calibration.interest(best), atol=1e-4)
    assert found.skipped == 0


def test_rank_scores_known_items_and_texts_as_pytorch_does(
    client: RecommenderClient, model: Recommender, run: Path
) -> None:
    user = 3
    history = load_validation(run).histories.rows(user, user + 1)
    scores = model.scorer().scores(history)[0]
    candidates = [0, 17, 42]
    asked: list[str | Item] = [
        *(model.catalogue.item_ids[item] for item in candidates),
        Item("new", NEW_TEXT),
    ]

    found = client.rank(events(model, run, user), asked)

    np.testing.assert_allclose(found.logits[:3], scores[candidates], rtol=1e-4, atol=1e-4)
    # Nothing has happened with a new item, so it has no trend.
    without_trend = model.scorer("timeless").logits(history)[0]
    expected = logit_of_text(model, NEW_TEXT, without_trend)
    assert found.logits[3] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_text_in_the_history_counts(client: RecommenderClient, model: Recommender) -> None:
    known = model.catalogue.item_ids[:3]
    with_text = client.recommend([*known, Item("new", NEW_TEXT)], top_k=50)
    without = client.recommend(known, top_k=50)
    assert with_text.skipped == 0
    assert not np.array_equal(np.sort(with_text.logits), np.sort(without.logits))
    assert client.recommend([*known, "no such film"], top_k=50).skipped == 1


def test_vectors_are_pytorchs(client: RecommenderClient, model: Recommender) -> None:
    texts = [NEW_TEXT, "a", *model.catalogue.texts[:30]]
    expected = encode_texts(model.encoder, model.tokenizer, texts).numpy()
    np.testing.assert_allclose(client.encode(texts).vectors, expected, rtol=1e-3, atol=1e-4)


def test_a_new_user_gets_recommendations(client: RecommenderClient) -> None:
    found = client.recommend([], top_k=50)
    assert len(found) == 50
    assert np.all(np.diff(found.logits) <= 0)


def test_seen_and_excluded_items_stay_out(client: RecommenderClient, model: Recommender) -> None:
    seen, excluded = model.catalogue.item_ids[:5], model.catalogue.item_ids[5:190]
    found = client.recommend(seen, top_k=50, exclude=excluded)
    assert set(found.items) == set(model.catalogue.item_ids[190:])
    again = client.recommend(seen, top_k=50, exclude=excluded, include_seen=True)
    assert set(again.items) == set(seen) | set(model.catalogue.item_ids[190:])


def test_bad_requests_are_refused_and_good_ones_are_not_harmed(
    client: RecommenderClient, model: Recommender
) -> None:
    known = model.catalogue.item_ids[:3]
    with pytest.raises(InvalidInput, match=r"CANDIDATE\[1\] 'no such film'"):
        client.rank(known, [known[0], "no such film"])
    assert np.isnan(client.rank(known, ["no such film"], on_unknown="skip").logits[0])
    with pytest.raises(InvalidInput, match="--max-top-k"):
        client.recommend(known, top_k=51)
    assert len(client.rank(known, [])) == 0
    assert client.rank(known, [Item("long", "word " * 200_000)]).truncated == 1
    many = model.catalogue.item_ids * (10_000 // FILMS)
    assert len(client.rank(known, many)) == len(many)


@pytest.mark.sweep
def test_the_benchmark_of_engines_runs_every_model(
    ensemble_repository: Path, repository: Path
) -> None:
    with pytest.raises(RepositoryError, match="--layout ensemble"):
        next(iter(measure_engines(repository, seconds=0.0)))
    found = list(measure_engines(ensemble_repository, seconds=0.0))
    assert {each.model for each in found} == {"encoder", "user_encoder"}
    assert {each.size for each in found} == {"smallest", "usual", "largest"}
    assert all(0 < each.p50 <= each.p99 and each.per_second > 0 for each in found)


@pytest.mark.sweep
def test_catalogues_of_other_sizes_are_made_searched_and_served(
    run: Path, repository: Path, tmp_path: Path
) -> None:
    made = ["--checkpoint", str(run), "--repository", str(repository), "--output", str(tmp_path)]
    quick = ["--repetitions", "1", "--seconds", "0.1"]
    assert measure(["catalogue", *made, *quick, "--sizes", "100,4e4"]) == 0
    report = json.loads((tmp_path / "catalogue.json").read_text())
    assert list(report["catalogues"]) == ["100", "40000"]
    for size, told in report["catalogues"].items():
        contenders = report["cases"][f"{CATALOGUE_CURVE}{size}"]
        # So few items as 100 have no index that is worth it.
        index = {APPROXIMATE, SERVED_APPROXIMATE} if size == "40000" else set()
        assert contenders.keys() == {READING, EXACT, SERVED} | index
        assert all(each["median"]["p50"] > 0 for each in contenders.values())
        assert told["vector_bytes"] > int(size) * 4
        assert 0 < told["anonymous"] < told["resident"]
    assert "| 40,000 |" in (tmp_path / "catalogue.md").read_text()
    for plot in ("size", "memory"):
        assert (tmp_path / f"catalogue-{plot}.svg").stat().st_size > 1000


def test_many_users_at_once_get_the_answers_of_the_ensemble(
    client: RecommenderClient, ensemble: RecommenderClient, model: Recommender, run: Path
) -> None:
    users = [
        [str(event.item) for event in events(model, run, user)[: 3 * user]]
        + [Item("new", f"{NEW_TEXT} {user % 5}")] * (user % 2)
        for user in range(24)
    ]
    candidates: list[str | Item] = [
        *model.catalogue.item_ids[:20],
        Item("newer", "The Matrix Reloaded (2003)"),
    ]
    with ThreadPoolExecutor(len(users)) as together:
        recommended = list(together.map(client.recommend, users))
        ranked = list(together.map(lambda user: client.rank(user, candidates), users))
    for user, best, ranking in zip(users, recommended, ranked, strict=True):
        expected = ensemble.recommend(user)
        assert list(best.items) == list(expected.items)
        np.testing.assert_allclose(best.logits, expected.logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            ranking.logits, ensemble.rank(user, candidates).logits, rtol=1e-4, atol=1e-4
        )


def test_the_server_counts_the_texts_that_bert_was_spared(
    repository: Path, model: Recommender
) -> None:
    with (
        TritonServer(repository, metrics_port=0) as server,
        RecommenderClient(server.grpc_address, timeout=30) as client,
    ):
        client.encode(["once", "twice", "twice"])
        client.rank(model.catalogue.item_ids[:1], [Item("x", "twice"), Item("y", "new")])

        def count(name: str) -> float:
            with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            (found,) = [line for line in lines if line.startswith(f"{name}{{")]
            return float(found.split()[-1])

        assert reached(lambda: count("tritonrec_texts_encoded"), 3) == 3
        assert reached(lambda: count("tritonrec_texts_known"), 2) == 2


@pytest.mark.sweep  # test_old_repository does so from the command line
def test_a_second_export_is_the_next_version_and_the_first_can_come_back(
    run: Path, repository: Path, tmp_path: Path, model: Recommender
) -> None:
    second = tmp_path / "models"
    shutil.copytree(repository, second)
    export_run(run, second, Limits(max_top_k=20, max_rows=16))
    manifest = read_manifest(second)
    assert (manifest.active, sorted(manifest.versions)) == (2, [1, 2])
    assert manifest.versions[2].details["ranking"]["relative_loss"] <= 0.001
    for served in (2, 1):
        activate(second, served)
        with TritonServer(second) as server, RecommenderClient(server.grpc_address) as client:
            assert {status.version for status in server.models()} == {served}
            top_k = {1: 50, 2: 20}[served]
            assert len(client.recommend(model.catalogue.item_ids[:3], top_k=top_k, timeout=30))


def test_new_items_are_served_without_training(
    repository: Path, tmp_path: Path, model: Recommender, client: RecommenderClient
) -> None:
    served = tmp_path / "models"
    shutil.copytree(repository, served)
    file = tmp_path / "new.item"
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    row = "new\tThe Matrix\t1999\tAction Sci-Fi Thriller\n"
    file.write_text(f"{header}{row}")

    done = add_items(served, file)

    assert done.version == 2
    known = model.catalogue.item_ids[:3]
    with TritonServer(served) as server, RecommenderClient(server.grpc_address) as grown:
        by_id = grown.rank(known, [known[0], "new"], timeout=30)
        before = client.rank(known, [known[0], Item("new", NEW_TEXT)])
        np.testing.assert_allclose(by_id.logits[0], before.logits[0], rtol=1e-4, atol=1e-4)
        # By its id and by its text it takes the same place, that of its neighbours.
        new = Catalogue(["new"], [NEW_TEXT], model.catalogue.columns[:1])
        larger = with_new_items(model, new)
        history = sequences([0, 1, 2])
        expected = larger.scorer().logits(history)[0, -1]
        np.testing.assert_allclose(by_id.logits[1], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(before.logits[1], expected, rtol=1e-3, atol=1e-3)
        # Where a request says so, cold items have a rank of their own; the order of the others
        # stays.
        for rank in (0, 2):
            scores = larger.scorer(new_items=rank).scores(history)
            scores[0, :3] = -np.inf
            best = best_items(scores, 50)[0]
            found = grown.recommend(known, top_k=50, new_items=rank, timeout=30)
            assert list(found.items) == [larger.catalogue.item_ids[index] for index in best]
        assert np.flatnonzero(~larger.warm[best])[0] <= 1
        others = model.catalogue.item_ids[3:]
        assert list(grown.recommend(known, exclude=others).items) == ["new"]
        assert grown.recommend(["new"], top_k=5).skipped == 0

    file.write_text(f"{header}{row.replace('new', 'newer', 1)}")
    with pytest.raises(ConfigError, match="lacks new, which version"):
        add_items(served, file)
    file.write_text(f"{header}{known[0]}\tx\t1999\tDrama\n")
    with pytest.raises(ConfigError, match="knows all of its 1 items"):
        add_items(repository, file)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


class Strict(Embedded):
    """Holds FP32 engines to a bound that no reordered sum meets."""

    parity = 1e-12


@pytest.mark.sweep  # the unit tests of the pipeline do so with a tiny model
def test_a_failed_gate_publishes_nothing(run: Path, repository: Path, tmp_path: Path) -> None:
    served = tmp_path / "models"
    shutil.copytree(repository, served)
    before = snapshot(served)
    with pytest.raises(GateError, match=r"encoder\.VECTOR .* 1e-12 is allowed"):
        export_run(run, served, target=Strict())
    assert snapshot(served) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["models"]


@pytest.mark.sweep
def test_an_interrupted_export_publishes_nothing(
    run: Path, repository: Path, tmp_path: Path
) -> None:
    served = tmp_path / "models"
    shutil.copytree(repository, served)
    before = snapshot(served)
    reached: list[str] = []

    def interrupt(task: str, _done: int, _total: int) -> None:
        if task not in reached:
            reached.append(task)
            if task == stop_at:
                raise KeyboardInterrupt

    for stop_at in ("export graphs", "ranking gate"):  # noqa: B007 - read by `interrupt`
        reached.clear()
        with pytest.raises(KeyboardInterrupt):
            export_run(run, served, progress=interrupt)
        assert snapshot(served) == before
    assert len(reached) == 4
    assert filecmp.cmp(served / "manifest.json", repository / "manifest.json", shallow=False)


@pytest.mark.sweep
@pytest.mark.parametrize("layout", first_of(get_args(ModelLayout)))
def test_files_that_rank_worse_are_not_published(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: ModelLayout
) -> None:
    """The engines are right, and the items mixed up."""

    def backwards(directory: Path, catalogue: ItemArrays) -> None:
        save_catalogue(directory, dataclasses.replace(catalogue, vectors=catalogue.vectors[::-1]))

    monkeypatch.setattr("builder.export.recommender.save_catalogue", backwards)
    with pytest.raises(GateError, match=r"NDCG@10 on .* validation users"):
        export_run(run, tmp_path / "models", options=TargetOptions(layout=layout))
    assert not (tmp_path / "models").exists()


def test_a_recommender_does_not_replace_a_classifier(run: Path, tmp_path: Path) -> None:
    record = VersionRecord(created="", target="embedded", checkpoint="", models=("classify",))
    (tmp_path / "manifest.json").write_text(manifest_text(Manifest(1, {1: record})))
    with pytest.raises(RepositoryError, match="holds a classifier"):
        export_run(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_target_that_cannot_be_built_names_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Embedded, "missing", lambda _: "the package x: pip install x")
    with pytest.raises(ExportError, match="pip install x"):
        target_named("embedded")
