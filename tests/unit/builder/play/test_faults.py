from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from builder.play.faults import Faults


def before(_: Request) -> Response:
    raise KeyError("lost")


def after(_: Request) -> Response:
    def pieces() -> object:
        yield "begun"
        raise KeyError("lost")

    return StreamingResponse(pieces())  # type: ignore[arg-type]


@pytest.fixture
def client() -> TestClient:
    answer = lambda error: PlainTextResponse(f"sorry: {error}", 500)  # noqa: E731
    app = Starlette(
        routes=[Route("/before", before), Route("/after", after)],
        middleware=[Middleware(Faults, answer)],
    )
    return TestClient(app)


def test_an_exception_is_answered(client: TestClient) -> None:
    answer = client.get("/before")
    assert (answer.status_code, answer.text) == (500, "sorry: 'lost'")


def test_an_answer_that_began_is_not_answered_twice(client: TestClient) -> None:
    with pytest.raises(KeyError, match="lost"):
        client.get("/after")
