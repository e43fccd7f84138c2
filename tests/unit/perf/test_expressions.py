"""The costs of a filter are those of one that lets some items through."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from model_repository.core.policy.expressions import parse
from perf import expressions
from perf.__main__ import app


def test_the_filter_lets_some_items_through() -> None:
    facts = expressions.made_facts(1_000)
    found = parse(expressions.FILTER).evaluate(facts.attributes, {}, facts.ids)
    assert 0.05 < np.mean(found) < 0.5


def test_it_tells_the_costs_of_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "SIZES", (100, 1_000))
    ask = ["expressions", "--repetitions", "1", "--filter", "not adult"]
    done = CliRunner().invoke(app, ask)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("not adult\nparse ")
    assert len(done.output.splitlines()) == 5
    told = json.loads(CliRunner().invoke(app, [*ask, "--json"]).output)
    assert [each["items"] for each in told["catalogues"]] == [100, 1_000]
    assert all(each["evaluate"] > 0 for each in told["catalogues"])
