"""What all tests share: a home of their own, steady hypothesis, and real input from Debian.

Also which of several processes runs what. Must not know any room of kvmdbg: a fixture that builds
a guest lives beside the tests that use it.
"""

from __future__ import annotations

import builtins
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.conformance.kvm_outcomes"]  # where no test runs no other conftest is read

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "state"
BROWSER = "tests/browser/"
ON_CI = os.environ.get("CI", "").lower() in ("1", "true")

# Kernels that tests start read no one's profile and leave nothing in a home directory. `make` says
# the same; this is for a bare `pytest`.
for variable, place in {
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "IPYTHONDIR": "ipython",
    "MPLCONFIGDIR": "matplotlib",
    "XDG_CACHE_HOME": "cache",
}.items():
    os.environ.setdefault(variable, str(STATE / place))
    Path(os.environ[variable]).mkdir(parents=True, exist_ok=True)
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

# A shell that starts the tests in the background has Ctrl-C ignored, and tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: two shared cores are sometimes slow. On CI the same examples every time.
set_hypothesis_home_dir(STATE / "hypothesis")
settings.register_profile("kvmdbg", deadline=None, derandomize=ON_CI)
settings.load_profile("kvmdbg")


class Shares(LoadScopeScheduling):
    """A process takes a whole file; all files of the browser, with its servers, go to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return BROWSER if file.startswith(BROWSER) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Shares:
    return Shares(config, log)


def _need(path: Path, package: str) -> Path:
    if path.exists():
        return path
    message = f"{path} is missing; on Debian or Ubuntu: apt install {package}"
    if ON_CI:
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def debian_file() -> Callable[[str, str], Path]:
    """``debian_file(path, package)``: a file that a Debian package installs.

    Without it a test skips and says so; on CI, where ``tests/setup-system.sh`` installs it, it
    fails.
    """

    def find(path: str, package: str) -> Path:
        return _need(Path(path), package)

    return find


@pytest.fixture(autouse=True)
def _no_underscore_left_by_doctest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctest leaves its last value in ``builtins._``; IPython then keeps its hands off ``_``."""
    monkeypatch.delattr(builtins, "_", raising=False)
