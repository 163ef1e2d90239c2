"""Debian's chromium without a window, and pages that tell what went wrong in them.

Must not know: Jupyter, or what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    sync_playwright,
)

CHROMIUM: Final = Path("/usr/bin/chromium")
SECONDS: Final = 30
"""How long anything in a page may take, if nothing else is said."""

SIZE: Final = (1400, 900)

FLAGS: Final = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

KNOWN: Final = {
    r"Cannot read properties of (null|undefined) \(reading 'schema'\)": (
        "Notebook 7 itself, also without any extension of ours"
    ),
    r"Could not restore the debugger state: Canceled future for debug_request": (
        "JupyterLab's own debugger, where a kernel is restarted as soon as its page is open"
    ),
}
"""What pages say that is not our doing, with the reason."""


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """A browser for the length of a ``with``, with ``home`` as its home directory."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS), env={"HOME": str(home)}
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose errors, uncaught or said on the console, are kept.

    Errors that a test expects are taken out of ``errors`` by it.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        self.console: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.on("console", self._said)
        self.page.on("pageerror", self._failed)
        self.page.on("crash", lambda _: self.errors.append("the page crashed"))

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")
        if message.type == "error":
            self._keep(message.text)

    def _failed(self, error: Error) -> None:
        self._keep(f"{error}\n{error.stack}")

    def _keep(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in KNOWN):
            self.errors.append(text)


def call(page: Page, function: str, argument: Any = None, seconds: float = SECONDS) -> Any:
    """What a JavaScript function, async or not, makes of ``argument``; a JSON value.

    ``page.evaluate`` would wait for ever. This ends after ``seconds``, by playwright's
    TimeoutError, even if the page hangs in a loop.
    """
    once = f"async (argument) => ({{ value: (await ({function})(argument)) ?? null }})"
    # An object is true: the function is called once.
    handle = page.wait_for_function(once, arg=argument, polling=50, timeout=1000 * seconds)
    value = handle.json_value()["value"]
    handle.dispose()
    return value
