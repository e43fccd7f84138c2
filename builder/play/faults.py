"""Answers what nobody expected with a page, where a traceback would be shown otherwise."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Faults:
    """``answer`` makes the page of an exception; one that comes after the answer began goes on."""

    def __init__(self, app: ASGIApp, answer: Callable[[Exception], Response]) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def send_and_note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if began:
                raise
            await self._answer(error)(scope, receive, send)
