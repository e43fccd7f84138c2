"""What the processes of a real server keep in memory for themselves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
import tritonclient.grpc as grpc

from builder.repository import from_text, to_text
from builder.serving import TritonServer
from client import RecommenderClient
from model_repository.core.identifiers import Identifiers
from model_repository.core.trend import NO_TREND
from model_repository.engines.item_index import on_sphere
from model_repository.steps.catalogue_files import load_catalogue, save_catalogue
from model_repository.steps.user_models import INDEX_FILE
from tests.integration.test_steps import TIMEOUT, send, strings
from tests.integration.tiny_repository import write_tiny_repository

MIB = 2**20
ITEMS = 300_000
LINEAR_ENTRIES = 32
"""Of each item: 39 MB for the indices of all items, and as much for the values."""

SHARED = ("item_vectors", "linear_index", "linear_value", "id_content", "id_offsets", "id_table")
OWN_MEMORY = 20 * MIB
"""How much more a process may have for itself with the large catalogue: half of its vectors, its
linear term or its index, and less than a dictionary of its ids. 7 MiB were measured."""


def stubs(server: TritonServer, model: str) -> list[int]:
    """The processes of the instances of a model."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        words = command.decode(errors="replace").split("\0")
        if "python_backend_stub" in words[0] and f"/{model}/" in words[1]:
            found += [int(process.name)] * (server.identity in command.decode(errors="replace"))
    return found


def own_memory(process: int) -> int:
    """Bytes that are no part of a file, and so the process's own."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    (kib,) = re.findall(r"^Anonymous: +(\d+) kB", rollup, re.MULTILINE)
    return 1024 * int(kib)


def mapped(process: int, file: Path) -> int:
    """Bytes of a file that a process has read by mapping it."""
    smaps = Path(f"/proc/{process}/smaps").read_text()
    parts = re.findall(rf"{re.escape(str(file.resolve()))}\n(?:.*\n)*?Rss: +(\d+) kB", smaps)
    return 1024 * sum(map(int, parts))


def two_instances(exported: Path, directory: Path) -> Path:
    """A repository with two instances of `recommend`, and nothing else."""
    shutil.copytree(exported / "recommend", directory / "recommend")
    file = directory / "recommend/config.pbtxt"
    config = from_text(file.read_text(), "recommend")
    config.instance_group[0].count = 2
    file.write_text(to_text(config))
    return directory / "recommend/1"


def enlarge(version: Path) -> list[str]:
    """Give a version a catalogue of `ITEMS`, with an index; return their ids."""
    catalogue = load_catalogue(version)
    random = np.random.default_rng(0)
    parents = random.integers(0, len(catalogue), ITEMS)
    ids = [f"item {number}" for number in range(ITEMS)]
    noise = random.standard_normal((ITEMS, catalogue.vectors.shape[1]), np.float32)
    linear = (ITEMS, LINEAR_ENTRIES)
    large = replace(
        catalogue,
        vectors=catalogue.vectors[parents] + 0.1 * noise,
        bias=catalogue.bias[parents],
        ids=Identifiers.of(ids),
        linear_index=random.integers(0, ITEMS, linear, np.int32),
        linear_value=random.random(linear, np.float32),
        cold=catalogue.cold[:0],
        trend=NO_TREND,
    )
    fresh = version.with_name("fresh")
    fresh.mkdir()
    save_catalogue(fresh, large)
    points = on_sphere(np.column_stack([large.vectors, large.bias]))
    lists, width = 64, points.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, lists)
    index.cp.niter = 2
    index.train(points[:: ITEMS // (40 * lists)])
    index.add(points)
    index.nprobe = 8
    faiss.write_index(index, str(fresh / INDEX_FILE))
    for file in fresh.iterdir():
        file.replace(version / file.name)  # the old ones are links to those of others
    fresh.rmdir()
    return ids


@contextmanager
def asked(directory: Path, ids: list[str]) -> Iterator[list[int]]:
    """The two processes, after each has answered."""
    with (
        TritonServer(directory) as server,
        RecommenderClient(server.grpc_address, timeout=TIMEOUT) as client,
    ):
        processes = stubs(server, "recommend")
        assert len(processes) == 2
        users = [[ids[step * user % len(ids)] for step in (7, 701)] for user in range(400)]
        with ThreadPoolExecutor(8) as together:
            for found in together.map(client.recommend, users):
                assert len(found) == 10
                assert found.skipped == 0
        yield processes


@pytest.mark.sweep
def test_a_second_instance_shares_the_catalogue(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small, large = (tmp_path_factory.mktemp(name) for name in ("small", "large"))
    ids = load_catalogue(two_instances(repository, small)).ids.strings
    with asked(small, [ids[place].decode() for place in range(len(ids))]) as processes:
        before = max(own_memory(process) for process in processes)
    version = two_instances(repository, large)
    files = [version / f"{name}.npy" for name in SHARED] + [version / INDEX_FILE]
    with asked(large, enlarge(version)) as processes:
        for process in processes:
            assert own_memory(process) - before < OWN_MEMORY
            for file in files:
                assert mapped(process, file), f"{file.name} is not what instance {process} reads"
    shutil.rmtree(large)


def test_parameters_of_refused_requests_are_not_kept(tmp_path: Path) -> None:
    def refuse(client: grpc.InferenceServerClient, numbers: range) -> None:
        for number in numbers:
            parameters = {"top_k": f"{number} " + "x" * MIB}
            answer = send(client, "recommend", {"HISTORY": strings("i1")}, parameters)
            with pytest.raises(grpc.InferenceServerException, match=r"top_k is .*, a str"):
                answer.result(TIMEOUT)

    write_tiny_repository(tmp_path, layout="fused")
    with (
        TritonServer(tmp_path) as server,
        grpc.InferenceServerClient(server.grpc_address) as client,
    ):
        (process,) = stubs(server, "recommend")
        refuse(client, range(100))  # the heap finds its size
        before = own_memory(process)
        refuse(client, range(100, 300))
        # 14 MiB were measured, and ever fewer for each 200 that followed.
        assert own_memory(process) - before < 50 * MIB
