"""Guests with the in-kernel irqchip, in every mode and through both faces of the local APIC.

The text of such a guest is written by :class:`Apic`; xAPIC accesses go through a pointer register
(in real mode through DS, whose base is the page). Must not know: what any test expects.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from kvmdbg.exits import DebugExit
from tests.guests.bench import B, Bench, E, H

PAGE = 0xFEE00000
EOI, TPR, SVR, ICR, LVT_TIMER, INITIAL, DIVIDE = 0xB0, 0x80, 0xF0, 0x300, 0x320, 0x380, 0x3E0
PERIODIC, TSC_DEADLINE = 1 << 17, 1 << 18
TO_SELF, NMI, INIT = 1 << 18, 4 << 8, 5 << 8
IRET = {"real": "iret", "protected": "iretd", "long": "iretq"}
STAMP = "rdtsc\nshl rdx, 32\nor rax, rdx\nmov [0x9000 + rdi * 8], rax\ninc edi"
"""Note the time in a table at 0x9000 (long mode); RDI counts the entries."""

_POINTER = {"real": "bx", "protected": "ebx", "long": "rbx"}


def wrmsr(index: int, value: int) -> str:
    """WRMSR in any mode; clobbers EAX, ECX and EDX."""
    high, low = value >> 32, value & 0xFFFFFFFF
    return f"mov ecx, {index:#x}\nmov eax, {low:#x}\nmov edx, {high:#x}\nwrmsr"


class Apic(NamedTuple):
    """How a guest of this mode talks to its APIC."""

    mode: str = "long"
    x2: bool = False

    def write(self, register: int, value: int) -> str:
        """A write to the register at this offset; with ``x2`` EAX, ECX and EDX are lost."""
        if self.x2:
            return wrmsr(0x800 + (register >> 4), value)
        return f"mov dword ptr [{_POINTER[self.mode]} + {register:#x}], {value:#x}"

    def enable(self) -> str:
        """x2APIC mode if that is wanted, and the APIC enabled by software."""
        switch = wrmsr(0x1B, PAGE | 0xD00) + "\n" if self.x2 else ""
        return switch + self.write(SVR, 0x1FF)

    def self_ipi(self, vector: int) -> str:
        """A fixed interrupt, or with ``NMI`` or ``INIT`` one of those, to this processor."""
        return self.write(ICR, TO_SELF | vector)

    def timer(self, lvt: int, count: int) -> str:
        """Divide by one, LVT entry, initial count: it counts from the last instruction on."""
        writes = ((DIVIDE, 0xB), (LVT_TIMER, lvt), (INITIAL, count))
        return "\n".join(self.write(register, value) for register, value in writes)

    def eoi(self) -> str:
        """End of interrupt."""
        return self.write(EOI, 0)

    def bench(self, text: str) -> Bench:
        """The guest, with the chips and its pointer to the page."""
        b = Bench(text, self.mode)
        b.vcpu.create_irqchip()
        if self.mode == "real":
            sregs = b.vcpu.get_sregs()
            b.vcpu.set_sregs(sregs._replace(ds=sregs.ds._replace(base=PAGE)))
        else:
            b.set(rbx=PAGE)
        return b


FACES = [Apic(mode, x2) for mode in ("real", "protected", "long") for x2 in (False, True)]
"""Every mode with the APIC's page and with its MSRs."""


def name_of(apic: Apic) -> str:
    """For the names of parametrized tests."""
    return f"{apic.mode}-{'x2apic' if apic.x2 else 'xapic'}"


def run_to(b: Bench, label: str) -> None:
    """Run the guest until it stands at a label."""
    b.sgd(E | H, dr7=0x402, dr0=b[label])
    exit_ = b.vcpu.run(max_instructions=100_000)
    if exit_ != DebugExit(1, b[label], B(0), 0x402):
        pytest.fail(f"the guest did not come to {label}: {exit_}")


def times(b: Bench, count: int) -> list[int]:
    """What ``STAMP`` has noted."""
    return [b.word(0x9000 + 8 * n) for n in range(count)]
