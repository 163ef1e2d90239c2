"""The engine over the processor itself: Linux's /dev/kvm, by ioctl and mmap alone.

Reading order: system (/dev/kvm), vm (guest RAM and the VM), vcpu (one method per ioctl), values
(kernel bytes to values), decoding (struct kvm_run to an Exit), stopping (how a run is ended from
outside), entry (in and out, once), probe (what this host really does), watching and emulating (what
it does not), saving (snapshots), engine (the shop window). This file imports none of them by
itself: fcntl and mmap do not exist everywhere.
"""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from ...errors import EngineUnavailable

if TYPE_CHECKING:
    from .engine import KvmEngine

__all__ = ["open_kvm"]


def open_kvm(ram: int) -> KvmEngine:
    """Open this engine with ``ram`` bytes of zeroed guest RAM.

    Raises BadInput for RAM that is not whole pages, EngineUnavailable where it cannot run: in one
    line, with what to do.
    """
    check_host(sys.platform, platform.machine())
    from .engine import KvmEngine

    return KvmEngine(ram)


def check_host(system: str, machine: str) -> None:
    """EngineUnavailable unless this is Linux on an x86-64 processor.

    >>> check_host("linux", "x86_64")
    """
    if system == "linux" and machine in ("x86_64", "AMD64"):
        return
    raise EngineUnavailable(
        f'engine "kvm" needs Linux on an x86-64 processor, and this is {system} on '
        f'{machine or "an unknown one"}; use engine="unicorn"'
    )
