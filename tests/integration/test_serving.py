"""The real tritonserver: started, refused, killed, and asked what it does with our ensembles."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from builder.errors import RepositoryError, ServingError
from builder.repository import activate, stage
from builder.serving import TritonServer, find_tritonserver
from builder.serving import installation as installing
from builder.serving import server as serving
from builder.serving.output import parse_line
from builder.serving.ports import claim_ports
from builder.serving.processes import children
from perf.serve import Served, served, start_serve
from tests.integration.serving_models import (
    MAX_ROWS,
    RECOMMENDED,
    WIDTH,
    publish_contract_models,
    publish_one_model,
    write_contract_models,
)
from tests.integration.tiny_repository import write_tiny_repository
from tests.unit.builder.repository.repositories import ENSEMBLES, STEPS

ROOT = Path(__file__).parents[2]
SCALE = 10
LOAD = "pass"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "models"
    publish_contract_models(path, scale=1)
    publish_contract_models(path, scale=SCALE)
    # As in a package that was exported into: modules at the root, and what importing them leaves.
    (path / "module.py").write_text("")
    (path / "__pycache__").mkdir()
    (path / "package").mkdir()
    (path / "package" / "module.py").write_text("")
    return path


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, http_port=0, metrics_port=0) as running:
        yield running
    assert traces(running.identity) == []


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected


def texts(name: str, values: list[str], shape: tuple[int, int] | None = None) -> Any:
    array = np.array([value.encode() for value in values], np.object_)
    array = array.reshape(shape or (1, len(values)))
    tensor = triton.InferInput(name, list(array.shape), "BYTES")
    tensor.set_data_from_numpy(array)
    return tensor


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def traces(identity: str) -> list[str]:
    """What a server has left on this machine: processes, shared memory, temporary files."""
    found = [str(path) for path in Path("/dev/shm").glob(f"{identity}*")]
    found += [str(path) for path in Path(tempfile.gettempdir()).glob(f"{identity}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if identity.encode() in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


# The ensembles of the contract, and the models that are asked directly


def test_every_model_is_ready_in_the_newest_version(server: TritonServer) -> None:
    assert {(model.name, model.version, model.state) for model in server.models()} == {
        (model.name, 2, "READY") for model in (*STEPS, *(each.model for each in ENSEMBLES))
    }


def texts_only(history: list[str], candidates: list[str]) -> list[Any]:
    """The inputs of `rank_texts`."""
    return [texts("HISTORY_TEXT", history), texts("CANDIDATE_TEXT", candidates)]


def test_an_ensemble_hands_parameters_to_every_step(client: triton.InferenceServerClient) -> None:
    answer = client.infer(
        "rank_texts", texts_only(["a", "b"], ["x", "y", "z"]), parameters={"top_k": 5}
    )
    assert answer.as_numpy("TRUNCATED").tolist() == [[5 * 1000 + 3]]  # as the tokenizer saw it
    assert answer.as_numpy("INTEREST").tolist() == [[5 * SCALE] * 3]  # as the encoder saw it
    assert answer.as_numpy("LOGIT").tolist() == [[5] * 3]  # as the adapter saw it


@pytest.mark.parametrize("texts_to_encode", [0, 1, 3, MAX_ROWS])
def test_a_batch_of_one_may_need_any_number_of_rows(
    client: triton.InferenceServerClient, texts_to_encode: int
) -> None:
    answer = client.infer("rank_texts", texts_only([], ["x"] * texts_to_encode))
    assert answer.as_numpy("TRUNCATED").tolist() == [[max(1, texts_to_encode)]]
    assert answer.as_numpy("INTEREST").shape == (1, texts_to_encode)


def test_more_rows_than_the_encoder_takes(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="must be <= 16 for 'encoder'") as caught:
        client.infer("rank_texts", texts_only([], ["x"] * (MAX_ROWS + 1)))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_empty_history_and_empty_candidates(client: triton.InferenceServerClient) -> None:
    answer = client.infer("rank", [texts("HISTORY", []), texts("CANDIDATE", [])])
    assert answer.as_numpy("INTEREST").shape == (1, 0)
    answer = client.infer("rank_texts", texts_only([], []))
    assert answer.as_numpy("INTEREST").shape == (1, 0)


def test_recommend_with_and_without_its_optional_inputs(
    client: triton.InferenceServerClient,
) -> None:
    for extra in ([], [texts("EXCLUDE", ["q"])], [texts("EXCLUDE", [])]):
        answer = client.infer(
            "recommend", [texts("HISTORY", ["a", "b"]), *extra], parameters={"top_k": 2}
        )
        assert answer.as_numpy("ITEM").tolist() == [[b"0", b"1"]]
        assert answer.as_numpy("LOGIT").tolist() == [[2, 2]]  # events of the history
    everything = client.infer("recommend", [texts("HISTORY", [])], parameters={"top_k": 100})
    assert everything.as_numpy("ITEM").shape == (1, RECOMMENDED)


def test_encode_answers_each_row(client: triton.InferenceServerClient) -> None:
    answer = client.infer("encode", [texts("TEXT", ["a", "b", "c"], (3, 1))])
    assert answer.as_numpy("VECTOR").shape == (3, WIDTH)
    assert answer.as_numpy("TRUNCATED").shape == (3, 1)


def test_an_error_of_a_step_reaches_the_caller_as_what_it_is(
    client: triton.InferenceServerClient,
) -> None:
    for model, inputs in (
        ("rank", [texts("HISTORY", ["a"]), texts("CANDIDATE", ["refuse"])]),
        ("rank_texts", texts_only(["a"], ["refuse"])),
        ("encode", [texts("TEXT", ["refuse"])]),
    ):
        with pytest.raises(InferenceServerException, match="unknown candidate 'refuse'") as caught:
            client.infer(model, inputs)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("model", "first", "history", "candidates", "optional"),
    [
        ("rank", "rank", "HISTORY", "CANDIDATE", "CANDIDATE_TEXT"),
        ("rank_texts", "tokenizer", "HISTORY_TEXT", "CANDIDATE_TEXT", "HISTORY_ACTION"),
    ],
    ids=["rank", "rank_texts"],
)
def test_requests_of_many_shapes_and_refused_ones_share_batches(
    client: triton.InferenceServerClient,
    model: str,
    first: str,
    history: str,
    candidates: str,
    optional: str,
) -> None:
    def ask(number: int) -> bool:
        refused, count = number % 4 == 0, 1 + number % 7
        ids = ["refuse" if refused else "x"] * count
        inputs = [texts(history, ["h"] * (number % 5)), texts(candidates, ids)]
        if number % 3:
            inputs.append(texts(optional, ids))
        try:
            answer = client.infer(model, inputs, parameters={"top_k": number})
        except InferenceServerException as error:
            return refused and error.status() == "StatusCode.INVALID_ARGUMENT"
        return (
            not refused
            and answer.as_numpy("INTEREST").tolist() == [[SCALE * number] * count]
            and answer.as_numpy("LOGIT").tolist() == [[number] * count]
        )

    before = _executions(client, first)
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(128)))
    assert _executions(client, first) - before < 128  # some did share a batch


def _executions(client: triton.InferenceServerClient, model: str) -> int:
    statistics = client.get_inference_statistics(model, as_json=True)
    return int(statistics["model_stats"][0].get("execution_count", 0))


def test_http_and_metrics_are_served(server: TritonServer) -> None:
    with urllib.request.urlopen(f"http://{server.http_address}/v2/health/ready") as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        assert b"nv_inference_request_success" in answer.read()


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_every_kind_of_host_is_listened_on_and_no_proxy_stands_between(
    repository: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with TritonServer(repository, http_port=0, metrics_port=0, host=host) as server:
        assert all(model.state == "READY" for model in server.models())
        for address in (
            f"{server.http_address}/v2/health/ready",
            f"{server.metrics_address}/metrics",
        ):
            with direct.open(f"http://{address}") as answer:
                assert answer.status == 200


ADMINISTRATION = (
    "v2/repository/index",
    "v2/repository/models/rank/load",
    "v2/repository/models/rank/unload",
    "v2/systemsharedmemory/status",
    "v2/systemsharedmemory/region/r/register",
    "v2/systemsharedmemory/unregister",
    "v2/cudasharedmemory/status",
    "v2/trace/setting",
    "v2/models/rank/trace/setting",
    "v2/logging",
)


@pytest.mark.parametrize("path", ADMINISTRATION)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_administration_is_closed_over_http(server: TritonServer, path: str, method: str) -> None:
    request = urllib.request.Request(
        f"http://{server.http_address}/{path}", b"{}" if method == "POST" else None, method=method
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code in (403, 405), answer.read()


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_model_repository_index(),
        lambda client: client.load_model("rank"),
        lambda client: client.unload_model("rank"),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("r", "/r", 1),
        lambda client: client.unregister_system_shared_memory(),
        lambda client: client.get_cuda_shared_memory_status(),
        lambda client: client.get_trace_settings(),
        lambda client: client.update_trace_settings(settings={"trace_rate": "1"}),
        lambda client: client.get_log_settings(),
        lambda client: client.update_log_settings({"log_verbose_level": 1}),
    ],
)
def test_administration_is_closed_over_grpc(
    client: triton.InferenceServerClient, ask: Callable[[Any], object]
) -> None:
    with pytest.raises(InferenceServerException, match="This protocol is restricted"):
        ask(client)


def test_what_services_ask_is_open(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("rank")
    assert client.get_server_metadata().version
    assert client.get_model_metadata("rank").name == "rank"
    assert client.get_model_config("rank").config.name == "rank"
    assert client.get_inference_statistics("rank").model_stats


# A repository that is being served


def test_publishing_does_not_touch_what_is_served(
    server: TritonServer, repository: Path, client: triton.InferenceServerClient
) -> None:
    def vector() -> float:
        answer = client.infer("encode", [texts("TEXT", ["a"])], parameters={"top_k": 1})
        return float(answer.as_numpy("VECTOR")[0, 0])

    before = files(repository)
    assert not [name for name in before if name.endswith(".pyc")]
    with pytest.raises(RepositoryError, match="no such model"), stage(repository) as staging:  # noqa: PT012
        write_contract_models(staging, scale=3)
        shutil.rmtree(staging.model_dir("encoder").parent)
        staging._configs.pop("encoder")
    assert files(repository) == before
    assert vector() == SCALE
    publish_contract_models(repository, scale=3)
    assert vector() == SCALE
    assert {model.version for model in server.models()} == {2}


def test_an_earlier_version_is_served_after_its_activation(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", "print('first', flush=True)")
    publish_contract_models(tmp_path / "models")
    activate(tmp_path / "models", 1)
    with TritonServer(tmp_path / "models") as server:
        assert [(model.name, model.version) for model in server.models()] == [("solo", 1)]


# What goes wrong at start


def test_a_taken_port_is_named(server: TritonServer, repository: Path) -> None:
    taken = int(server.grpc_address.rpartition(":")[2])
    with pytest.raises(ServingError, match=f"the gRPC port {taken} on 127.0.0.1 is taken"):
        TritonServer(repository, grpc_port=taken).start()


def test_a_model_that_does_not_load_says_why(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", "import nosuchthing")
    server = TritonServer(tmp_path / "models")
    with pytest.raises(ServingError) as caught:
        server.start()
    message = str(caught.value)
    assert "failed to load 'solo' version 1" in message
    assert "No module named 'nosuchthing'" in message
    assert "CUDA" not in message
    assert message.count("nosuchthing") == 1
    assert traces(server.identity) == []


def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    write_tiny_repository(tmp_path, layout="fused")
    file = tmp_path / "encode/1/libraries.json"
    libraries = json.loads(file.read_text())
    assert "tokenizers" in libraries
    file.write_text(json.dumps({**libraries, "no-such-library": "1.2", "nor-this": "3"}))
    server = TritonServer(tmp_path)
    with pytest.raises(ServingError) as caught:
        server.start()
    message = str(caught.value)
    assert "failed to load 'encode' version 1" in message
    assert "pip install no-such-library==1.2 nor-this==3" in message
    assert "failed to load 'rank'" not in message
    assert traces(server.identity) == []


def test_a_broken_configuration_says_why(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    with (tmp_path / "models" / "solo" / "config.pbtxt").open("a") as config:
        config.write("colour: 3\n")
    with pytest.raises(ServingError, match='no field named "colour"') as caught:
        TritonServer(tmp_path / "models").start()
    assert f"failed to read text proto from {tmp_path}/models/solo/config.pbtxt" in str(
        caught.value
    )


def test_a_model_that_never_finishes_loading_meets_the_limit(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", "print('reading', flush=True)\ntime.sleep(600)")
    server = TritonServer(tmp_path / "models", start_timeout=3)
    with pytest.raises(
        ServingError, match=r"not ready after 3 s[^$]*still loading: solo"
    ) as caught:
        server.start()
    assert "reading" in str(caught.value)
    assert traces(server.identity) == []


def test_a_stub_that_ends_before_it_says_a_word_is_noticed(tmp_path: Path) -> None:
    found = find_tritonserver()
    stub = tmp_path / "triton_python_backend_stub"
    stub.write_text("#!/bin/sh\necho this is no stub >&2\nexit 3\n")
    stub.chmod(0o755)
    publish_one_model(tmp_path / "models", LOAD)
    server = TritonServer(
        tmp_path / "models",
        installation=dataclasses.replace(found, backend_files=(stub, *found.backend_files[1:])),
    )
    with pytest.raises(
        ServingError, match=r"did not start: the process of .* ended\n[^$]*this is no stub"
    ):
        server.start()
    assert traces(server.identity) == []


def test_a_process_that_is_stopped_while_models_load_is_noticed(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", "import signal\nos.kill(os.getpid(), signal.SIGSTOP)")
    server = TritonServer(tmp_path / "models")
    with pytest.raises(ServingError, match=r"did not start: the process of solo .* is stopped"):
        server.start()
    assert traces(server.identity) == []


def test_a_tritonserver_that_is_stopped_while_it_starts_is_noticed(tmp_path: Path) -> None:
    stop = "import signal\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)"
    publish_one_model(tmp_path / "models", stop)
    server = TritonServer(tmp_path / "models")
    with pytest.raises(ServingError, match=r"did not start: tritonserver is stopped"):
        server.start()
    assert traces(server.identity) == []


@pytest.mark.parametrize("end", [TritonServer.kill, TritonServer.stop])
def test_a_guard_that_is_stopped_holds_nobody(
    tmp_path: Path, end: Callable[[TritonServer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_KILL_TIMEOUT", 1.0)
    publish_one_model(tmp_path / "models", LOAD)
    server = TritonServer(tmp_path / "models", stop_timeout=1)
    server.start()
    (triton_pid,) = children(server.pid)
    os.kill(server.pid, signal.SIGSTOP)
    os.kill(triton_pid, signal.SIGKILL)
    end(server)
    assert not server.running
    assert traces(server.identity) == []


def test_the_ports_of_a_server_whose_starter_was_killed_are_waited_for(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    with start_serve(tmp_path / "models") as process:
        first = Served(process)
        identity, ports = first.identity(), [f"--grpc-port={first.address.rpartition(':')[2]}"]
        process.kill()
        first.end()
    assert traces(identity)
    with served(tmp_path / "models", *ports) as running:
        assert "waiting for an earlier server that is ending" in running.printed
        assert running.address == first.address
    assert traces(identity) == []


def test_a_long_call_survives_the_keepalive_of_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton takes two pings that come too early; here four come, one a second."""
    monkeypatch.setattr(serving, "_PING_EVERY", 500)
    slow = "at_once = self.execute\nself.execute = lambda all: (time.sleep(5), at_once(all))[1]"
    publish_one_model(tmp_path / "models", slow)
    pings = [("grpc.keepalive_time_ms", 500), ("grpc.http2.max_pings_without_data", 0)]
    with (
        TritonServer(tmp_path / "models") as server,
        triton.InferenceServerClient(server.grpc_address, channel_args=pings) as client,
    ):
        tensor = triton.InferInput("IN", [1], "INT32")
        tensor.set_data_from_numpy(np.ones(1, np.int32))
        assert client.infer("solo", [tensor]).as_numpy("OUT").tolist() == [1]


def test_a_dead_stub_does_not_hold_the_server(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    with (
        TritonServer(tmp_path / "models", stop_timeout=1) as server,
        triton.InferenceServerClient(server.grpc_address) as client,
    ):
        tensor = triton.InferInput("IN", [0], "INT32")
        tensor.set_data_from_numpy(np.zeros(0, np.int32))
        with pytest.raises(InferenceServerException, match="Stub process"):
            client.infer("solo", [tensor], client_timeout=10)
    assert traces(server.identity) == []


def test_a_killed_starter_leaves_nothing_behind(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from builder.serving import TritonServer\n"
        "server = TritonServer(Path(sys.argv[1]))\n"
        "server.start()\n"
        "print(server.identity, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "models"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    identity = done.stdout.strip()
    assert until(lambda: not traces(identity)), traces(identity)


def test_what_a_model_started_ends_with_the_server(tmp_path: Path) -> None:
    marker = f"worker-of-{os.getpid()}-{time.monotonic_ns()}"
    publish_one_model(
        tmp_path / "models",
        f"import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 600; true {marker}'])",
    )
    with TritonServer(tmp_path / "models"):
        assert traces(marker)
    assert traces(marker) == []


def test_a_server_that_dies_is_noticed(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    with TritonServer(tmp_path / "models") as server:
        assert server._process is not None
        guard = server._process.pid
        (triton_pid,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        os.kill(int(triton_pid), signal.SIGKILL)
        assert server.wait() == 128 + signal.SIGKILL
        assert traces(server.identity) == []


def test_the_server_can_be_started_again(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", LOAD)
    server = TritonServer(tmp_path / "models")
    server.start()
    with pytest.raises(ServingError, match="started already"):
        server.start()
    first = server.identity
    server.kill()
    assert traces(first) == []
    server.stop()
    with pytest.raises(ServingError, match="not running"):
        server.wait()


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_repository_without_models_names_the_export(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServingError, match=f"{name}.*python -m builder export"):
        TritonServer(tmp_path / name).start()


# The command


def serve(*arguments: str, directory: Path = ROOT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import typer; from builder.serving.commands import serve; typer.run(serve)",
            *arguments,
            *(f"--{name}-port=0" for name in ("grpc", "http", "metrics", "health")),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT] * 2])
def test_serve_prints_where_and_stops_cleanly(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    publish_one_model(tmp_path / "models", "print('from the model', flush=True)")
    with serve("--repository", str(tmp_path / "models")) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Press Ctrl-C" in line:
                break
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)  # two equal signals at once are one
        printed += process.stdout.read()
    assert process.returncode == 0, printed
    assert "gRPC     127.0.0.1:" in printed
    assert "solo  version 1" in printed
    assert "from the model" in printed
    assert "CUDA" not in printed
    assert printed.endswith("Stopped.\n")


def test_serve_can_be_stopped_while_models_load(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "models", "print('loading now', flush=True)\ntime.sleep(600)")
    with serve("--repository", str(tmp_path / "models")) as process:
        assert process.stdout is not None
        assert any("loading now" in line for line in process.stdout)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert process.stdout.read().endswith("Stopped.\n")
    assert process.returncode == 0


def test_serve_without_options_serves_where_exports_go(tmp_path: Path) -> None:
    publish_one_model(tmp_path / "repository", LOAD)
    with serve(directory=tmp_path) as process:
        assert process.stdout is not None
        printed = ""
        while "Press Ctrl-C" not in printed and (line := process.stdout.readline()):
            printed += line
        process.send_signal(signal.SIGTERM)
        printed += process.stdout.read()
    assert process.returncode == 0, printed
    assert f"Serving {tmp_path / 'repository'}\n" in printed


# The parts


def test_ports_are_free_and_distinct() -> None:
    ports = claim_ports("127.0.0.1", {"gRPC": 0, "HTTP": 0, "metrics": 0})
    assert len(set(ports.values())) == 3


def test_no_connection_is_given_a_port_that_was_chosen() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chosen = [claim_ports("127.0.0.1", {"gRPC": 0})["gRPC"] for _ in range(50)]
    assert all(10_000 <= port < first for port in chosen)
    assert len(set(chosen)) > 40  # servers that start together choose others


def test_where_all_ports_are_for_connections_one_of_them_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr("builder.serving.ports._OF_CONNECTIONS", tmp_path / "range")
    assert claim_ports("127.0.0.1", {"gRPC": 0})["gRPC"] > 0


def test_every_port_problem_is_reported_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ServingError) as caught:
            claim_ports("127.0.0.1", {"gRPC": taken, "HTTP": 70000})
    assert f"the gRPC port {taken} on 127.0.0.1 is taken" in str(caught.value)
    assert "the HTTP port 70000 on 127.0.0.1 is not a port" in str(caught.value)
    free = claim_ports("127.0.0.1", {"gRPC": 0})["gRPC"]
    with pytest.raises(ServingError, match=f"metrics port {free} .* is the gRPC port too"):
        claim_ports("127.0.0.1", {"gRPC": free, "metrics": free})
    with pytest.raises(ServingError, match=r"'nowhere\.invalid' is not an address"):
        claim_ports("nowhere.invalid", {"gRPC": 0})
    with pytest.raises(ServingError, match=r"'192\.0\.2\.1' is not an address of this machine"):
        claim_ports("192.0.2.1", {"gRPC": free})


@pytest.mark.parametrize(
    ("text", "gpu", "level", "message"),
    [
        ('I1124 05:03:49.425390 44 a_b.cc:472] "loading: x:1"', False, "INFO", "loading: x:1"),
        ('W1124 05:03:49.425390 44 model.py:5] "two\\nlines"', False, "WARNING", "two\nlines"),
        ("E1124 05:03:49.425390 44 old.cc:1] unquoted", False, "ERROR", "unquoted"),
        ("Error: Failed to initialize NVML", False, "DEBUG", "Error: Failed to initialize NVML"),
        ("Error: Failed to initialize NVML", True, "INFO", "Error: Failed to initialize NVML"),
        ("| Model | Version |", False, "DEBUG", "| Model | Version |"),
        ("I1124 05:03:49.425390 44 server.cc:604] ", False, "DEBUG", ""),
        ("error: creating server: why", False, "ERROR", "error: creating server: why"),
        ("printed by a model", False, "INFO", "printed by a model"),
    ],
)
def test_a_line_of_output(text: str, gpu: bool, level: str, message: str) -> None:
    line = parse_line(text, gpu=gpu)
    assert (logging.getLevelName(line.level), line.message) == (level, message)


def test_numpy_2_is_refused_before_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _name: "2.1.0")
    with pytest.raises(ServingError, match=r"numpy 2\.1\.0 is installed.*pip install 'numpy<2'"):
        find_tritonserver()


def test_no_tritonserver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ServingError, match=r"pip install tritonrec\[embedded\]"):
        find_tritonserver()


def test_the_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "bin" / "tritonserver"
    binary.parent.mkdir()
    binary.touch(mode=0o755)
    (tmp_path / "backends").mkdir()
    monkeypatch.setenv("PATH", str(binary.parent), prepend=os.pathsep)
    found = find_tritonserver()
    assert found == installing.Installation(binary, tmp_path / "backends")
    assert found.backend_directory(tmp_path) == tmp_path / "backends"


def test_a_python_without_its_shared_library_is_named() -> None:
    found = find_tritonserver()
    stubs = found.backend_files[0].parents[1]
    strange = [path for path in sorted(stubs.iterdir()) if path.name in ("3.8", "3.9", "3.12")]
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = next(path.name for path in strange if path.name != running)
    with pytest.raises(ServingError, match=rf"libpython{version}\.so.*linked statically"):
        installing._check_libraries(found, stubs / version / "triton_python_backend_stub", version)


def test_the_environment_is_for_speed_unless_it_says_otherwise() -> None:
    installation = installing.Installation(Path("tritonserver"))
    assert installation.environment({}) == dict(installing.FOR_SPEED)
    own = {"MALLOC_TRIM_THRESHOLD_": "1", "HOME": "/root"}
    found = installation.environment(own)
    assert own.items() <= found.items()
    assert found["MALLOC_MMAP_THRESHOLD_"] == str(32 << 20)
