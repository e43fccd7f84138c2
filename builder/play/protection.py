"""Keeps other web sites away from the page: a browser lets them send requests to this machine."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_HEADERS: Final = {
    # Nothing from elsewhere, and no script or style within a page.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Protection:
    """Refuses requests that come by another name or from another site, and adds the headers.

    A site can have its own name resolve to 127.0.0.1, and would then be of one origin with this
    page: hence only names of this machine are answered. Forms of other sites are told by Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        app = self._app
        if problem := _problem(Headers(scope=scope)):
            app = PlainTextResponse(problem, status_code=403)
        await app(scope, receive, send_with_headers)


def _problem(headers: Headers) -> str:
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
        return "this page answers to 127.0.0.1 and localhost alone; open it under such an address"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "this request comes from another site; open the page itself"
    return ""
