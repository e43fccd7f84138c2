"""The container's files, as far as they can be held without a container engine.

Dockerfile and compose file are linted, and the installations of the stages that serve are run in
clean virtual environments from nothing but the files that the stage copies.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from builder.doctor.images import IMAGES, SERVER_PACKAGES
from builder.serving import server as serving
from client import RecommenderClient
from tests.integration.tiny_repository import Layout, write_tiny_repository

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@dataclass
class Stage:
    """What one stage of the Dockerfile does, as far as it matters here."""

    base: str
    copies: list[tuple[list[str], str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    user: str = "root"


def stages() -> tuple[dict[str, str], dict[str, Stage]]:
    """Read the Dockerfile: the arguments at its top, and the stages by name."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    instructions = re.sub(r"\\\n\s*", " ", text).splitlines()
    arguments: dict[str, str] = {}
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for instruction in filter(str.strip, instructions):
        name, _, rest = instruction.partition(" ")
        match name:
            case "FROM":
                base, _, alias = rest.partition(" AS ")
                stage = found[alias] = Stage(base)
            case "ARG" if stage is None:
                key, _, value = rest.partition("=")
                arguments[key] = value
            case "COPY" if stage:
                *sources, target = rest.split()
                stage.copies.append((sources, target))
            case "RUN" if stage:
                stage.runs.append(rest)
            case "HEALTHCHECK" if stage:
                stage.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "CMD" if stage:
                stage.command = json.loads(rest)
            case "USER" if stage:
                stage.user = rest
    return arguments, found


ARGUMENTS, STAGES = stages()


def install(stage: Stage, directory: Path) -> tuple[Path, Path]:
    """Run the stage's installation; return its Python and the directory that it worked in.

    The directory holds what the stage copies and nothing else.
    """
    context = directory / "context"
    context.mkdir()
    for sources, target in stage.copies:
        for source in sources:
            place = context / (Path(target).name if target.startswith("/tmp/") else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place)
            else:
                shutil.copy(ROOT / source, place)
    environment = directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    for run in stage.runs:
        for command in map(str.strip, run.split("&&")):
            if "pip install" not in command:
                continue
            words = shlex.split(command.replace("/tmp/constraints.txt", "constraints.txt"))
            assert words[1:4] == ["-m", "pip", "install"], command
            # Less to write on a small machine: no byte code, no pip inside.
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            done = subprocess.run(
                [*pip, "--no-compile", *words[4:]],
                cwd=context,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    return python, context


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [PROGRAMS / "hadolint", "--no-color", ROOT / "Dockerfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_fits_the_specification() -> None:
    done = subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
         ROOT / "compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_versions_are_a_pair_that_fits() -> None:
    first = next(iter(IMAGES.values()))
    assert ARGUMENTS["TRITON"] == first.release
    assert ARGUMENTS["TENSORRT"] == first.tensorrt
    text = (ROOT / "Dockerfile").read_text("utf-8")
    for image in IMAGES.values():
        assert re.search(rf"TRITON={image.release}\b", text)
        assert re.search(rf"TENSORRT={re.escape(image.tensorrt)}\b", text)


def test_the_builder_has_the_tensorrt_of_the_server() -> None:
    assert STAGES["builder"].base == STAGES["server"].base
    assert "tensorrt==${TENSORRT}" in STAGES["builder"].runs[0]
    assert "nvidia" not in STAGES["cpu"].base


def test_no_stage_runs_as_root_and_all_that_serve_tell_their_health() -> None:
    assert {stage.user for stage in STAGES.values()} == {"1000"}
    assert ":8000/v2/health/ready" in STAGES["server"].healthcheck[-1]
    assert ":8003/ready" in STAGES["cpu"].healthcheck[-1]  # of `serve`, which watches the models


def test_the_server_stage_takes_pings_as_often_as_serve_does() -> None:
    option = f"--grpc-http2-min-recv-ping-interval-without-data={serving._PING_EVERY}"
    assert option in STAGES["server"].command


def test_everything_that_is_copied_reaches_the_build() -> None:
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    copied = {name for stage in STAGES.values() for names, _ in stage.copies for name in names}
    assert copied == kept


def test_compose_builds_the_stages_and_mounts_what_there_is() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    services = compose["services"]
    built = {s["build"]["target"] for s in services.values() if "build" in s}
    assert built == set(STAGES)
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            known = source in compose["volumes"] or (ROOT / source).exists()
            assert known or source == "./runs"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    scraped = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text("utf-8"))
    ports = set()
    for job in scraped["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        ports.add(port)
        for name in ("server", "server-cpu"):
            assert host in services[name]["networks"]["default"]["aliases"]
            assert f"127.0.0.1:{port}:{port}" in services[name]["ports"]
    assert ports == {"8002", "8003"}
    (rules,) = scraped["rule_files"]
    assert f"./docker/{Path(rules).name}:{rules}:ro" in services["prometheus"]["volumes"]


def test_the_server_stage_installs_what_the_python_models_import(tmp_path: Path) -> None:
    """Each model that an export publishes does its work there, with the code beside it."""
    python, _ = install(STAGES["server"], tmp_path)
    layouts: tuple[Layout, ...] = ("ensemble", "fused")
    for layout in layouts:
        write_tiny_repository(tmp_path / layout, layout=layout)
    loaded = subprocess.run(
        [python, "-c", _LOAD, *(tmp_path / layout for layout in layouts)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr
    answer = json.loads(loaded.stdout)
    assert answer["numpy"].startswith("1.")
    assert answer["present"] == []
    assert answer["differences"] == []
    assert answer["vectors"] == [[[14.0]], [[14.0]]]  # [CLS] toy story [SEP]: 2 + 4 + 5 + 3
    assert answer["logits"] == [[7.0, 2.0]]
    pip, _, _ = STAGES["server"].runs[0].partition("&&")
    _, _, packages = pip.partition("constraints.txt")
    assert sorted(SERVER_PACKAGES) == sorted(re.findall("[a-z]+", packages))


_LOAD = """
import importlib.util, json, sys, types
from importlib import import_module
from pathlib import Path
import numpy as np
ensemble, fused = map(Path, sys.argv[1:])
sys.path.insert(0, str(fused / "rank/1"))
class MetricFamily:
    COUNTER, GAUGE = 1, 2
    def __init__(self, **_): pass
    def Metric(self, labels): return self
    def increment(self, by): pass
backend = sys.modules["triton_python_backend_utils"] = types.ModuleType("stand_in")
backend.MetricFamily = MetricFamily
from serving.core.batch import Request
from serving.steps import triton_model
from serving.steps.libraries import check_libraries
handlers, differences = {}, []
for directory in (file.parent for root in (ensemble, fused) for file in root.glob("*/1/model.py")):
    differences += check_libraries(directory)
    module, function = triton_model.LOADERS[name := directory.parent.name]
    # rank and recommend of the fused layout replace those that ask other models
    load = getattr(import_module("serving.steps." + module), function)
    handlers[name] = load(directory, name)
def strings(*values):
    return np.array([[value.encode() for value in values]], object)
def ask(name, **tensors):
    (answer,) = handlers[name]([Request(tensors)])
    return answer
tokens = ask("tokenizer", TEXT=strings("toy story"))["INPUT_IDS"]
vectors = [ask("encoder", INPUT_IDS=tokens), ask("encode", TEXT=strings("toy story"))]
logits = ask("rank", HISTORY=strings("i1"), CANDIDATE=strings("i7", "i2"))
unwanted = ("torch", "transformers", "pandas", "pytriton")
present = [name for name in unwanted if importlib.util.find_spec(name)]
print(json.dumps({"numpy": np.__version__, "vectors": [each["VECTOR"].tolist() for each in vectors],
                  "logits": logits["LOGIT"].tolist(), "differences": differences,
                  "present": present}))
"""


@pytest.mark.sweep
def test_the_cpu_stage_installs_and_serves(tmp_path: Path) -> None:
    """Install, serve, ask, be healthy, stop: the stage's own commands, on other ports."""
    stage = STAGES["cpu"]
    python, _ = install(stage, tmp_path)
    write_tiny_repository(tmp_path / "models")
    held = subprocess.run(
        [python, "-c", "import torch"], capture_output=True, check=False, cwd=tmp_path
    )
    assert held.returncode != 0, "serving needs no torch"
    command = [
        str(python),
        *(str(tmp_path / "models") if word == "/models/repository" else word
          for word in stage.command[1:]),
        *("--grpc-port=0", "--http-port=0", "--metrics-port=0", "--start-timeout=120"),
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            heard = ""
            while "Ctrl-C" not in heard and (line := server.stdout.readline()):
                heard += line
            addresses = re.search(r"gRPC\s+(\S+)\s+HTTP\s+http://(\S+)", heard)
            assert addresses, heard
            with RecommenderClient(addresses[1]) as client:
                assert client.encode(["toy story"]).vectors.tolist() == [[14.0]]
            *health, check = stage.healthcheck
            check = check.replace("127.0.0.1:8000", addresses[2])
            ask = [str(python), *health[1:], check]
            assert subprocess.run(ask, check=False).returncode == 0
            server.send_signal(signal.SIGTERM)
            rest, _ = server.communicate(timeout=60)
            assert server.returncode == 0, rest
            assert subprocess.run(ask, check=False, stderr=subprocess.DEVNULL).returncode != 0
        finally:
            server.kill()
