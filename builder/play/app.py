"""The pages as an ASGI application. It keeps nothing between requests: forms carry all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from builder import unexpected_errors
from builder.errors import ServingError
from builder.play import charts, quality
from builder.play.contents import Contents
from builder.play.faults import Faults
from builder.play.form import Form
from builder.play.history import SHOWN, FormError, to_json
from builder.play.protection import Protection
from builder.play.recommend import Answer, respond

_HERE: Final = Path(__file__).parent


def make_app(contents: Contents) -> Starlette:
    """The application over these servers and this run."""
    pages = _Pages(contents)
    return Starlette(
        routes=[
            Route("/", pages.recommend, methods=["GET", "POST"]),
            Route("/compare", pages.compare, methods=["GET", "POST"]),
            Route("/search", pages.search),
            Route("/quality", pages.quality),
            Route("/performance", pages.performance),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        exception_handlers={HTTPException: pages.not_found, FormError: pages.refused},
        middleware=[Middleware(Protection), Middleware(Faults, pages.failed)],
    )


class _Pages:
    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def recommend(self, request: Request) -> Response:
        return await self._answer(request, "recommend.html", compared=False)

    async def compare(self, request: Request) -> Response:
        if self._contents.other is None:
            return self._page("no_comparison.html", "compare")
        return await self._answer(request, "compare.html", compared=True)

    async def search(self, request: Request) -> Response:
        q = request.query_params.get("q", "").strip()
        return self._page("found.html", "", found=self._contents.run.items.search(q), q=q)

    async def quality(self, _: Request) -> Response:
        return await run_in_threadpool(self._quality)

    async def performance(self, _: Request) -> Response:
        return await run_in_threadpool(self._performance)

    async def not_found(self, _: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return self._page("problem.html", "", status, problem="There is no such page here.")

    async def refused(self, _: Request, error: Exception) -> Response:
        return self._page("problem.html", "", 400, problem=str(error))

    def failed(self, error: Exception) -> Response:
        return self._page("problem.html", "", 500, problem=unexpected_errors.message(error))

    async def _answer(self, request: Request, template: str, *, compared: bool) -> Response:
        if request.method == "POST":
            sent = (await request.body()).decode(errors="replace")
            fields = dict(parse_qsl(sent, keep_blank_values=True))
        else:
            # Other sites can link to this page: an address presses no button.
            fields = {**request.query_params, "do": ""}
        form = Form.read(fields)
        return await run_in_threadpool(self._answered, form, template, compared=compared)

    def _answered(self, form: Form, template: str, *, compared: bool) -> Response:
        answer = respond(self._contents, form, compared=compared)
        return self._page(template, "compare" if compared else "recommend", **_shown(answer))

    def _quality(self) -> Response:
        run = self._contents.run.directory
        if run.is_relative_to(here := Path.cwd()):
            run = run.relative_to(here)
        return self._page(
            "quality.html",
            "quality",
            directory=run,
            table=quality.table(run),
            curves=quality.curves(run),
            metrics=quality.METRICS,
        )

    def _performance(self) -> Response:
        looks = self._contents.looks
        problem, found = "", None
        try:
            found = looks.now()
        except ServingError as error:
            problem = str(error)
        rates = looks.rates
        return self._page(
            "performance.html",
            "performance",
            figures=found,
            problem=problem,
            rates=rates,
            spark=charts.sparkline(rates, "requests a second, the last minute"),
        )

    def _page(self, template: str, tab: str, status: int = 200, **values: Any) -> Response:
        contents = self._contents
        text = self._templates.get_template(template).render(
            tab=tab, server=contents.server, run=contents.run, items=contents.run.items, **values
        )
        return HTMLResponse(text, status)


def _shown(answer: Answer) -> dict[str, Any]:
    """What the template is given: the answer, and the hidden fields of the next form."""
    first = max(0, len(answer.history) - SHOWN)
    return {
        "answer": answer,
        "entries": list(enumerate(answer.history))[first:][::-1],
        "earlier": first,
        "hidden": {
            "loaded": answer.loaded,
            "target": answer.target,
            "history": to_json(answer.history),
            "before": json.dumps([list(panel.shown.ids) for panel in answer.panels]),
            "latencies": json.dumps([list(panel.latencies) for panel in answer.panels]),
        },
    }
