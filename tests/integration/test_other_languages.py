"""What `docs/other-languages.md` shows is sent to real servers, as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder.export.options import ModelLayout
from builder.serving import TritonServer
from tests.integration.proto_text import write_protocol
from tests.integration.test_overload import SLOW
from tests.integration.tiny_repository import write_tiny_repository

TEXT = (Path(__file__).parents[2] / "docs" / "other-languages.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [
    command
    for block in blocks("sh")
    for command in re.split(r"\n(?=curl )", block.strip())
    if command.startswith("curl ") and "localhost" in command
]
MODEL = re.compile(r"/v2/models/(\w+)")


@pytest.fixture(scope="module")
def trained(exported: Callable[[ModelLayout], Path]) -> Iterator[TritonServer]:
    with TritonServer(exported("ensemble"), http_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that has `observe` and `classify` too."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny_repository(root, trend=True, classifier=True)
    with TritonServer(root, http_port=0) as server:
        yield server


@pytest.fixture
def ask(trained: TritonServer, tiny: TritonServer) -> Callable[[str], str]:
    def answer(command: str) -> str:
        named = MODEL.search(command)
        server = tiny if named and named[1] in ("observe", "classify") else trained
        here = command.replace("localhost:8000", server.http_address)
        return subprocess.run(
            ["bash", "-c", here], check=True, capture_output=True, text=True, timeout=60
        ).stdout

    return answer


def commands_of(path: str) -> list[str]:
    return [command for command in COMMANDS if re.search(rf"localhost:8000{path}(\s|$)", command)]


def outputs(answer: str) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(answer)["outputs"]}


def test_every_command_is_tested() -> None:
    tested = {
        *(f"/v2/models/{name}/infer" for name in SHAPES),
        "/v2/models/classify/config",
        *HEALTH,
        "/v2",
        "/v2/models/recommend",
    }
    covered = [command for path in tested for command in commands_of(path)]
    assert sorted(covered) == sorted(COMMANDS)


SHAPES = {
    "recommend": {"ITEM": [1, 3], "INTEREST": [1, 3], "LOGIT": [1, 3]},
    "rank": {"INTEREST": [1, 2], "LOGIT": [1, 2]},
    "encode": {"VECTOR": [2, 384], "TRUNCATED": [2, 1]},
    "observe": {"ACCEPTED": [1, 1], "UNKNOWN": [1, 1], "REPEATED": [1, 1]},
    "rank_texts": {"INTEREST": [1, 2], "LOGIT": [1, 2]},
    "classify": {"PROBABILITY": [1, 2]},
}


@pytest.mark.parametrize("model", SHAPES)
def test_a_request_to_each_model_is_answered(model: str, ask: Callable[[str], str]) -> None:
    command, *_ = commands_of(f"/v2/models/{model}/infer")
    found = outputs(ask(command))
    assert {name: found[name]["shape"] for name in SHAPES[model]} == SHAPES[model]


def test_the_answer_is_like_the_one_that_is_shown(ask: Callable[[str], str]) -> None:
    command, *_ = commands_of("/v2/models/recommend/infer")
    shown, found = outputs(blocks("json")[0]), outputs(ask(command))
    assert list(shown) == [name for name in found if name != "TREND_TIME"]
    for name, output in shown.items():
        assert {**found[name], "data": output["data"]} == output
    assert found["SKIPPED"]["data"] == [0]


def test_two_users_in_a_request_are_the_error_that_is_shown(ask: Callable[[str], str]) -> None:
    _, command = commands_of("/v2/models/recommend/infer")
    assert json.loads(ask(command)) == json.loads(blocks("json")[1])


def test_the_configuration_has_the_labels(ask: Callable[[str], str]) -> None:
    [command] = commands_of("/v2/models/classify/config")
    labels = json.loads(ask(command))["parameters"]["labels"]["string_value"]
    assert json.loads(labels) == ["short", "long"]


HEALTH = ("/v2/health/ready", "/v2/models/recommend/ready")


@pytest.mark.parametrize("path", HEALTH)
def test_health_is_a_status(path: str, ask: Callable[[str], str]) -> None:
    [command] = commands_of(path)
    assert ask(command) == "200"


def test_metadata(ask: Callable[[str], str]) -> None:
    [server], [model] = commands_of("/v2"), commands_of("/v2/models/recommend")
    assert json.loads(ask(server))["name"].startswith("tritonrec-")
    assert "HISTORY" in [each["name"] for each in json.loads(ask(model))["inputs"]]


RECOMMEND, RANK = "v2/models/recommend/infer", "v2/models/rank/infer"
KNOWN = {"name": "HISTORY", "datatype": "BYTES", "shape": [1, 1], "data": ["i1"]}
NO_EVENTS = {"name": "HISTORY", "datatype": "BYTES", "shape": [1, 0], "data": []}
UNKNOWN = {"name": "CANDIDATE", "datatype": "BYTES", "shape": [1, 1], "data": ["nobody"]}


def post(server: TritonServer, path: str, body: bytes | dict[str, Any]) -> tuple[str, str]:
    """Body and status of the answer, as curl has them."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = subprocess.run(
        ["curl", "-sw", "\n%{http_code}", "--data-binary", "@-", f"{server.http_address}/{path}"],
        input=sent, check=True, capture_output=True, timeout=60,
    ).stdout.decode()  # fmt: skip
    content, _, status = answer.rpartition("\n")
    return content, status


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (RECOMMEND, {"inputs": [KNOWN], "parameters": {"topk": 3}}, "400"),
        (RECOMMEND, {"inputs": [{**KNOWN, "data": [50]}]}, "500"),
        ("v2/models/nothing/infer", {"inputs": [KNOWN]}, "404"),
        (RECOMMEND, b"{", "500"),
    ],
)
def test_what_an_error_is(
    path: str, body: bytes | dict[str, Any], status: str, tiny: TritonServer
) -> None:
    content, found = post(tiny, path, body)
    assert list(json.loads(content)) == ["error"]
    assert found == status


def test_an_overloaded_model_says_so_in_its_message(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="fused", max_wait=5)
    (tmp_path / "recommend/1/model.py").write_text(SLOW)
    with TritonServer(tmp_path, http_port=0) as server, ThreadPoolExecutor(32) as pool:
        answers = set(pool.map(lambda _: post(server, RECOMMEND, {"inputs": [KNOWN]}), range(96)))
    refused = {json.loads(content)["error"] for content, status in answers if status == "400"}
    assert {status for _, status in answers} == {"200", "400"}
    assert all("is overloaded" in message for message in refused)


def test_a_new_user_has_an_empty_history(tiny: TritonServer) -> None:
    content, _ = post(tiny, RECOMMEND, {"inputs": [NO_EVENTS], "parameters": {"top_k": 2}})
    assert outputs(content)["ITEM"]["shape"] == [1, 2]


def test_one_output_alone_can_be_asked_for(tiny: TritonServer) -> None:
    content, _ = post(tiny, RECOMMEND, {"inputs": [KNOWN], "outputs": [{"name": "ITEM"}]})
    assert list(outputs(content)) == ["ITEM"]


def test_a_candidate_that_is_passed_over_gets_no_valid_json(tiny: TritonServer) -> None:
    options = {"on_unknown": "skip"}
    content, _ = post(tiny, RANK, {"inputs": [KNOWN, UNKNOWN], "parameters": options})
    with pytest.raises(ValueError, match="NaN"):
        json.loads(content, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def test_node_gets_items_over_grpc(trained: TritonServer, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not here")
    [install] = [line for line in TEXT.splitlines() if line.startswith("npm install")]
    installed = subprocess.run(
        [npm, *install.split()[1:], "--no-audit", "--no-fund"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"npm installs nothing here: {installed.stderr.strip()[-200:]}")
    write_protocol(tmp_path)
    [example] = blocks("js")
    example = example.replace("localhost:8001", trained.grpc_address)
    # The first call of a server may take longer than the page allows.
    example = example.replace("Date.now() + 1000", "Date.now() + 60000")
    answer = subprocess.run(
        [node, "-e", example],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    items = answer.stdout.split()
    assert len(items) == len(set(items) - {"50", "172", "1"}) == 3
