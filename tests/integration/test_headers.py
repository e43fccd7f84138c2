"""Triton hands headers on to the models among their parameters; they are no mistyped options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.serving import TritonServer
from client import InvalidInput, RecommenderClient
from tests.integration.tiny_repository import Layout, write_tiny_repository
from tests.shared import first_of


@pytest.mark.parametrize("layout", first_of(["fused", "ensemble"]))
def test_forwarded_headers_are_no_options(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = TritonServer._command

    def forwarding(server: TritonServer, *arguments: Any) -> list[str]:
        return [
            *command(server, *arguments),
            "--grpc-header-forward-pattern=x-request-id|traceparent",
        ]

    monkeypatch.setattr(TritonServer, "_command", forwarding)
    write_tiny_repository(tmp_path, layout=layout)
    with (
        TritonServer(tmp_path) as server,
        RecommenderClient(server.grpc_address, timeout=20) as client,
    ):
        for metadata in (None, {"x-request-id": "abc-1", "traceparent": "00-ab-cd-01"}):
            assert client.recommend(["i29"], top_k=2, metadata=metadata).items == ("i28", "i27")
            assert client.rank(["i1"], ["i2"], metadata=metadata).items == ("i2",)
            assert client.encode(["a"], metadata=metadata).vectors.shape[0] == 1
            with pytest.raises(InvalidInput, match="max-top-k"):
                client.recommend(["i29"], top_k=10_000, metadata=metadata)
