"""What the doctor says of a repository is what the real server does with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.doctor import diagnose, local_server
from builder.errors import ServingError
from builder.repository import stage
from builder.serving import TritonServer
from tests.integration.serving_models import write_contract_models


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    with stage(tmp_path / "models") as staging:
        write_contract_models(staging)
    return tmp_path / "models"


def serve(repository: Path) -> None:
    with TritonServer(repository, grpc_port=0, start_timeout=30):
        pass


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_should_load_loads(repository: Path) -> None:
    (repository / "__pycache__").mkdir()  # a warning: serve hides it
    assert diagnose(repository, local_server()).loads
    serve(repository)


# Without its model.py, Triton does not fail but waits for ever; that takes too long to watch here.
@pytest.mark.parametrize(
    "damage",
    [
        lambda r: edit(r / "encoder/config.pbtxt", 'backend: "python"', 'backend: "tensorrt"'),
        lambda r: edit(r / "encoder/config.pbtxt", "TYPE_FP32", "TYPE_INT64"),
        lambda r: edit(r / "encoder/config.pbtxt", "versions: 1", "versions: 2"),
        lambda r: edit(r / "recommend/1/model.py", "import json", "import no_such_package_at_all"),
        lambda r: edit(r / "encoder/config.pbtxt", 'name: "encoder"', 'name: "coder"'),
    ],
    ids=["no backend", "wrong type", "wrong version", "no package", "wrong name"],
)
def test_what_will_not_load_does_not_load(
    repository: Path, damage: Callable[[Path], object]
) -> None:
    damage(repository)
    report = diagnose(repository, local_server())
    assert not report.loads, json.dumps([str(finding) for finding in report.findings])
    with pytest.raises(ServingError):
        serve(repository)
