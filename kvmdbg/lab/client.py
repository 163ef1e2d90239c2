"""nbclient, told what a grader needs: no output is kept but ours, and no cell is waited for long.

Must not know: what the cells are, or how many kernels there are.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.client import NotebookClient
from nbclient.exceptions import DeadKernelError as DeadKernelError
from nbformat import from_dict

if TYPE_CHECKING:
    from .kernels import Run

MEDIA: Final = "application/vnd.kvmdbg."
"""How the media types begin that are kept; all other output is dropped as it comes."""
_MOST_KEPT: Final = 8 << 20
_LOOK: Final = 0.1
"""Seconds between two looks at the kernel's memory."""
_NEVER: Final = 1 << 20
"""Seconds after which nbclient would go on without a cell's output: the answers may be in it."""
_PATIENCE: Final = 1.0
"""Seconds in which an interrupted cell must end."""


class _Specs(KernelSpecManager):
    """One kernel, which limits itself before it begins."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "kvmdbg.lab.limited", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", display_name=kernel_name)


def manager(folder: str) -> Any:
    """Starts such kernels; where there are local sockets, nobody else can talk to them."""
    local = {"transport": "ipc", "ip": os.path.join(folder, "s")}
    kind = local if os.name == "posix" else {}
    return AsyncKernelManager(kernel_spec_manager=_Specs(), kernel_name="python3", **kind)


class Client(NotebookClient):
    """Runs cells one by one and notes what came of them in a Run."""

    run: Run
    kernels: Any
    kept: int
    most: int
    """Bytes of memory that the kernel may have at a time."""

    @classmethod
    def over(cls, cells: Sequence[str], run: Run, most: int, kernels: Any) -> Self:
        """A client for these cells."""
        log = logging.getLogger("kvmdbg.lab.silent")
        log.disabled = True
        code: dict[str, Any] = {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        notebook = from_dict(  # type: ignore[no-untyped-call]  # it has no types
            {"cells": [{**code, "source": cell} for cell in cells], "metadata": {}}
        )
        client = cls(
            notebook,
            km=kernels,
            allow_errors=True,
            log=log,
            store_widget_state=False,
            startup_timeout=30,
            iopub_timeout=_NEVER,
            shutdown_kernel="immediate",  # a farewell takes half a second and is good for nothing
        )
        client.run, client.kernels, client.kept = run, kernels, 0
        client.most = most
        client.on_cell_executed = client._executed
        return client

    @property
    def count(self) -> int:
        """How many cells there are."""
        return len(self.nb.cells)

    def memory(self, name: str = "VmRSS") -> int:
        """The kernel's memory in bytes now, or its most (VmHWM); 0 where nobody tells."""
        try:
            pid = getattr(self.kernels.provisioner, "pid", None)
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0
        found = [line.split()[1] for line in status.splitlines() if line.startswith(name)]
        return int(found[0]) << 10 if found else 0

    async def _ended(self, running: asyncio.Future[Any], seconds: float) -> bool:
        """Wait for a cell; DeadKernelError if the kernel needs more memory than it may."""
        deadline = monotonic() + seconds
        while not running.done() and (left := deadline - monotonic()) > 0:
            await asyncio.wait({running}, timeout=min(left, _LOOK))
            if self.memory() > self.most:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                raise DeadKernelError("the kernel needs too much memory")
        return running.done()

    async def kill(self) -> None:
        """End the kernel at once, also one that has not begun to answer."""
        if self.kernels.has_kernel:
            await self.kernels.shutdown_kernel(now=True)

    def forget(self) -> None:
        """The kernel is gone: nbclient need not end it when this process ends."""
        atexit.unregister(self._cleanup_kernel)

    async def cell(self, number: int, seconds: float) -> bool:
        """Run one cell; false if it had to be interrupted. DeadKernelError if that did not help."""
        running = asyncio.ensure_future(self.async_execute_cell(self.nb.cells[number], number))
        if not await self._ended(running, seconds):
            await self.kernels.interrupt_kernel()
            if not await self._ended(running, _PATIENCE):
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                raise DeadKernelError("the kernel does not end its cell")
            await running
            return False
        await running
        return True

    def _executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """A cell that failed is known to have failed, also if no message told its error."""
        content = (execute_reply or {}).get("content", {})
        told = any(number == cell_index for number, _ in self.run.errors)
        if content.get("status") != "ok" and not told:
            self.run.errors.append((cell_index, _line(content)))

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> None:
        """Keep what is ours, and the first line of an error."""
        content = msg["content"]
        if msg["msg_type"] == "error":
            self.run.errors.append((cell_index, _line(content)))
            return
        for media, value in content.get("data", {}).items():
            if media.startswith(MEDIA) and isinstance(value, str):
                self.kept += len(value)
                if self.kept <= _MOST_KEPT:
                    self.run.sent.append((media, value))


def _line(content: Mapping[str, Any]) -> str:
    """An error as one line."""
    return f"{content.get('ename', 'error')}: {content.get('evalue', '')}".splitlines()[0][:300]
