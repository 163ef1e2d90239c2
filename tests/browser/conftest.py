"""Real servers, one browser, and for each test a page that must not fail.

A test that fails leaves a picture, the page's console and the server's log in its report. Must not
know: what is tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.chromium import CHROMIUM, SECONDS, SIZE, Watched, chromium
from tests.browser.lab import FRONT_ENDS, ROOT, Server, serve
from tests.browser.notebook_page import NotebookPage

PICTURES = ROOT / "build" / "browser"
FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=1000 * SECONDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """Tells fixtures whether their test failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def browser(
    debian_file: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """Ends with this package: beside playwright's event loop no other test could have its own."""
    debian_file(str(CHROMIUM), "chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="package")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab."""
    with serve("lab", tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="package")
def notebook7(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Notebook 7."""
    with serve("notebook", tmp_path_factory.mktemp("notebook")) as server:
        yield server


@pytest.fixture(scope="package", params=FRONT_ENDS)
def front_end(request: pytest.FixtureRequest) -> Server:
    """Both, in turn."""
    server: Server = request.getfixturevalue("lab" if request.param == "lab" else "notebook7")
    return server


OpenPage = Callable[[], AbstractContextManager[Watched]]


@pytest.fixture(scope="package")
def new_page(browser: Browser) -> OpenPage:
    """A page with cookies and storage of its own, for the length of a ``with``."""

    @contextmanager
    def open_page() -> Iterator[Watched]:
        context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        try:
            yield Watched(context)
        finally:
            context.close()

    return open_page


@pytest.fixture
def watched(request: pytest.FixtureRequest, new_page: OpenPage) -> Iterator[Watched]:
    """A page; the test fails if anything in it does."""
    with new_page() as watched:
        yield watched
        look_back(request.node, watched)


@pytest.fixture(scope="module")
def shared_page(new_page: OpenPage) -> Iterator[Watched]:
    """One page for all tests of a file, which leave it as they found it; see ``shared``."""
    with new_page() as watched:
        yield watched


@pytest.fixture
def shared(request: pytest.FixtureRequest, shared_page: Watched) -> Iterator[Watched]:
    """The shared page; the test fails if anything in it does."""
    yield shared_page
    look_back(request.node, shared_page)


OpenNotebook = Callable[[Server, list[str]], NotebookPage]


@pytest.fixture
def used_servers() -> Iterator[set[Server]]:
    """Servers whose kernels end with the test: after its page, which would call that an error."""
    servers: set[Server] = set()
    yield servers
    for server in servers:
        server.end_kernels()


@pytest.fixture
def open_notebook(
    request: pytest.FixtureRequest, used_servers: set[Server], watched: Watched
) -> OpenNotebook:
    """``open_notebook(server, sources)``: a new notebook of code cells, with its own kernel."""

    def open_new(server: Server, sources: list[str]) -> NotebookPage:
        used_servers.add(server)
        name = re.sub(r"\W+", "-", request.node.name) + ".ipynb"
        return NotebookPage.of(watched.page, server, name, sources)

    return open_new


def look_back(item: pytest.Item, watched: Watched) -> None:
    """What a page had to say about the test that is over."""
    if item.stash.get(FAILED, False):
        leave_evidence(item, watched)
    errors, watched.errors[:] = list(watched.errors), []
    assert errors == [], "the page failed, not the test"


def leave_evidence(item: pytest.Item, watched: Watched) -> None:
    """A picture in build/browser/, and what the page said, in the test's report."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / (re.sub(r"\W+", "-", item.name) + ".png")
    try:
        watched.page.screenshot(path=picture, timeout=5000)
        item.add_report_section("teardown", "picture", str(picture))
    except Error as error:  # the page hangs
        item.add_report_section("teardown", "picture", f"none: {error}")
    item.add_report_section("teardown", "console", "\n".join(watched.console))
