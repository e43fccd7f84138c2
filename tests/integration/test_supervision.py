"""``serve`` and the faults that servers meet, on a real tritonserver, and what is left after."""

from __future__ import annotations

import fcntl
import http.client
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from builder.errors import RepositoryError, ServingError
from builder.export.options import ModelLayout
from builder.repository import MANIFEST, activate
from builder.repository.golden import DETAIL, GoldenOutput, GoldenRequest, golden_to_json
from builder.repository.manifest import sha256_of
from builder.serving import TritonServer, supervisor, watch
from builder.serving.ports import claim_ports
from builder.serving.processes import children, stubs
from builder.serving.supervisor import Supervisor
from client import RecommenderClient, RecommenderError, Retry
from model_repository.core.contract import (
    CANDIDATE,
    HISTORY,
    ITEM_LOGIT,
    LOGIT,
    RANK,
    RECOMMEND,
    TOP_K,
)
from perf.republish import republish
from perf.serve import Served, served, start_serve
from tests.integration.breakable import publish_breakable
from tests.integration.test_degraded import let_user_encoder_hang
from tests.integration.test_serving import traces, until
from tests.integration.tiny_repository import write_tiny_repository
from tests.shared import first_of

PROMISED = 5.0
"""Seconds until a server answers again."""
PATIENT = 60.0
PLACES = {Path("/dev/shm"), Path(tempfile.gettempdir())}
"""Where a server keeps what it deletes at its end."""
SWEEP = pytest.mark.sweep


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supervised") / "models"
    publish_breakable(path)
    return path


def rank(client: RecommenderClient, candidate: str = "a", timeout: float = 1.0) -> str:
    """The first logit, or the name of the error."""
    try:
        return str(client.rank([], [candidate], timeout=timeout).logits[0])
    except RecommenderError as error:
        return type(error).__name__


def signalled(process: str, number: signal.Signals) -> Callable[[Served], None]:
    return lambda running: os.kill(running.processes()[process], number)


def asked(candidate: str) -> Callable[[Served], None]:
    def ask(running: Served) -> None:
        with RecommenderClient(running.address, retry=Retry(attempts=1)) as client:
            rank(client, candidate)

    return ask


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (signalled("rank", signal.SIGKILL), "the process of rank"),
        (signalled("rank", signal.SIGSTOP), "is stopped"),
        (signalled("tritonserver", signal.SIGKILL), "tritonserver ended"),
        pytest.param(
            signalled("tritonserver", signal.SIGSTOP), "tritonserver is stopped", marks=SWEEP
        ),
        pytest.param(signalled("guard", signal.SIGKILL), "tritonserver ended", marks=SWEEP),
        pytest.param(asked("die"), "the process of rank", marks=SWEEP),
        pytest.param(asked("out of memory"), "the process of rank", marks=SWEEP),
        (asked("hang"), "rank does not answer, and does nothing"),
        (asked("wrong"), "rank answers wrong: LOGIT is 2 instead of 1"),
    ],
    ids=[
        "stub-killed", "stub-stopped", "server-killed", "server-stopped", "guard-killed",
        "dies-of-a-request", "out-of-memory", "hangs", "wrong-answers",
    ],
)  # fmt: skip
def test_it_answers_again_by_itself(
    repository: Path, fault: Callable[[Served], None], told: str
) -> None:
    with served(repository) as running:
        before, address = running.identity(), running.address
        fault(running)
        began = time.monotonic()
        assert until(lambda: running.restarts == 1), running.printed
        with RecommenderClient(address) as client:
            assert until(lambda: rank(client) == "1.0"), running.printed
            assert time.monotonic() - began < 2 * PROMISED + PROMISED  # a busy machine has time
            assert until(lambda: running.get("/ready")[0] == 200)
            assert client.ready(models=["rank"])
        assert told in running.printed
        assert running.printed.count("starting the server anew") == 1
        assert running.restarts == 1
        assert traces(before) == []
        after = running.identity()
        assert running.end() == 0
    assert traces(after) == []


def test_what_is_told_while_it_starts_anew(repository: Path) -> None:
    with served(repository) as running, RecommenderClient(running.address) as client:
        assert [running.get(each)[0] for each in ("/live", "/startup", "/ready")] == [200] * 3
        assert running.get("/models/rank") == (200, "ok\n")
        assert running.get("/models/encode") == (404, "there is no model encode\n")
        os.kill(running.processes()["rank"], signal.SIGKILL)
        assert until(lambda: running.get("/ready")[0] == 503)
        status, reason = running.get("/models/rank")
        assert (status, "the process of rank" in reason) == (503, True)
        assert [running.get(each)[0] for each in ("/live", "/startup")] == [200] * 2
        assert client.ready(models=["rank"]) is False
        with pytest.raises(RecommenderError) as caught:
            client.rank([], ["a"], timeout=0.2)
        assert caught.value.code is StatusCode.UNAVAILABLE
        assert until(lambda: running.get("/models/rank")[0] == 200)


def test_a_model_that_works_long_is_not_taken_for_dead(repository: Path) -> None:
    """Eight requests wait, three of which take 3 s each: no golden answer for 9 s."""
    with served(repository) as running, RecommenderClient(running.address) as client:
        before = running.identity()
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda each=each: found.append(rank(client, each, PATIENT)))
            for each in ["work 3"] * 3 + ["a"] * 5
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["1.0"] * 8
        assert running.restarts == 0
        assert running.identity() == before
        assert running.get("/ready")[0] == 200


def test_serve_that_was_stopped_takes_nobody_for_dead(repository: Path) -> None:
    """As on a machine that slept: much time has passed, and nobody waited."""
    with served(repository) as running:
        before = running.identity()
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        running.process.send_signal(signal.SIGCONT)
        time.sleep(2)
        assert (running.restarts, running.identity()) == (0, before)


def test_whoever_starts_anew_in_vain_gives_up_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0, 0.1))
    flag = tmp_path / "broken"
    publish_breakable(
        tmp_path / "models",
        initialize=f"if os.path.exists({str(flag)!r}): raise ValueError('the disk is gone')",
    )
    server = TritonServer(tmp_path / "models")
    supervised = Supervisor(server)
    supervised.start()
    first = server.identity
    flag.touch()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ServingError) as caught:
        supervised.run()
    supervised.stop()
    assert "started anew 2 times and does not work" in str(caught.value)
    assert "the disk is gone" in str(caught.value)
    assert supervised.health.restarts == 2
    assert traces(first) == traces(server.identity) == []


def publish_ensembles(root: Path, flag: Path, meanwhile: str) -> Path:
    """With golden requests, and a user encoder that hangs while there is a file ``flag``."""
    write_tiny_repository(root / "made", layout="ensemble")
    let_user_encoder_hang(root / "made", flag, meanwhile)
    republish(root / "made", root / "models")
    golden = [
        GoldenRequest(
            RANK.name,
            {HISTORY.name: [["i1"]], CANDIDATE.name: [["i7", "i2"]]},
            {LOGIT.name: GoldenOutput((1, 2), (7, 2))},
        ),
        GoldenRequest(
            RECOMMEND.name,
            {HISTORY.name: [["i3"]]},
            {ITEM_LOGIT.name: GoldenOutput((1, 2), (29, 28))},
            {TOP_K.name: 2},
        ),
    ]
    manifest = root / "models" / MANIFEST
    document = json.loads(manifest.read_text())
    document["versions"]["1"]["details"][DETAIL] = golden_to_json(golden)
    manifest.write_text(json.dumps(document))
    return root / "models"


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        pytest.param("", "the process of user_encoder .* is stopped", id="stopped"),
        pytest.param(
            "time.sleep(0.01)",
            "lacks another model: .*user_encoder is not available",
            id="sleeps",
            marks=SWEEP,
        ),
        pytest.param(
            "pass",
            "lacks another model: .*user_encoder is not available",
            id="works for ever",
            marks=SWEEP,
        ),
    ],
)
def test_a_model_that_others_ask_and_that_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str, told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(watch, "_SILENT", 40)
    flag = tmp_path / "hangs"
    server = TritonServer(publish_ensembles(tmp_path, flag, meanwhile or "pass"))
    supervised = Supervisor(server)
    supervised.start()
    running = threading.Thread(target=supervised.run)
    running.start()
    try:
        with RecommenderClient(server.grpc_address, timeout=20) as client:
            assert client.recommend(["i3"]).fallback is False
            if meanwhile:
                flag.touch()
            else:
                (process,) = (pid for model, pid in stubs_of(server) if model == "user_encoder")
                os.kill(process, signal.SIGSTOP)
            assert until(lambda: supervised.health.restarts == 1)
            flag.unlink(missing_ok=True)
            assert until(lambda: not supervised.health.server)
            assert client.recommend(["i3"]).fallback is False
            assert client.rank(["i1"], ["i7"]).logits.tolist() == [7]
    finally:
        supervised.request_stop()
        running.join()
        supervised.stop()
    assert re.search(told, caplog.text)
    assert supervised.health.restarts == 1


def stubs_of(server: TritonServer) -> list[tuple[str, int]]:
    (triton,) = children(server.pid)
    return list(stubs(triton))


def test_a_user_encoder_that_is_slow_for_a_while_is_not_taken_for_dead(tmp_path: Path) -> None:
    flag = tmp_path / "hangs"
    with served(publish_ensembles(tmp_path, flag, "pass")) as running:
        before = running.identity()
        with RecommenderClient(running.address, timeout=20) as client:
            flag.touch()
            end = time.monotonic() + 6
            while time.monotonic() < end:
                assert client.recommend(["i3"]).fallback
                time.sleep(0.1)
            flag.unlink()
            assert until(lambda: not client.recommend(["i3"]).fallback)
        assert (running.restarts, running.identity()) == (0, before)
        assert running.get("/ready")[0] == 200


def test_a_repository_without_golden_requests_has_its_processes_watched(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models", golden=False)
    with served(tmp_path / "models") as running, RecommenderClient(running.address) as client:
        os.kill(running.processes()["rank"], signal.SIGKILL)
        assert until(lambda: running.restarts == 1 and running.get("/ready")[0] == 200)
        assert rank(client) == "1.0"
        assert running.printed.count("exported without golden requests") == 1


def test_what_a_killed_group_left_is_deleted_by_the_next_start(repository: Path) -> None:
    """As systemd kills a unit, and the kernel a cgroup: with the guard, and everybody else."""
    with served(repository) as other:
        with served(repository) as running:
            left = running.identity()
            for process in [running.process.pid, *running.processes().values()]:
                os.kill(process, signal.SIGKILL)
            assert running.end() == -signal.SIGKILL
        assert until(lambda: {Path(each).parent for each in traces(left)} == PLACES)
        runs = traces(other.identity())
        with served(repository):
            assert traces(left) == []
            assert traces(other.identity()) == runs
            with RecommenderClient(other.address) as client:
                assert rank(client) == "1.0"
        assert other.restarts == 0


def test_a_stop_under_load_loses_no_request(repository: Path) -> None:
    """Eight requests, in two batches of which one waits, are under way when it is asked to stop."""
    with served(repository) as running, RecommenderClient(running.address) as client:
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: rank(client, "work 0.3", PATIENT), range(8))
            time.sleep(0.3)
            assert running.end() == 0
        assert list(answers) == ["1.0"] * 8
    assert running.printed.endswith("Stopped.\n")


def test_a_stop_before_there_is_a_process_is_heeded_while_models_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_breakable(tmp_path / "models", initialize="time.sleep(600)")
    server = TritonServer(tmp_path / "models")
    start = subprocess.Popen

    def asked_to_stop(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        server.request_stop()
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", asked_to_stop)
    with pytest.raises(ServingError, match="asked to stop"):
        server.start()
    assert not server.running
    assert traces(server.identity) == []


def test_a_stop_while_it_hashes_the_files_is_heeded(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models")
    large = tmp_path / "models/rank/1/weights"
    with large.open("wb") as file:
        file.truncate(1 << 37)  # minutes to read, and nothing on the disk
    manifest = tmp_path / "models" / MANIFEST
    document = json.loads(manifest.read_text())
    document["versions"]["1"]["details"]["sha256"]["rank/weights"] = "0" * 64
    manifest.write_text(json.dumps(document))
    with start_serve(tmp_path / "models") as process:
        opened = Path(f"/proc/{process.pid}/fd")
        assert until(lambda: any(os.path.realpath(each) == str(large) for each in opened.iterdir()))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        printed = process.stdout.read()
        assert process.wait() == 0, printed
        assert time.monotonic() - began < 60  # to read the rest takes longer
    assert printed.endswith("Stopped.\n")


# What is refused before anything is served


def refusal(repository: Path) -> str:
    """What ``serve`` says before it ends."""
    with start_serve(repository) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode == 2, printed
    assert "Traceback" not in printed
    assert "Serving" not in printed
    return printed


def test_wrong_answers_are_not_served(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models", logit=3.0)
    printed = refusal(tmp_path / "models")
    assert "rank answers wrong: LOGIT is 1 instead of 3" in printed
    assert "python -m builder doctor" in printed


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models")
    model = tmp_path / "models/rank/1/model.py"
    model.write_text(model.read_text()[:-40])
    printed = " ".join(refusal(tmp_path / "models").split())
    assert "rank/1/model.py is not the file that was exported" in printed
    assert "python -m builder activate" in printed


def ready(port: int) -> int | None:
    """The status of ``/ready``; None while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("output", "stop"), [("nobody reads it", signal.SIGTERM), ("the disk is full", signal.SIGHUP)]
)
def test_output_that_cannot_be_written_stops_nothing(
    repository: Path, output: str, stop: signal.Signals
) -> None:
    port = claim_ports("127.0.0.1", {"health": 0})["health"]
    unread, written = os.pipe()
    os.write(written, bytes(fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)))
    full = os.open("/dev/full", os.O_WRONLY)
    target = written if output == "nobody reads it" else full
    with start_serve(repository, f"--health-port={port}", output=target) as process:
        assert until(lambda: ready(port) == 200, PATIENT)
        (guard,) = children(process.pid)
        (triton,) = children(guard)
        os.kill(dict(stubs(triton))["rank"], signal.SIGKILL)
        assert until(lambda: ready(port) == 503)
        assert until(lambda: ready(port) == 200, PATIENT)
        process.send_signal(stop)
        assert process.wait(30) == 0
    for each in (unread, written, full):
        os.close(each)


def test_too_few_files_are_named(repository: Path) -> None:
    with start_serve(repository, before=("sh", "-c", 'ulimit -n 200; exec "$@"', "sh")) as process:
        assert process.stdout is not None
        told = next(line for line in process.stdout if "WARNING" in line)
        process.kill()
        process.communicate()
    assert "a process may open 200 files here" in told


def test_a_version_that_is_published_while_it_starts_is_served(tmp_path: Path) -> None:
    path = tmp_path / "models"
    for expected in (2.0, 1.0):
        publish_breakable(path, logit=expected)
    activate(path, 1)
    server = TritonServer(path, grpc_port=0, http_port=0, metrics_port=0)
    running = Supervisor(server)
    start = server.start

    def start_late() -> None:
        activate(path, 2)
        server.start = start  # type: ignore[method-assign]
        start()

    server.start = start_late  # type: ignore[method-assign]
    running.start()
    try:
        assert {each.version for each in server.models()} == {2}
    finally:
        running.stop()


def test_a_configuration_may_be_changed(tmp_path: Path) -> None:
    publish_breakable(tmp_path / "models")
    config = tmp_path / "models/rank/1/config.pbtxt"
    config.write_text(config.read_text() + "# two instances\n")
    with served(tmp_path / "models") as running:
        assert running.get("/ready")[0] == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:100], "is broken or was not written by this software"),
        (lambda text: text.replace('"shape"', '"form"'), "golden requests in the manifest cannot"),
    ],
    ids=["truncated", "golden"],
)
def test_a_corrupt_manifest_is_named(
    tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    publish_breakable(tmp_path / "models")
    manifest = tmp_path / "models" / MANIFEST
    manifest.write_text(change(manifest.read_text()))
    server = TritonServer(tmp_path / "models")
    with pytest.raises(RepositoryError, match=told):
        Supervisor(server).start()
    assert not server.running


# Real exports


@pytest.mark.parametrize("layout", first_of(["fused", "ensemble"]))
def test_an_export_answers_its_golden_requests(
    exported: Callable[[ModelLayout], Path], layout: ModelLayout, caplog: pytest.LogCaptureFixture
) -> None:
    supervised = Supervisor(TritonServer(exported(layout)))
    with caplog.at_level(logging.WARNING, "builder.serving.supervisor"):
        supervised.start()
    expected = {"rank", "recommend", "encode"} | (
        {"rank_texts", "tokenizer", "encoder", "user_encoder", "adapter"}
        if layout == "ensemble"
        else set()
    )
    supervised.stop()
    assert dict(supervised.health.models) == dict.fromkeys(expected, "")
    assert [each for each in caplog.records if each.name.startswith("builder.serving.su")] == []


def test_another_catalogue_is_refused_even_if_its_hash_fits(
    exported: Callable[[ModelLayout], Path], tmp_path: Path
) -> None:
    """The bias of every item is 1 less than it was."""
    repository = Path(shutil.copytree(exported("fused"), tmp_path / "models"))
    manifest = repository / MANIFEST
    document = json.loads(manifest.read_text())
    hashes = document["versions"]["1"]["details"]["sha256"]
    for model in ("rank", "recommend"):
        file = repository / model / "1" / "item_bias.npy"
        np.save(file, np.load(file) - 1)
        hashes[f"{model}/item_bias.npy"] = sha256_of(file)
    manifest.write_text(json.dumps(document))
    with pytest.raises(ServingError, match=r"rank answers wrong: LOGIT is"):
        Supervisor(TritonServer(repository)).start()
