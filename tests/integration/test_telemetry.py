"""No command reports to anybody: no connection, no look-up of a name, no file of statistics."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLES = ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")

ELSEWHERE = re.compile(
    r"(?:connect|sendto|sendmsg|sendmmsg)\(.*"
    r"(?:sin_port=htons\(53\)|sin_addr=inet_addr\(\"(?!127\.)"
    r"|sin6_port=htons\(53\)|inet_pton\(AF_INET6, \"(?!::1\"|::ffff:127\.))"
)

# Everything that the commands `train`, `export` and `serve` do, with real libraries.
EVERYTHING = """
import sys
from pathlib import Path

from builder.serving import TritonServer
from builder.training.run import train
from client import RecommenderClient
from tests.integration.small_run import export_run, reduce_movielens, small_config

root, movielens, minilm = map(Path, sys.argv[1:])
train(small_config(reduce_movielens(movielens, root / "data"), minilm), root / "checkpoint")
export_run(root / "checkpoint", root / "models")
with TritonServer(root / "models") as server, RecommenderClient(server.grpc_address) as client:
    assert client.encode(["a new text"], timeout=60).vectors.size
    assert len(client.recommend([], timeout=60))
"""

ENGINE = """
import sys
import numpy as np
import onnx
from pathlib import Path
from model_repository.engines.onnx import OnnxEngine

text = '<ir_version: 10, opset_import: ["": 20]> g (float[N] X) => (float[N] Y) {Y = Identity(X)}'
onnx.save(onnx.parser.parse_model(text), sys.argv[1])
assert OnnxEngine(Path(sys.argv[1]), 1).run({"X": np.ones(2, np.float32)})["Y"].tolist() == [1, 1]
"""


def environment(home: Path) -> dict[str, str]:
    """Of a user whose home is empty, and who has set nothing."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    kept.pop("XDG_CACHE_HOME", None)
    return kept | {"HOME": str(home), "TMPDIR": str(home)}


def traced(command: list[str], home: Path) -> list[str]:
    """What a command and its children send to other machines, or ask of a name server."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    log = home / "strace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", str(log), *command],
        env=environment(home),
        check=True,
        timeout=500,
    )
    return [line for line in log.read_text(errors="replace").splitlines() if ELSEWHERE.search(line)]


@pytest.mark.sweep
def test_training_export_and_serving_ask_nobody(
    tmp_path: Path, movielens: Path, minilm: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    arguments = map(str, (tmp_path, movielens, minilm))
    assert traced([sys.executable, "-c", EVERYTHING, *arguments], home) == []
    assert list(home.rglob("*onnxruntime*")) == []


def test_a_look_up_would_be_seen(tmp_path: Path) -> None:
    code = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
with contextlib.suppress(OSError):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.53", 53))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
"""
    assert len(traced([sys.executable, "-c", code], tmp_path)) == 2


def test_an_engine_inside_plain_triton_keeps_no_statistics(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", ENGINE, str(tmp_path / "model.onnx")]
    subprocess.run(command, env=environment(home), check=True, timeout=120)
    assert list(home.rglob("*")) == []
