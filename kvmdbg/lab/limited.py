"""``python -m kvmdbg.lab.limited``: a kernel that can use up only so much processor and memory.

The limits come in the environment and hold for all that the kernel starts; where the system lacks
one (Windows both, macOS that for memory) the grader's clock is left. Must not know: what is run in
the kernel.
"""

from __future__ import annotations

import os
import runpy
from contextlib import suppress
from typing import Final

CPU: Final = "KVMDBG_CPU_SECONDS"
ADDRESSES: Final = "KVMDBG_ADDRESS_BYTES"


def limit() -> None:
    """Set what the environment says, for good."""
    try:
        import resource
    except ImportError:
        return
    for name, kind in ((CPU, resource.RLIMIT_CPU), (ADDRESSES, resource.RLIMIT_AS)):
        value = os.environ.get(name)
        if value:
            with suppress(ValueError, OSError):  # a kind of limit that the system does not have
                resource.setrlimit(kind, (int(value), int(value)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    limit()
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
