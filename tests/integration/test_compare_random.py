"""Random guests are equal on Unicorn and on this host's KVM, instruction by instruction."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from kvmdbg import Vm, assemble
from kvmdbg.debugger.comparing import compare_vm
from kvmdbg.debugger.divergence import Comparison
from tests.guests.comparable import programs
from tests.integration.test_kvm_engine import needs_kvm

RAM = 1 << 18
MODES = ("real", "protected", "long")
THOROUGH = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compared(
    source: str, mode: str, *sides: str, gates: dict[int, str] | None = None
) -> Comparison:
    with Vm(mode=mode, ram=RAM) as vm:
        vm.load(assemble(source, mode=mode))
        for vector, label in (gates or {}).items():
            vm.set_gate(vector, label)
        return compare_vm(vm, *sides, steps=5000)


@needs_kvm
@pytest.mark.parametrize("mode", MODES)
def test_a_random_guest_is_equal_on_unicorn_and_kvm(mode: str) -> None:
    @THOROUGH
    @given(source=programs(mode))
    def check(source: str) -> None:
        found = compared(source, mode, "unicorn", "kvm")
        assert found.divergence is None, found.divergence
        assert found.ended == "the guest halted"

    check()


@needs_kvm
@THOROUGH
@given(source=programs("long", faults=True))
def test_a_random_guest_that_handles_faults_is_equal_on_unicorn_and_kvm(source: str) -> None:
    found = compared(source, "long", "unicorn", "kvm", gates={6: "handler"})
    assert found.divergence is None, found.divergence
    assert found.ended == "the guest halted"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["unicorn:vmx", "unicorn:emu618"])
def test_a_random_guest_is_equal_under_another_profile(mode: str, side: str) -> None:
    @settings(THOROUGH, max_examples=20)
    @given(source=programs(mode))
    def check(source: str) -> None:
        found = compared(source, mode, "unicorn", side)
        pushes = found.divergence is not None and found.divergence.instruction.startswith("pushf")
        assert found.divergence is None or pushes, found.divergence

    check()
