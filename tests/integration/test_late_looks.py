"""A Stop is a value: what it shows is its own moment, however late it is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmdbg import Stop, Vm, assemble

COUNT = """
start:  mov rcx, 1000
again:  mov [0x9000], rcx
other:  inc eax
        dec rcx
        jnz again
        hlt
"""

LOOKS: dict[str, Callable[[Stop], object]] = {
    "changes": lambda stop: stop.changes,
    "instruction": lambda stop: stop.instruction,
    "mode": lambda stop: stop.mode,
    "text": str,
}


def disturb(vm: Vm) -> None:
    """All that may happen to a VM behind a stop."""
    vm.cont()
    vm.symbols["elsewhere"] = vm.symbols["again"]
    vm.memory[0x9000:0x9008] = bytes(8)
    vm.memory[0x8000:0x8040] = bytes(0x40)
    vm.step(3)
    vm.reset()
    vm.close()


def stops(count: int) -> tuple[Vm, Stop]:
    vm = Vm(ram=1 << 22)
    vm.load(assemble(COUNT))
    vm.bp("again")
    for _ in range(count):
        vm.cont()
    assert vm.last_stop is not None
    return vm, vm.last_stop


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_stop_looked_at_late_shows_what_it_would_have_shown_at_once(
    look: Callable[[Stop], object], count: int
) -> None:
    (one, at_once), (other, late) = stops(count), stops(count)
    seen = look(at_once)
    disturb(other)
    assert look(late) == seen
    one.close()


def test_stops_that_nobody_looked_at_take_no_change_from_the_next_one() -> None:
    vm, stop = stops(3)
    assert [(run.address, run.old, run.new) for run in stop.changes.memory] == [
        (0x9000, b"\xe8", b"\xe7")
    ]
    vm.close()


def test_a_stop_has_no_field_that_it_was_not_given() -> None:
    vm, stop = stops(1)
    assert not hasattr(stop, "elsewhere")
    vm.close()
