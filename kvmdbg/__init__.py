"""kvmdbg: a Jupyter bench on which people watch how an x86 processor is debugged.

A guest runs in an embedded virtual machine; the notebook is its hypervisor; the interface between
them is Linux's KVM_SET_GUEST_DEBUG. ``Vm`` is the machine, ``assemble`` makes a program for it,
``%load_ext kvmdbg`` brings the magics ``%vm``, ``%step``, ``%bp`` and ``%%asm``.

This file is the shop window: names are resolved on first use, so that the import stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .debugger.parting import first_divergence
    from .debugger.stop import Stop
    from .debugger.vm import Vm
    from .errors import KvmdbgError
    from .program import Program, assemble
    from .uapi import GuestDbg

__all__ = [
    "GuestDbg",
    "KvmdbgError",
    "Program",
    "Stop",
    "Vm",
    "__version__",
    "assemble",
    "first_divergence",
]

_HOMES = {
    "GuestDbg": ".uapi",
    "KvmdbgError": ".errors",
    "Program": ".program",
    "Stop": ".debugger.stop",
    "Vm": ".debugger.vm",
    "assemble": ".program",
    "first_divergence": ".debugger.parting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """``%load_ext kvmdbg``."""
    from .jupyter import magics

    magics.load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """``%unload_ext kvmdbg``."""
    from .jupyter import magics

    magics.unload(ipython)
