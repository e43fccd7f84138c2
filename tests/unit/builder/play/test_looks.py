from __future__ import annotations

import time

import pytest

from builder.play.looks import Looks
from builder.serving.live_figures import Page

LABELS = frozenset({("model", "recommend"), ("version", "1")})
OTHER = frozenset({("model", "user_encoder"), ("version", "1")})


class Server:
    """Answered ``count`` requests; each look at it is as if a second had passed."""

    def __init__(self) -> None:
        self.count = 0.0
        self.looks = 0
        self._long_ago = time.monotonic() - 100

    def page(self, address: str) -> Page:
        assert address == "here:1"
        self.looks += 1
        series = {LABELS: self.count, OTHER: 3 * self.count}
        return Page(self._long_ago + self.looks, {"nv_inference_request_success": series})


def test_rates_are_those_between_the_last_two_looks() -> None:
    server = Server()
    looks = Looks("here:1", server.page)
    assert looks.now() is None
    for count in (10, 15):
        server.count = count
        found = looks.now()
    assert found is not None
    assert [each.requests for each in found.models] == [pytest.approx(5), pytest.approx(15)]
    assert looks.rates == pytest.approx([10, 5])  # not of what `recommend` asks itself


def test_several_pages_share_a_look() -> None:
    server = Server()

    def page(address: str) -> Page:
        return Page(time.monotonic(), server.page(address).series)

    looks = Looks("here:1", page)
    looks.now()
    looks.now()
    assert server.looks == 1
