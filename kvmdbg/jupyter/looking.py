"""How the guest stands now: the code around it, what the last stop changed, where breakpoints are.

Looks at the VM and changes nothing. Must not know: how any of it is drawn.
"""

from __future__ import annotations

from itertools import takewhile

from ..debugger.stop import Stop
from ..debugger.vm import Vm
from ..x86.decode import Instruction
from ..x86.paging import NonCanonical, PageFault, translate

BEFORE = 3
"""How many instructions before the guest's place a disassembly shows, where the listing knows."""

_PAGE = 0x1000


def standing_stop(vm: Vm) -> Stop | None:
    """The last stop, unless ``%vm exit`` or Python has run the guest on since."""
    last = vm.last_stop
    return last if last is not None and last.clock == vm.vcpu.clock else None


def code_around(vm: Vm, size: int, syntax: str = "intel") -> list[Instruction]:
    """From a few instructions before; x86 cannot be read backwards, so the listing must know."""
    pc = vm.address("$rip")
    start = _listed_before(vm, pc)
    before = list(takewhile(lambda ins: ins.address < pc, vm.disassemble(start, BEFORE, syntax)))
    fits = before and before[-1].address + before[-1].size == pc
    head = before if fits else []
    return [*head, *vm.disassemble(pc, max(1, size - len(head)), syntax)]


def _listed_before(vm: Vm, pc: int) -> int:
    """The address of the line that stands ``BEFORE`` lines of code before ``pc``, or ``pc``."""
    if vm.program is None or vm.program.listing.line_of(pc) is None:
        return pc
    lines = [row.address for row in vm.program.listing if row.address is not None and row.raw]
    before = sorted(address for address in lines if address < pc)
    return before[-BEFORE:][0] if before else pc


def marks(vm: Vm) -> dict[int, str]:
    """Numbers of the breakpoints on instructions, by address."""
    found: dict[int, list[str]] = {}
    for breakpoint in vm.breakpoints:
        if breakpoint.access == "x":
            found.setdefault(breakpoint.address, []).append(str(breakpoint.number))
    return {address: ",".join(numbers) for address, numbers in found.items()}


def changed_ranges(vm: Vm, address: int, size: int) -> list[tuple[int, int]]:
    """Which of ``size`` bytes at a linear address the last stop changed: (offset, length), rising.

    What changed is known by guest-physical address; a page that is not mapped has no changes.
    """
    if vm.last_stop is None or not vm.last_stop.changes.memory:
        return []
    runs = [(run.address, len(run.new)) for run in vm.last_stop.changes.memory]
    sregs, end, found = vm.sregs(), address + size, []
    for page in range(address & -_PAGE, end, _PAGE):
        try:
            base = translate(page, sregs, vm.vcpu.read_memory)
        except (PageFault, NonCanonical):
            continue
        low, high = max(page, address), min(page + _PAGE, end)
        for start, length in runs:
            first = max(start - base + page, low)
            last = min(start + length - base + page, high)
            if first < last:
                found.append((first - address, last - first))
    return sorted(found)
