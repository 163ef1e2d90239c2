"""On what the guests run: kernel, processor, KVM's module and its capability bits.

Must not know: guests.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...uapi import KVM_GUESTDBG_VALID_MASK, Cap, GuestDbg

_CPUINFO: Final = Path("/proc/cpuinfo")
_MODULES: Final = Path("/sys/module")
_BEFORE_MASK: Final = KVM_GUESTDBG_VALID_MASK & ~int(GuestDbg.BLOCKIRQ)
"""What KVM_CAP_SET_GUEST_DEBUG alone stands for: kernels before 5.14 have no mask to tell."""


def kernel() -> str:
    """The system and its release."""
    return f"{platform.system()} {platform.release()}"


def processor() -> str:
    """The first processor's vendor and model."""
    try:
        facts = dict(map(_fact, _CPUINFO.read_text().partition("\n\n")[0].splitlines()))
    except OSError:
        facts = {}
    named = [facts[name] for name in ("vendor_id", "model name") if facts.get(name)]
    return ", ".join(named) or platform.machine()


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def kvm_modules() -> tuple[str, ...]:
    """KVM's modules that are loaded or built in: ``kvm`` and, say, ``kvm_intel``."""
    try:
        names = sorted(place.name for place in _MODULES.iterdir())
    except OSError:
        return ()
    return tuple(name for name in names if name == "kvm" or name.startswith("kvm_"))


def extensions() -> tuple[int, dict[Cap, int]]:
    """KVM_GET_API_VERSION, and KVM_CHECK_EXTENSION of each ``Cap``.

    Raises EngineUnavailable with what to do.
    """
    from ..kvm import check_host

    check_host(sys.platform, platform.machine())
    from ..kvm.system import System

    with System() as system:
        return system.get_api_version(), {cap: system.check_extension(cap) for cap in Cap}


def promised(promise: GuestDbg | Cap | None, bits: Mapping[Cap, int]) -> str:
    """The bit that promises a behaviour, by its name; empty if none does.

    >>> promised(GuestDbg.SINGLESTEP, {Cap.SET_GUEST_DEBUG2: 3})
    'KVM_GUESTDBG_SINGLESTEP'
    >>> promised(Cap.IRQCHIP, {})
    ''
    """
    if isinstance(promise, Cap):
        return f"KVM_CAP_{promise.name}" if bits.get(promise) else ""
    mask = bits.get(Cap.SET_GUEST_DEBUG2, 0)
    if not mask and bits.get(Cap.SET_GUEST_DEBUG):
        mask = _BEFORE_MASK
    return f"KVM_GUESTDBG_{promise.name}" if promise and promise & mask else ""
