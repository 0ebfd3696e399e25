"""The dashboard: one page, and its parts for refreshing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cloud.balance import Balance
from cloud.host_view import HostView
from cloud.web import words
from cloud.web.dashboard import Dashboard, Look
from cloud.web.manifest import STATIC, read_manifest
from cloud.web.texts import Texts
from cloud.web.units import number
from cloud.web.view import BalanceRow, Chart, count, layout

# Nothing but this host is ever asked, and no script but ours runs.
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SHARES = ("stored", "in_flight", "dead_letters", "dropped", "collided")
WINDOWS_MIN = (1, 5, 15, 60)


def mount(app: FastAPI, host: HostView) -> None:
    """Adds the page and its static files to the host's application."""
    texts = Texts()
    pages = _Pages(host, texts)
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", pages.page, methods=["GET"], response_class=HTMLResponse)
    router.add_api_route("/parts", pages.parts, methods=["GET"], response_class=HTMLResponse)
    router.add_api_route("/parts/assets", pages.assets, methods=["GET"], response_class=HTMLResponse)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def balance_rows(balance: Balance, t: Texts) -> list[BalanceRow]:
    """Where the produced samples are, each with its part of them in per cent."""
    total = balance.total
    whole = max(1, total.produced)
    rows = [(name, int(getattr(total, name))) for name in _SHARES]
    if total.expired:
        rows.append(("expired", total.expired))
    return [BalanceRow(t(f"balance.{name}"), count(n), min(100.0, 100 * n / whole), name) for name, n in rows]


def island(chart: Chart) -> str:
    """What the chart's script needs, as JSON for a data attribute."""
    return json.dumps(asdict(chart), ensure_ascii=False, separators=(",", ":"))


class _Pages:
    def __init__(self, host: HostView, texts: Texts) -> None:
        self._look = Look(host, texts)
        self._texts = texts
        folder = Path(__file__).parent / "templates"
        self._templates = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            t=texts, count=count, number=number, clock=words.clock, duration=words.duration, island=island,
            hours_minutes=words.hours_minutes, balance_rows=lambda balance: balance_rows(balance, texts),
        )  # fmt: skip

    def _render(self, name: str, seen: Dashboard, **more: Any) -> Response:
        digest = hashlib.blake2b(layout(seen.cards).encode(), digest_size=8).hexdigest()
        html = self._templates.get_template(name).render(d=seen, layout=digest, **more)
        return HTMLResponse(html, headers={**SECURITY, "HX-Trigger": json.dumps({"layout": digest})})

    async def page(self) -> Response:
        built = read_manifest()
        if built is None:
            return PlainTextResponse(self._texts("not_built"), status_code=503)
        words_of_browser = json.dumps(self._texts.for_browser(), ensure_ascii=False)
        # '<' would end the script element; JSON may write it as an escape.
        safe = Markup(words_of_browser.replace("<", "\\u003c"))  # noqa: S704
        return self._render("page.html", await self._look(), built=built, browser_words=safe, windows=WINDOWS_MIN)

    async def parts(self, layout: str = "") -> Response:
        """What the server renders anew, as htmx out-of-band swaps; charts are left alone.

        layout: of the cards that stand on the page. When it is another one now, the page asks for all cards.
        """
        return self._render("parts.html", await self._look(), on_page=layout)

    async def assets(self) -> Response:
        """All cards with empty charts: when assets or tags have come or gone."""
        return self._render("cards.html", await self._look())
