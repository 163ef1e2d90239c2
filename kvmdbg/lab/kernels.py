"""Cells in a kernel of their own, under limits: client.py is nbclient's only door.

Whatever the cells do, a Run comes back: in time, and saying what went wrong. Must not know: labs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..errors import ToolMissing
from . import limited

if TYPE_CHECKING:
    from .client import Client

_ADDRESSES: Final = 32 << 30
"""Address space beside memory: each VM reserves 1 GiB of it and uses little."""
_LOOK: Final = 0.1
"""Seconds between two looks at whether all is to end."""
_GRACE: Final = 5.0
"""Seconds for what comes after the cells, and for a kernel to begin or end."""


@dataclass(frozen=True)
class Limits:
    """For one kernel: seconds for all cells, and bytes of memory that it may have at a time.

    One cell gets at most a third of the time, so that an endless one does not cost the others.
    Whoever sets ``ended``, from any thread, ends all kernels with these limits and lets no other
    begin.
    """

    seconds: float = 30.0
    memory: int = 1 << 30
    ended: Event = field(default_factory=Event, compare=False)

    @property
    def cell(self) -> float:
        """Seconds for one cell."""
        return self.seconds / 3


@dataclass
class Run:
    """What came of some cells.

    ``errors`` are (number of the cell, one line); ``sent`` is what was displayed under our media
    types. ``end`` is ``done``, ``timeout`` (a cell had to be interrupted, or did not begin), or
    ``died``. ``peak`` is the most memory the kernel had in bytes, 0 where the system does not tell.
    """

    errors: list[tuple[int, str]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    end: str = "done"
    seconds: float = 0.0
    peak: int = 0


def check_tools() -> None:
    """ToolMissing without nbclient."""
    try:
        import nbclient  # noqa: F401  # only to say in one line that it is missing
    except ImportError as error:
        raise ToolMissing(
            f'{error.name} is not installed; it comes with: pip install "kvmdbg[lab]"'
        ) from None


def run_cells(
    cells: Sequence[str], last: str, limits: Limits, environment: Mapping[str, str], stop: bool
) -> Run:
    """Run cells, then ``last``, in a new kernel and an empty directory.

    ``stop``: not past the first error. ``last`` is run also after an error or a timeout.
    """
    check_tools()
    if limits.ended.is_set():
        return Run(end="died")
    with tempfile.TemporaryDirectory(prefix="kvmdbg-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(_run(cells, last, limits, {**environment, **_homes(folder)}, stop))


def _homes(folder: str) -> dict[str, str]:
    """Nothing of the user's own is read: start-up files of IPython would run in the kernel."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {
        "IPYTHONDIR": os.path.join(folder, "ipython"),
        "JUPYTER_CONFIG_DIR": os.path.join(folder, "jupyter"),
        "KVMDBG_FOLDER": folder,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, paths))),
    }


async def _run(
    cells: Sequence[str], last: str, limits: Limits, environment: Mapping[str, str], stop: bool
) -> Run:
    from .client import Client, DeadKernelError, manager

    run, begin = Run(), monotonic()
    full = {
        **os.environ,
        **environment,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        limited.CPU: str(int(limits.seconds + 2 * _GRACE) + 1),
        limited.ADDRESSES: str(limits.memory + _ADDRESSES),
    }
    client = Client.over([*cells, last], run, limits.memory, manager(environment["KVMDBG_FOLDER"]))
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # ours are the grader's
    folder = environment["KVMDBG_FOLDER"]
    starting = client.async_setup_kernel(env=full, cwd=folder, cleanup_kc=True, **silent)

    async def cells_in_kernel() -> None:
        nonlocal begin
        async with starting:
            begin = monotonic()
            await _all(client, run, begin + limits.seconds, limits.cell, stop)
            run.peak = client.memory("VmHWM")

    try:
        await _unless_ended(cells_in_kernel(), client, limits.ended)
    except (DeadKernelError, RuntimeError):  # the latter if it did not even begin
        run.end = "died"
        client.forget()
    run.seconds = monotonic() - begin
    return run


async def _unless_ended(work: Coroutine[None, None, None], client: Client, ended: Event) -> None:
    """Wait for the work. If somebody ends it, the kernel is killed; RuntimeError then."""
    running = asyncio.ensure_future(work)
    while not running.done():
        await asyncio.wait({running}, timeout=_LOOK)
        if ended.is_set() and not running.done():
            client.shutdown_kernel = "immediate"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.kill()
            raise RuntimeError("ended from outside")
    await running


async def _all(client: Client, run: Run, deadline: float, most: float, stop: bool) -> None:
    """The cells while there is time, then the last one, with time of its own."""
    count = client.count
    for number in range(count - 1):
        left = deadline - monotonic()
        if left <= 0:
            run.end = "timeout"
            break
        if not await client.cell(number, min(left, most)):
            run.end = "timeout"
        if stop and run.errors:
            break
    if not await client.cell(count - 1, _GRACE):
        run.end = "died"
