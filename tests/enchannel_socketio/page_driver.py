"""Drives the page of a relay in a headless browser."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.rigs import DEADLINE

__all__ = ["TIMEOUT_MS", "PageDriver", "start_browser", "open_page"]

TIMEOUT_MS: Final = DEADLINE * 1000
"""The timeout of all waits, in milliseconds."""

INSTALLED: Final = ("chromium", "chromium-browser", "google-chrome")
# JavaScript: the cells with the same code as `cell`.
ALIKE: Final = (
    "[...document.querySelectorAll('article.cell')]"
    ".filter((other) => other.querySelector('.code').textContent === cell.code)"
)
# Console errors of connections that a test has cut.
EXPECTED: Final = re.compile("^(Failed to load resource|WebSocket connection to .* failed)")


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start the Chromium of the system."""
    found = next(filter(None, map(shutil.which, INSTALLED)), None)
    # On CI, a missing browser is an error.
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"no browser found: {', '.join(INSTALLED)}")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(
    browser: Browser, url: str, *, theme: Literal["light", "dark"] = "light", width: int = 1280
) -> Iterator["PageDriver"]:
    """Open the page in a new browser context; it must not log errors.

    Args:
        browser: The browser.
        url: The URL of the page.
        theme: The theme that the system prefers.
        width: The width of the window, in pixels.
    """
    size: Any = {"width": width, "height": 800}
    context = browser.new_context(viewport=size, color_scheme=theme)
    context.set_default_timeout(TIMEOUT_MS)
    try:
        page = PageDriver(context.new_page())
        page.page.goto(url)
        yield page
        assert page.console_errors == []
    finally:
        context.close()


class PageDriver:
    """The page, as its user sees it.

    Attributes:
        page: The page of Playwright.
        console_errors: The errors in the browser's console, violations of the CSP included.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console_errors: list[str] = []
        page.on("console", self._on_console_message)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.connection = page.get_by_label("Connection", exact=True)
        self.state = page.get_by_label("Kernel state")
        self.code = page.get_by_label("Code", exact=True)
        self.cells = page.locator("article.cell")
        self.console = page.get_by_label("Cells", exact=True)
        self.rows = page.locator("#rows [role=row]:not([hidden])")
        self.counts = page.get_by_label("Message count")
        self.json = page.get_by_label("JSON of the message")

    def button(self, name: str) -> Locator:
        """Return a button by the beginning of its name."""
        return self.page.get_by_role("button", name=re.compile(f"^{name}"))

    def wait_until_ready(self) -> None:
        """Wait until a kernel is open and idle."""
        expect(self.connection).to_have_text("connected")
        expect(self.state).to_have_text("idle")

    def start(self, code: str) -> Locator:
        """Run code without waiting; return its cell.

        The cell is found by its code, not by its place: outputs of earlier code may still arrive.
        """
        cell = {"code": code.strip(), "name": uuid.uuid4().hex}
        cell["before"] = self.page.evaluate(f"(cell) => ({ALIKE}).length", cell)
        self.code.fill(code)
        self.code.press("Shift+Enter")
        self.page.wait_for_function(f"(cell) => ({ALIKE})[cell.before]", arg=cell)
        self.page.evaluate(f"(cell) => {{ ({ALIKE}).at(-1).dataset.name = cell.name; }}", cell)
        return self.page.locator(f"[data-name='{cell['name']}']")

    def run(self, code: str, status: str = "done") -> Locator:
        """Run code, wait for its end, and return its cell."""
        cell = self.start(code)
        self.wait_for_status(cell, status)
        return cell

    def wait_for_status(self, cell: Locator, status: str = "done") -> None:
        """Wait until a cell has a status."""
        expect(cell).to_have_attribute("data-status", status)

    def outputs(self, cell: Locator) -> Locator:
        """Return the outputs of a cell."""
        return cell.locator(".outputs")

    def row(self, text: str) -> Locator:
        """Return the visible rows that contain a text."""
        return self.rows.filter(has_text=text)

    def tab_to(self, place: Locator) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(60):
            self.page.keyboard.press("Tab")
            if place.evaluate("place => place === document.activeElement"):
                return
        raise AssertionError(f"{place} cannot be reached with Tab")

    def evaluate_in_module(self, name: str, expression: str, argument: object = None) -> Any:
        """Evaluate an expression with a module of the page, `m`, and an argument, `x`."""
        function = (
            f"async (x) => {{ const m = await import('/page/{name}.js'); return {expression}; }}"
        )
        return self.page.evaluate(function, argument)

    def _on_console_message(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.match(message.text):
            self.console_errors.append(message.text)
