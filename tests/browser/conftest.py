"""A real browser, a plant to look at, and the page of a whole running chain.

`running_page` is the page of the whole chain, which it starts itself; to look at one that runs already, give its
address: GAUGELINE_PAGE=http://127.0.0.1:8080 pytest tests/browser
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from cloud.web.build import build
from firmware_sim.demo.chain import Chain, DemoSettings
from tests.browser.plant import Plant
from tests.servers import free_port

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 120_000  # for what is to come at all: how soon it comes is nothing that a busy machine could judge
SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"


# Playwright's synchronous API keeps an event loop running in this thread as long as it lives: it must be over before
# the asynchronous tests of other packages begin.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        raise FileNotFoundError(f"{CHROMIUM} is not installed: run deploy/setup/servers.sh")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES, timeout=PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield found
        found.close()


Look = Callable[..., Page]


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Opens an address; at the end nothing may have been asked of another host, and no script may have complained.

    forgive: for a host that goes away on purpose, failed requests are no fault.
    """
    pages: list[Page] = []
    faults: list[str] = []

    def opened(url: str, width: int = 1280, height: int = 900, scheme: str = "light", forgive: bool = False) -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            timezone_id="America/New_York",  # a viewer far from the site
        )
        pages.append(page)
        page.set_default_timeout(PATIENCE_MS)
        home = urlsplit(url).netloc

        def on_console(message: ConsoleMessage) -> None:
            # A busy machine may not answer in time; of any other fault htmx says a line of its own beside that of the
            # request.
            slow = message.text.startswith(("htmx:timeout", "htmx:afterRequest"))
            if message.type in ("error", "warning") and not forgive and not slow:
                faults.append(f"console {message.type}: {message.text}")

        def on_request(request: Request) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob") and parts.netloc != home:
                faults.append(f"asked another host: {request.url}")

        page.on("console", on_console)
        page.on("request", on_request)
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.goto(url)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not faults


@pytest.fixture
def plant() -> Iterator[Plant]:
    build()
    # In memory, where there is such a place: the page waits for the database, and a busy disk is not what is looked at.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        found = Plant(Path(folder))
        found.start()
        yield found
        found.stop()


@pytest.fixture(scope="package")
def running_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's address of a whole chain: simulator, gateway, broker, cloud."""
    given = os.environ.get("GAUGELINE_PAGE")
    if given:
        yield given.rstrip("/")
        return
    build()
    port = free_port()
    chain = Chain(DemoSettings(tmp_path_factory.mktemp("chain") / "demo", http_port=port), print)
    try:
        chain.start()
        yield f"http://127.0.0.1:{port}"
        chain.check()
    finally:
        chain.stop()


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
