"""A kernel's limits on a system that lacks one of them.

Must not know: what is run in the kernel.
"""

from __future__ import annotations

import resource

import pytest

from kvmdbg.lab import limited


def test_a_limit_that_the_system_refuses_leaves_the_others_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        if kind == resource.RLIMIT_AS:  # as on macOS
            raise ValueError("current limit exceeds maximum limit")
        made.append((kind, limits))

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    monkeypatch.setenv(limited.CPU, "5")
    monkeypatch.setenv(limited.ADDRESSES, "1000")
    limited.limit()
    assert made == [(resource.RLIMIT_CPU, (5, 5)), (resource.RLIMIT_CORE, (0, 0))]
