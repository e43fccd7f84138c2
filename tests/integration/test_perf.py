"""The benchmark end to end, on a real server: correctness and the shape of what it writes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from builder.model.checkpoint import FORMATS
from builder.serving import TritonServer
from model_repository.core.identifiers import Identifiers
from perf import request_options
from perf.__main__ import main
from perf.analyzer import Analyzer, Load, find_analyzer, is_batched, write_data
from perf.benchmark import Run, Systems, recommend_16_clients
from perf.errors import PerfError
from perf.floor import EMPTY, EMPTY_BATCHED, write_floor
from perf.goals import ALONE, BESIDE_TEXTS, ENGINE, ENSEMBLE, FLOOR, OURS
from perf.load import closed_loop, infer_request, triton_infer
from perf.measurement import Measurement
from perf.processes import server_processes
from perf.report import BEGIN, END
from perf.usage import with_usage
from perf.workload import User, Workload
from tests.integration.tiny_repository import CATALOGUE, write_tiny_repository

ENVIRONMENTS = Path(__file__).parents[2] / "perf/.environments"
ITEMS = 400  # several texts for each item that is served: enough words to make texts of


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    try:
        return find_analyzer(ENVIRONMENTS)
    except PerfError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small repository, and users and texts to go with it."""
    root = tmp_path_factory.mktemp("perf")
    write_tiny_repository(root / "repository", batch=128)
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    ids = [f"i{number % CATALOGUE}" for number in range(ITEMS)]
    texts = [f"toy{number} story{number}" for number in range(ITEMS)]
    config = {"format": max(FORMATS), "actions": []}
    (checkpoint / "config.json").write_text(json.dumps(config))
    pd.DataFrame({"item_id": ids, "text": texts}).to_parquet(checkpoint / "catalogue.parquet")
    users = [list(range(start, start + 20)) for start in range(5)]
    pd.DataFrame(
        {
            "user_id": ["a", "b", "c", "d", "e"],
            "items": users,
            "times": None,
            "actions": None,
            "target": [CATALOGUE - 1] * len(users),
        }
    ).to_parquet(checkpoint / "validation.parquet")
    return [
        *("--repository", str(root / "repository"), "--checkpoint", str(checkpoint)),
        *("--environments", str(ENVIRONMENTS)),
    ]


@pytest.mark.sweep
@pytest.mark.usefixtures("analyzer")
def test_a_run_checks_answers_and_writes_report_table_and_plots(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = "encode-1-client,recommend-1-client,recommend-saturated,start"
    options = ["--quick", "--seconds", "0.3", "--peers", "engine", "--cases", cases]
    output = ["--output", str(tmp_path), "--name", "smoke"]
    assert main(["run", *served, *options, *output]) == 0
    report = json.loads((tmp_path / "smoke.json").read_text())
    assert set(report["cases"]) == set(cases.split(","))
    assert set(report["cases"]["encode-1-client"]) == {OURS, ENGINE}
    assert set(report["cases"]["recommend-1-client"]) == {OURS, FLOOR}
    for contenders in report["cases"].values():
        for summary in contenders.values():
            assert summary["median"]["rate"] > 0
            assert 0 < summary["median"]["p50"] <= summary["median"]["p99"]
    assert report["agreement"]["cosine"][ENGINE] > 0.9999
    assert report["agreement"]["recommendations"] == 5
    assert {step["model"] for step in report["stages"]["recommend"]} >= {"recommend"}
    assert len(report["goals"]) == 3
    assert 0 <= report["quality"]["recommend"][OURS] <= 1
    assert all(ratio > 0 for ratio in report["cross_check"].values())
    assert (tmp_path / "smoke-stages.svg").stat().st_size > 1000

    document = tmp_path / "page.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    capsys.readouterr()
    assert main(["table", str(tmp_path / "smoke.json"), "--into", str(document)]) == 0
    assert f"| recommend-1-client | {FLOOR} |" in document.read_text()


@pytest.mark.sweep
@pytest.mark.usefixtures("analyzer")
def test_other_repositories_take_part_under_their_names(served: list[str], tmp_path: Path) -> None:
    repository = served[served.index("--repository") + 1]
    others = ["--ensemble", repository, "--other", f"before={repository}"]
    cases = "recommend-16-clients,recommend-mixed,rank-100-known,start"
    options = ["--quick", "--seconds", "0.3", "--peers", "none", "--cases", cases]
    output = ["--output", str(tmp_path), "--name", "smoke"]
    assert main(["run", *served, *others, *options, *output]) == 0
    report = json.loads((tmp_path / "smoke.json").read_text())
    names = {OURS, ENSEMBLE, "before"}
    cases_of = report["cases"]
    assert set(cases_of["recommend-16-clients"]) == names
    assert set(cases_of["rank-100-known"]) == names | {f"{name} recommend" for name in names}
    assert set(cases_of["start"]) == names | {FLOOR}
    assert report["agreement"]["same items"] == {ENSEMBLE: 1, "before": 1}
    assert report["agreement"]["cosine"] == {ENSEMBLE: pytest.approx(1), "before": pytest.approx(1)}
    assert report["settings"]["others"] == [ENSEMBLE, "before"]
    for summary in cases_of["recommend-16-clients"].values():
        assert 0 < summary["median"]["cpu"] < 1000
    (cpu,) = (goal for goal in report["goals"] if "CPU time" in goal["text"])
    assert cpu["value"] > 0

    mixed = cases_of["recommend-mixed"]
    assert len(mixed) == 2 * len(names)
    for name in names:
        alone, beside = (mixed[f"{name}, {each}"]["median"] for each in (ALONE, BESIDE_TEXTS))
        assert alone["rate"] > beside["text_rate"] > 0
        assert "text_rate" not in alone
    assert "requests/s with texts beside" in (tmp_path / "smoke.md").read_text()


@pytest.mark.sweep
@pytest.mark.usefixtures("analyzer")
def test_repositories_of_another_checkpoint_are_refused(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    write_tiny_repository(other, batch=128)
    ids = Identifiers.of([f"other{number}" for number in range(CATALOGUE)])
    for directory in (file.parent for file in other.glob("*/1/id_table.npy")):
        np.save(directory / "id_content.npy", ids.strings.content)
        np.save(directory / "id_offsets.npy", ids.strings.offsets)
        np.save(directory / "id_table.npy", ids.table)
    options = ["--quick", "--peers", "none", "--cases", "none", "--output", str(tmp_path)]
    assert main(["run", *served, "--other", f"other={other}", *options]) == 1
    assert "other recommends 0% of the items that we do" in capsys.readouterr().err


_MODELS = {
    "recommend": "time.sleep(0.1); spin(0.03)",
    "user_encoder": "spin(0)",
    "encoder": "spin(0)",
}


def write_counted_models(repository: Path) -> Path:
    """Models of the names whose executions are read.

    ``recommend`` takes 30 ms of a processor, and sleeps for 100.
    """
    for name, work in _MODELS.items():
        version = repository / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(
            "import time\n"
            "import numpy as np\n"
            "import triton_python_backend_utils as pb_utils\n"
            "def spin(seconds):\n"
            "    end = time.process_time() + seconds\n"
            "    while time.process_time() < end:\n"
            "        pass\n"
            "class TritonPythonModel:\n"
            "    def execute(self, requests):\n"
            f"        {work}\n"
            "        shape = pb_utils.get_input_tensor_by_name(requests[0], 'IN').shape()\n"
            "        out = pb_utils.Tensor('OUT', np.zeros(shape, np.float32))\n"
            "        return [pb_utils.InferenceResponse([out]) for _ in requests]\n"
        )
        (repository / name / "config.pbtxt").write_text(
            f'name: "{name}" backend: "python" max_batch_size: 8\n'
            'input { name: "IN" data_type: TYPE_STRING dims: [1] }\n'
            'output { name: "OUT" data_type: TYPE_FP32 dims: [1] }\n'
            "instance_group { count: 1 kind: KIND_CPU }\n"
        )
    return repository


@pytest.mark.sweep
def test_what_a_server_spent_on_each_request(tmp_path: Path) -> None:
    with TritonServer(write_counted_models(tmp_path)) as server:
        address = server.grpc_address

        def ask(model: str, rows: int, times: int) -> None:
            request = infer_request(model, {"IN": ["a"] * rows}, batched=True)
            call = triton_infer(address, [request])()
            for number in range(times):
                call(number)

        def measure(seconds: float) -> Measurement:
            ask("recommend", rows=1, times=20)
            ask("user_encoder", rows=3, times=2)
            ask("encoder", rows=1, times=5)
            return Measurement(20, 1.0, 1.0, 1.0, seconds)

        found = with_usage(address, "recommend", measure, 3.0)
        assert found.p99 == 3
        assert found.users_per_execution == 3
        assert found.encoder_executions == 0.25
        assert found.cpu is not None
        assert 30 <= found.cpu < 60
        assert with_usage(address, "encoder", measure, 3.0).encoder_executions == 1
        with pytest.raises(PerfError, match="answered no request"):
            with_usage(address, "recommend", lambda _seconds: found, 3.0)


def test_a_server_that_others_started_has_no_processor_time() -> None:
    class Stranger(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        """Names itself by what many command lines of this machine hold."""

        def ServerMetadata(self, request: object, context: object) -> Any:  # noqa: N802, ARG002
            return service_pb2.ServerMetadataResponse(name="python")

        def ModelStatistics(self, request: object, context: object) -> Any:  # noqa: N802, ARG002
            self.read = getattr(self, "read", 0) + 1
            statistics = service_pb2.ModelStatistics(name="recommend")
            statistics.inference_stats.success.count = self.read
            return service_pb2.ModelStatisticsResponse(model_stats=[statistics])

    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Stranger(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        block = Measurement(1, 1.0, 1.0, 1.0, 1.0)
        found = with_usage(f"127.0.0.1:{port}", "recommend", lambda _seconds: block, 1.0)
    finally:
        server.stop(None)
    assert server_processes("python")
    assert found == block


@pytest.mark.sweep
def test_layouts_get_the_same_users_in_the_shape_that_each_takes(
    analyzer: Analyzer, tmp_path: Path
) -> None:
    """``recommend`` has a batch axis in one layout and none in the other."""
    with ExitStack() as stack:
        tritons = {}
        for name, model in ((OURS, EMPTY_BATCHED), ("other", EMPTY)):
            made = write_floor(tmp_path / name)
            (made / model).rename(made / "recommend")
            config = made / "recommend" / "config.pbtxt"
            config.write_text(config.read_text().replace(f'"{model}"', '"recommend"'))
            tritons[name] = stack.enter_context(TritonServer(made)).grpc_address
        workload = Workload([User(["a", "b"], "c"), User(["d"], "e")], [], [], 0)
        run = Run(Systems(tritons), analyzer, workload, 2, 0.3, lambda _text: None, tmp_path)
        recommend_16_clients(run)
    rates = [each.median("rate") for each in run.results["recommend-16-clients"].values()]
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)


def test_both_generators_reach_the_empty_models(analyzer: Analyzer, tmp_path: Path) -> None:
    entry = {"HISTORY": ["a", "b", "c"]}
    with TritonServer(write_floor(tmp_path / "floor")) as server:
        for model in (EMPTY, EMPTY_BATCHED):
            connect = triton_infer(server.grpc_address, [infer_request(model, entry)])
            file = write_data(
                tmp_path / "data.json", [entry], batched=is_batched(server.grpc_address, model)
            )
            assert closed_loop(connect, 2, 0.2).requests > 0
            measured = analyzer.measure(server.grpc_address, model, file, Load(rate=50), 0.5)
            assert measured.rate > 0


@pytest.mark.usefixtures("analyzer")
def test_bad_options_are_refused_in_words(
    served: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *served, "--cases", "encode-129"]) == 1
    assert "--cases encode-129: there are encode-128" in capsys.readouterr().err
    assert main(["run", *served, "--peers", "two-step"]) == 1
    assert "needs infinity" in capsys.readouterr().err
    assert main(["run", *served, "--seconds", "-1"]) == 1
    assert "seconds -1.0: must be above 0" in capsys.readouterr().err
    assert main(["run", *served, "--other", "a=x", "--other", "a=y"]) == 1
    assert "two repositories are called 'a'" in capsys.readouterr().err
    for nameless in ("x", "=x", "x="):
        assert main(["run", *served, "--other", nameless]) == 2
        assert f"{nameless!r} is not of the form NAME=PATH" in capsys.readouterr().err


def test_what_options_take_through_triton(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_options, "EVENTS", (2,))
    monkeypatch.setattr(request_options, "_USERS", 2)
    monkeypatch.setattr(request_options, "_ROUNDS", 1)
    found = request_options.latencies(repository)
    assert found.keys() == request_options.option_costs(repository).keys()
    assert all(each["2"] > 0 for each in found.values())
