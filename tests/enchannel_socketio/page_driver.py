"""The page of a relay in a headless browser, in a test's hand."""

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

__all__ = ["PATIENCE", "Shown", "a_browser", "shown"]

PATIENCE: Final = DEADLINE * 1000
"""Milliseconds after which a test gives up on whatever it waits for, as Playwright wants it."""

INSTALLED: Final = ("chromium", "chromium-browser", "google-chrome")
# The cells with the code of a `cell`.
ALIKE: Final = (
    "[...document.querySelectorAll('article.cell')]"
    ".filter((other) => other.querySelector('.code').textContent === cell.code)"
)
# What a browser says of a connection that a test has broken.
EXPECTED: Final = re.compile("^(Failed to load resource|WebSocket connection to .* failed)")


@contextmanager
def a_browser() -> Iterator[Browser]:
    """The system's Chromium."""
    found = next(filter(None, map(shutil.which, INSTALLED)), None)
    if found is None and not os.environ.get("CI"):  # where nothing may be left out
        pytest.skip(f"there is no browser here: {', '.join(INSTALLED)}")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def shown(
    browser: Browser, url: str, *, theme: Literal["light", "dark"] = "light", width: int = 1280
) -> Iterator["Shown"]:
    """The page at an address, for somebody who was never there before; it must have nothing to complain of.

    Args:
        browser: In which.
        url: The address.
        theme: What the system prefers.
        width: Of the window, in pixels.
    """
    size: Any = {"width": width, "height": 800}
    context = browser.new_context(viewport=size, color_scheme=theme)
    context.set_default_timeout(PATIENCE)
    try:
        page = Shown(context.new_page())
        page.page.goto(url)
        yield page
        assert page.complaints == []
    finally:
        context.close()


class Shown:
    """The page, in the words of who uses it.

    Attributes:
        page: It.
        complaints: What it wrote to the browser's console as an error: violations of its policy as well.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.connection = page.get_by_label("Connection", exact=True)
        self.state = page.get_by_label("Kernel state")
        self.code = page.get_by_label("Code", exact=True)
        self.cells = page.locator("article.cell")
        self.console = page.get_by_label("Cells", exact=True)
        self.rows = page.locator("#rows [role=row]:not([hidden])")
        self.counts = page.get_by_label("Message count")
        self.json = page.get_by_label("JSON of the message")

    def button(self, name: str) -> Locator:
        """A button by the beginning of its name."""
        return self.page.get_by_role("button", name=re.compile(f"^{name}"))

    def is_ready(self) -> None:
        """Wait until a kernel is open, and does nothing."""
        expect(self.connection).to_have_text("connected")
        expect(self.state).to_have_text("idle")

    def say(self, code: str) -> Locator:
        """Run code, and wait for nothing; its cell.

        It is known by its code, and not by its place: what was said before may still arrive.
        """
        cell = {"code": code.strip(), "name": uuid.uuid4().hex}
        cell["before"] = self.page.evaluate(f"(cell) => ({ALIKE}).length", cell)
        self.code.fill(code)
        self.code.press("Shift+Enter")
        self.page.wait_for_function(f"(cell) => ({ALIKE})[cell.before]", arg=cell)
        self.page.evaluate(f"(cell) => {{ ({ALIKE}).at(-1).dataset.name = cell.name; }}", cell)
        return self.page.locator(f"[data-name='{cell['name']}']")

    def run(self, code: str, status: str = "done") -> Locator:
        """Run code to its end; its cell."""
        cell = self.say(code)
        self.ends(cell, status)
        return cell

    def ends(self, cell: Locator, status: str = "done") -> None:
        """Wait for the end of a cell."""
        expect(cell).to_have_attribute("data-status", status)

    def outputs(self, cell: Locator) -> Locator:
        """All outputs of a cell."""
        return cell.locator(".outputs")

    def row(self, text: str) -> Locator:
        """The rows in view that have a text in them."""
        return self.rows.filter(has_text=text)

    def tab_to(self, place: Locator) -> None:
        """Press Tab until something has the focus."""
        for _ in range(60):
            self.page.keyboard.press("Tab")
            if place.evaluate("place => place === document.activeElement"):
                return
        raise AssertionError(f"Tab does not come to {place}")

    def of_module(self, name: str, expression: str, argument: object = None) -> Any:
        """What an expression about a module of the page is, `m`, and an argument, `x`."""
        function = (
            f"async (x) => {{ const m = await import('/page/{name}.js'); return {expression}; }}"
        )
        return self.page.evaluate(function, argument)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.match(message.text):
            self.complaints.append(message.text)
