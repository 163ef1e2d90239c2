"""A real Jupyter server, JupyterLab's or Notebook 7's, with all its state in one directory.

It listens on 127.0.0.1 alone and asks for a token. Its kernels import kvmdbg from this tree, and
its pages load the extension that was built in this tree. Must not know: what its notebooks are
about.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ROOT: Final = Path(__file__).parents[2]
EXTENSION: Final = ROOT / "kvmdbg" / "labextension"
START_SECONDS: Final = 90
STOP_SECONDS: Final = 20

FRONT_ENDS: Final = {"lab": "jupyterlab", "notebook": "notebook"}
"""By name, the module that serves it."""

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # Nothing asks the network, nothing is saved behind a test's back, every cell is in the page.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class ServerFailed(RuntimeError):
    """The server did not come up; the message has its log."""


@dataclass(frozen=True)
class Server:
    """A server that answers. ``root`` is where its notebooks lie."""

    front_end: str
    base: str
    token: str
    root: Path
    log: Path

    def end_kernels(self) -> None:
        """End every kernel, so that a next page has the machine for itself."""
        for kernel in json.loads(self._ask("GET", "/api/kernels")):
            self._end_kernel(kernel["id"])

    def _end_kernel(self, kernel: str) -> None:
        """Jupyter fails to end a kernel that is restarting: it is asked again, a little later."""
        until = time.monotonic() + STOP_SECONDS
        while True:
            try:
                self._ask("DELETE", f"/api/kernels/{kernel}")
            except HTTPError as error:
                if error.code == 404:
                    return  # it is gone
                if error.code != 500 or time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def _ask(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        with urlopen(Request(self.base + path, headers=headers, method=method), timeout=30) as got:
            return bytes(got.read())

    def url(self, name: str) -> str:
        """The address of the page on which a notebook in ``root`` opens."""
        if self.front_end == "lab":
            workspace = secrets.token_hex(4)  # one of its own: no tab is left from another page
            return f"{self.base}/lab/workspaces/{workspace}/tree/{name}?token={self.token}&reset"
        return f"{self.base}/notebooks/{name}?token={self.token}"


@contextmanager
def serve(front_end: str, state: Path) -> Iterator[Server]:
    """A server for the length of a ``with``; its kernels end with it.

    ``front_end`` is a key of FRONT_ENDS, ``state`` an empty directory. ServerFailed if it does not
    answer within START_SECONDS.
    """
    root = state / "notebooks"
    root.mkdir(parents=True)
    log = state / "server.log"
    token = secrets.token_hex(16)
    with log.open("w") as out:
        process = subprocess.Popen(
            _command(front_end, root),
            env=_environment(state, token),
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:
            yield Server(front_end, _base(process, state, log), token, root, log)
        finally:
            _end(process)


def _command(front_end: str, root: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        FRONT_ENDS[front_end],
        "--no-browser",
        "--ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={root}",
        "--ServerApp.terminals_enabled=False",
        "--expose-app-in-browser",  # the page's `jupyterapp`, by which tests wait and run commands
        *(["--allow-root"] if os.getuid() == 0 else []),
    ]


def _environment(state: Path, token: str) -> dict[str, str]:
    """Nothing of the user's is read, nothing is left in a home directory."""
    home = state / "home"
    settings = state / "settings"
    for name, values in SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    home.mkdir()
    _offer_extension(state / "share")
    places = {
        "HOME": home,
        "XDG_CACHE_HOME": home / "cache",
        "MPLCONFIGDIR": home / "matplotlib",
        "IPYTHONDIR": state / "ipython",
        "JUPYTER_CONFIG_DIR": state / "config",
        "JUPYTER_DATA_DIR": state / "data",
        "JUPYTER_RUNTIME_DIR": state / "runtime",
        "JUPYTER_PATH": state / "share",
        "JUPYTERLAB_SETTINGS_DIR": settings,
        "JUPYTERLAB_WORKSPACES_DIR": state / "workspaces",
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    words = {"JUPYTER_TOKEN": token, "JUPYTER_PLATFORM_DIRS": "1", "PYTHONPATH": path}
    return os.environ | {name: str(place) for name, place in places.items()} | words


def _offer_extension(share: Path) -> None:
    """This tree's front end, before any that is installed: JUPYTER_PATH is looked at first."""
    if (EXTENSION / "package.json").exists():
        offered = share / "labextensions" / "kvmdbg-lab"
        offered.parent.mkdir(parents=True)
        offered.symlink_to(EXTENSION, target_is_directory=True)


def _base(process: subprocess.Popen[bytes], state: Path, log: Path) -> str:
    """Where the server answers; it chose its port itself and wrote it down."""
    note = state / "runtime" / f"jpserver-{process.pid}.json"
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if note.exists() and (base := _answers(note)):
            return base
        time.sleep(0.05)  # between two looks at a condition
    raise ServerFailed(f"the Jupyter server did not start:\n{log.read_text()}")


def _answers(note: Path) -> str:
    try:
        told = json.loads(note.read_text())
        base = f"http://127.0.0.1:{told['port']}"
        with urlopen(f"{base}/api/status?token={told['token']}", timeout=5):
            return base
    except (json.JSONDecodeError, URLError, TimeoutError, ConnectionError):
        return ""  # half written, or not listening yet


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
