"""Interrupts, NMIs and BLOCKIRQ; HLT with an irqchip; the end of a guest that cannot go on.

Must not know: devices. The irqchip's interrupt is a self-IPI of the local APIC in x2APIC mode.
"""

from __future__ import annotations

from typing import Final

from ...uapi import Cap, GuestDbg, MpState
from ...x86.registers import DescriptorTable
from .finding import Probe, Steps
from .guest import B0, BS, DR7, IF, OFF, Guest, H, K, S, debug, io, vector
from .modes import CODE, KERNEL, LONG, MAIN

_NMI, _IRQ = 2, 0x21
_G0 = DR7 | 2
_X2APIC = 0xFEE00D00
_PORT = 0xE9


def _interrupt(g: Guest) -> Steps:
    g.load(b"\x90\x90", rflags=2 | IF)  # nop; nop
    g.engine.interrupt(_IRQ)
    yield g.run(OFF), vector(_IRQ)
    yield g.frame(_IRQ), "back to +0"


def _window(g: Guest) -> Steps:
    g.load(b"\x90\xfb\x90\x90\x90\x90")  # nop; sti; nop, four times
    g.engine.request_interrupt_window()
    yield g.run(OFF), "IRQ_WINDOW_OPEN exit"
    yield f"RIP {g.engine.get_regs().rip:#x}", f"RIP {CODE + 3:#x}"


def _nmi(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    g.engine.nmi()
    yield g.run(OFF), vector(_NMI)
    yield g.frame(_NMI), "back to +0"


def _nmi_held(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    g.engine.nmi()
    for done in (1, 2):
        yield g.run(S | K), debug(CODE + done, BS)
    yield g.run(OFF), vector(_NMI)
    yield g.frame(_NMI), "back to +2"


def _ipi_waits(g: Guest) -> int:
    """Where the guest stands: at an STI, with an interrupt of its APIC waiting."""
    g.engine.create_irqchip()
    code = (
        b"\xb9\x0f\x08\x00\x00"  # mov ecx,0x80f: spurious interrupt vector, APIC enabled
        b"\xb8\xff\x01\x00\x00"  # mov eax,0x1ff
        b"\x31\xd2\x0f\x30"  # xor edx,edx; wrmsr
        b"\xb9\x3f\x08\x00\x00"  # mov ecx,0x83f: self-IPI
        b"\xb8\x21\x00\x00\x00"  # mov eax,0x21
        b"\x0f\x30"  # wrmsr
    )
    g.load(code + b"\xfb\x90\x90\x90")  # sti; nop; nop; nop
    g.engine.set_sregs(g.engine.get_sregs()._replace(apic_base=_X2APIC))
    g.handler(_IRQ, b"\xe6\xe9")  # out 0xe9,al
    return CODE + len(code)


def _irq_held(g: Guest) -> Steps:
    at = _ipi_waits(g)
    yield g.run(H, dr=(at,), dr7=_G0), debug(at, B0, _G0)
    for done in (1, 2, 3):
        yield g.run(S | K), debug(at + done, BS)
    yield g.run(OFF), io("out", _PORT)


def _irq_taken(g: Guest) -> Steps:
    """Stepping without BLOCKIRQ: behind the shadow of STI its handler runs free."""
    at = _ipi_waits(g)
    yield g.run(H, dr=(at,), dr7=_G0), debug(at, B0, _G0)
    yield g.run(S), debug(at + 1, BS)
    yield g.run(S), debug(at + 2, BS)
    yield g.run(S), io("out", _PORT)


def _hlt_sleeps(g: Guest) -> Steps:
    g.engine.create_irqchip()
    g.load(b"\xf4\x90")  # hlt; nop
    yield g.run(S), debug(CODE + 1, BS)
    yield g.engine.get_mp_state().name, MpState.HALTED.name


def _triple_fault(g: Guest) -> Steps:
    g.load(b"\x0f\x0b")  # ud2
    g.engine.set_sregs(g.engine.get_sregs()._replace(idt=DescriptorTable(0, 0)))
    yield g.run(S), "SHUTDOWN exit"


PROBES: Final = (
    Probe("KVM_INTERRUPT", (), KERNEL, _interrupt),
    Probe("interrupt window behind STI", (), KERNEL, _window),
    Probe("KVM_NMI", (), MAIN, _nmi, Cap.USER_NMI),
    Probe("BLOCKIRQ holds an NMI", (187,), KERNEL, _nmi_held, GuestDbg.BLOCKIRQ),
    Probe("BLOCKIRQ holds the APIC's interrupt", (183,), (LONG,), _irq_held, GuestDbg.BLOCKIRQ),
    Probe("without BLOCKIRQ a step takes it", (182,), (LONG,), _irq_taken, Cap.IRQCHIP),
    Probe("step over HLT with an APIC", (19,), (LONG,), _hlt_sleeps, Cap.IRQCHIP),
    Probe("triple fault", (188,), KERNEL, _triple_fault),
)
