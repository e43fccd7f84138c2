"""The export of a model that asks what is popular."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.export.options import ModelLayout
from builder.model.recommender import Recommender
from builder.repository import from_text, read_manifest
from builder.repository.golden import golden_of
from builder.repository.publish import CONFIG
from model_repository.core.batch import Request
from model_repository.core.trend import Trend
from model_repository.steps.catalogue_files import TREND_FILES, load_catalogue
from model_repository.steps.live_counts_file import live_counts_path
from model_repository.steps.observe import ObservedEvents
from tests.unit.builder.export.checkpoints import LIMITS, embedded, export, write_checkpoint
from tests.unit.builder.export.in_process import Server
from tests.unit.builder.model.tiny import ITEMS
from tests.unit.model_repository.conftest import strings, user

UNTIL = 1_700_000_000


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_events_reach_the_models_that_are_exported_beside_it(
    layout: ModelLayout,
    model: Recommender,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    level = np.full(ITEMS, -np.inf)
    level[3] = UNTIL / 60
    popular = replace(model, trend=Trend(60.0, 100.0, level, UNTIL))
    checkpoint = write_checkpoint(tmp_path / "run", popular, backbone)
    repository = tmp_path / "models"
    export(checkpoint, repository, embedded(layout=layout), replace(LIMITS, instances=3))
    manifest = read_manifest(repository)
    assert "observe" in manifest.versions[1].models
    assert [each.model for each in golden_of(manifest.versions[1])].count("observe") == 1
    told = {}
    for name, instances in (("rank", 3), ("recommend", 3), ("observe", 1)):
        config = from_text((repository / name / CONFIG).read_text(), name)
        assert config.parameters["trend_until"].string_value == str(UNTIL)
        assert config.parameters["max_wait"].string_value == "500"
        assert config.instance_group[0].count == instances
        told[name] = config
    uncertainty = load_catalogue(repository / "recommend" / "1").uncertainty
    assert uncertainty.shape == (ITEMS,)
    assert (uncertainty > 0).all()
    for name in TREND_FILES:  # on the disk once
        files = [repository / each / "1" / name for each in told]
        assert len({file.stat().st_ino for file in files}) == 1

    server = Server(repository)
    observe = ObservedEvents(
        server.directory("observe"),
        live_counts_path(1),
        lambda _: None,
        lambda _: None,
        lambda _: None,
        lambda _: None,
        {},
    )
    request = user(parameters={"top_k": 1})
    assert server.tensors("recommend", request)["ITEM"].tolist() == [[b"i3"]]
    observe([Request({"ITEM": strings(["i5", "i5", "i3"])})])
    server = Server(repository)
    found = server.tensors("recommend", request)
    assert found["ITEM"].tolist() == [[b"i5"]]
    assert found["TREND_TIME"][0, 0] > UNTIL
    observe.close()


def test_a_model_that_does_not_ask_takes_no_events(repositories: dict[str, Path]) -> None:
    for repository in repositories.values():
        manifest = json.loads((repository / "manifest.json").read_text())
        assert "observe" not in manifest["versions"]["1"]["models"]
        config = from_text((repository / "rank" / CONFIG).read_text(), "rank")
        assert "trend_until" not in config.parameters
