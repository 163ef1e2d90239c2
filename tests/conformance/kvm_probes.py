"""Tiny guests for what the conformance tests need to know of this host's KVM, and others do not.

They are probes as those in kvmdbg/engines/probes: a guest that yields what was seen and what the
reference profile does. Must not know: which test needs which (kvm_deviations.py).
"""

from __future__ import annotations

from typing import Final

from kvmdbg.engines import Capability
from kvmdbg.engines.probes.finding import Probe, Steps
from kvmdbg.engines.probes.guest import (
    B0,
    BD,
    BS,
    DR7,
    END,
    GP,
    IF,
    NONE,
    OFF,
    RF,
    TF,
    E,
    Guest,
    H,
    K,
    S,
    W,
    debug,
    int3,
    io,
    mmio,
    vector,
)
from kvmdbg.engines.probes.modes import (
    CODE,
    DATA,
    KERNEL,
    KERNEL_CODE,
    KERNEL_DATA,
    LONG,
    LONG_3,
    MAIN,
    MMIO,
    PROTECTED,
    PROTECTED_3,
    STACK,
)
from kvmdbg.errors import IoctlError
from kvmdbg.machine.layout import GDT, default_guest
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.descriptors import pack_descriptor
from kvmdbg.x86.registers import EFER, DebugRegs, DescriptorTable, Segment, VcpuEvents

_G0 = DR7 | 2
_DETECT = DR7 | 1 << 13
_NMI, _IRQ = 2, 0x21
_MOV_SS = b"\x8e\xd0"
_NEW_TSS, _NEW_TASK = 0x9000, 0x58
_ID = int(GuestDbg.INJECT_DB)
_FREE: Final = b"\x90\xf4"
"""NOP and HLT: a handler that shows whether it is stepped."""


def _mov_imm(opcode: bytes, value: int) -> bytes:
    return opcode + value.to_bytes(4, "little")


_SYSCALL_MSRS: Final = b"".join(
    (
        *(_mov_imm(b"\xb9", 0xC0000081), _mov_imm(b"\xba", 0x00180008), b"\x31\xc0\x0f\x30"),
        *(_mov_imm(b"\xb9", 0xC0000082), b"\x31\xd2", _mov_imm(b"\xb8", CODE + 0x40)),
        b"\x0f\x30",
    )
)
"""WRMSR: selectors 8 and 0x18 to STAR, CODE + 0x40 to LSTAR."""


def _iret(g: Guest) -> bytes:
    return b"\x48\xcf" if g.mode.long else b"\xcf"


def _stack_selector(g: Guest) -> int:
    return 0 if g.mode.bits == 16 else KERNEL_DATA


def _frame(g: Guest, flags: int, to: int) -> None:
    """What an IRET at CPL 0 takes from the stack."""
    selector = 0 if g.mode.bits == 16 else KERNEL_CODE
    words = [to, selector, flags] + ([STACK, KERNEL_DATA] if g.mode.long else [])
    size = g.mode.word
    g.set(rsp=STACK - 0x40)
    g.engine.write_memory(STACK - 0x40, b"".join(w.to_bytes(size, "little") for w in words))


# -- instructions ----------------------------------------------------------------------------------


def _int_n(g: Guest) -> Steps:
    g.load(b"\xcd\x20\x90")  # int 0x20; nop
    yield g.run(OFF), vector(0x20)
    yield g.frame(0x20), "back to +2"


def _iret_back(g: Guest) -> Steps:
    code = _iret(g)
    g.load(code + b"\x90")
    _frame(g, 2, CODE + len(code))
    yield g.run(OFF), END


def _iret_with_rf(g: Guest) -> Steps:
    code = _iret(g)
    to = CODE + len(code)
    g.load(code + b"\x90")
    _frame(g, 2 | RF, to)
    yield g.run(H, dr=(to,), dr7=_G0), END


def _iret_shows_rf(g: Guest) -> Steps:
    code = _iret(g)
    g.load(code + b"\x90")
    _frame(g, 2 | RF, CODE + len(code))
    yield g.run(S), debug(CODE + len(code), BS)
    yield f"RF {g.engine.get_regs().rflags & RF:#x}", f"RF {RF:#x}"


def _syscall(g: Guest) -> Steps:
    """To CPL 3 by SYSRET, and back."""
    sysret = _mov_imm(b"\xb9", CODE + 0x30) + _mov_imm(b"\x41\xbb", 2) + b"\x48\x0f\x07"
    g.load(((_SYSCALL_MSRS + sysret).ljust(0x30, b"\x0b") + b"\x0f\x05").ljust(0x40, b"\x0b"))
    system = g.engine.get_sregs()
    g.engine.set_sregs(system._replace(efer=system.efer | EFER.SCE))
    yield g.run(OFF), END


def _task_switch(g: Guest) -> Steps:
    g.load(b"\xea\x00\x00\x00\x00\x58\x00")  # jmp 0x58:0
    guest = default_guest("protected", 0x10000)
    for address, data in guest.memory:
        g.engine.write_memory(address, data)
    task = Segment(_NEW_TSS, 0x67, _NEW_TASK, type=9, present=1)
    g.engine.write_memory(GDT + _NEW_TASK, pack_descriptor(task))
    g.engine.set_sregs(guest.sregs._replace(gdt=DescriptorTable(GDT, _NEW_TASK + 7)))
    fields = {0x20: CODE + 7, 0x24: 2, 0x38: 0x6F00, 0x4C: KERNEL_CODE}
    fields |= dict.fromkeys((0x48, 0x50, 0x54, 0x58, 0x5C), KERNEL_DATA)
    for offset, value in fields.items():
        g.engine.write_memory(_NEW_TSS + offset, value.to_bytes(4, "little"))
    yield g.run(OFF), END


def _high_mmio(g: Guest) -> Steps:
    g.load(b"\x8b\x03", rbx=0xD0000000)  # mov eax,[rbx]
    guest = default_guest("long", 0x10000)
    for address, data in guest.memory:
        g.engine.write_memory(address, data)
    g.engine.set_sregs(guest.sregs)
    yield g.run(OFF), mmio("load", 0xD0000000, 4)


def _faulting_store(g: Guest) -> Steps:
    """The last page below 4 MiB is the data's; the one above is not there."""
    page_table, large_pages = 0x5000, 0x4000
    g.engine.write_memory(large_pages + 8, (page_table | 0x27).to_bytes(8, "little"))
    g.engine.write_memory(page_table + 511 * 8, (DATA | 0x67).to_bytes(8, "little"))
    g.load(b"\x89\x07", rax=0xFFFFFFFF, rdi=0x3FFFFE)  # mov [rdi],eax
    yield g.run(OFF), vector(14)
    yield f"{g.number(DATA + 0xFFE, 2):#x} stored", "0x0 stored"


def _wide_dr4(g: Guest) -> Steps:
    g.load(b"\x0f\x23\xe0", rax=1 << 32)  # mov dr4,rax
    yield g.run(OFF), vector(GP)


# -- what a step does ------------------------------------------------------------------------------


def _fault_free(g: Guest) -> Steps:
    g.load(b"\x0f\x0b")  # ud2
    g.handler(6, _FREE)
    yield g.run(S), "HLT exit at vector 6's handler+2"


def _interrupt_free(g: Guest) -> Steps:
    g.load(b"\x90")
    g.handler(_NMI, _FREE)
    g.engine.nmi()
    yield g.run(S), "HLT exit at vector 2's handler+2"


def _injection_free(g: Guest) -> Steps:
    g.load(b"\x90")
    g.handler(1, _FREE)
    yield g.run(S | _ID), "HLT exit at vector 1's handler+2"


def _emulated_ends(g: Guest) -> Steps:
    g.load(b"\x8a\x07\x90\x90")  # mov al,[bx], or mov al,[rdi]; nop; nop
    g.to_mmio()
    yield g.run(S), mmio("load", MMIO, 1)
    g.engine.complete_io(b"\x99")
    yield g.run(), debug(CODE + 2, BS)
    yield g.run(), END


def _popf_ends(g: Guest) -> Steps:
    g.load(b"\x6a\x02\x9d\x90\x90")  # push 2; popf; nop; nop
    yield g.run(S), debug(CODE + 2, BS)
    yield g.run(), debug(CODE + 3, BS)
    yield g.run(), END


def _at_out(g: Guest) -> Steps:
    g.load(b"\xe6\x10\x90")  # out 0x10,al; nop
    yield g.run(S), io("out", 0x10)
    yield f"RIP {g.engine.get_regs().rip:#x}", f"RIP {CODE:#x}"


def _tf_in_frame(g: Guest) -> Steps:
    g.load(b"\x0f\x0b")  # ud2
    g.run(S)
    flags = g.number(g.engine.get_regs().rsp + 2 * g.mode.word, 2)
    yield f"TF {flags & TF:#x} pushed", "TF 0x0 pushed"


def _tf_in_r11(g: Guest) -> Steps:
    g.load((_SYSCALL_MSRS + b"\x0f\x05").ljust(0x41, b"\x90"))
    system = g.engine.get_sregs()
    g.engine.set_sregs(system._replace(efer=system.efer | EFER.SCE))
    at = CODE + len(_SYSCALL_MSRS)
    yield g.run(H, dr=(at,), dr7=_G0), debug(at, B0, _G0)
    yield g.run(S), debug(CODE + 0x40, BS)
    yield f"TF {g.engine.get_regs().r11 & TF:#x} in R11", "TF 0x0 in R11"


def _port_7e(g: Guest) -> Steps:
    g.load(b"\xe6\x7e\x90")  # out 0x7e,al; nop
    yield g.run(S), io("out", 0x7E)
    yield g.run(S), debug(CODE + 2, BS)


def _wide_dr7(g: Guest) -> Steps:
    g.load(b"\x90")
    yield g.run(H, dr7=DR7 | 1 << 40), END


def _dr7_changed(g: Guest) -> Steps:
    g.load(b"\x0f\x23\xf8\x90", rax=DR7 | 0x100)  # mov dr7,eax; nop
    yield g.run(S), debug(CODE + 3, BS, DR7 | 0x100)


def _apic_waits(g: Guest) -> tuple[int, str]:
    """Run to where the APIC has an interrupt for the guest, which has IF=0; the place, the exit."""
    g.engine.create_irqchip()
    svr = b"\xb9\x0f\x08\x00\x00\xb8\xff\x01\x00\x00\x31\xd2\x0f\x30"
    ipi = b"\xb9\x3f\x08\x00\x00\xb8\x21\x00\x00\x00\x0f\x30"
    g.load(svr + ipi + b"\x90\x90\x90", rflags=2)
    g.engine.set_sregs(g.engine.get_sregs()._replace(apic_base=0xFEE00D00))
    at = CODE + len(svr + ipi)
    return at, g.run(H, dr=(at,), dr7=_G0)


def _apic_in_step(g: Guest) -> Steps:
    at, seen = _apic_waits(g)
    yield seen, debug(at, B0, _G0)
    g.handler(_IRQ, b"\x90" + _iret(g))
    g.set(rflags=2 | IF)
    yield g.run(S), debug(at + 1, BS)


def _apic_behind_injection(g: Guest) -> Steps:
    """The handler of the APIC's interrupt is an OUT: there an APIC keeps HLT from exiting."""
    at, seen = _apic_waits(g)
    yield seen, debug(at, B0, _G0)
    g.handler(1, _iret(g))
    g.handler(_IRQ, b"\xe6\x10")  # out 0x10,al
    g.set(rflags=2 | IF)
    yield g.run(_ID), io("out", 0x10)
    yield g.frame(_IRQ), f"back to +{at - CODE}"


# -- breakpoints and watches -----------------------------------------------------------------------


def _int3_given_back(g: Guest) -> Steps:
    g.load(b"\xcc\x90")  # int3; nop
    yield g.run(W), int3(CODE)
    yield g.run(W | int(GuestDbg.INJECT_BP)), vector(3)
    yield g.frame(3), "back to +1"


def _prefixed_int3_given_back(g: Guest) -> Steps:
    g.load(b"\x2e\xcc\x90")  # cs int3; nop
    yield g.run(W), int3(CODE)
    yield g.run(W | int(GuestDbg.INJECT_BP)), vector(3)
    yield g.frame(3), "back to +2"


def _removed_int3_given_back(g: Guest) -> Steps:
    g.load(b"\xcc\x90")  # int3; nop
    yield g.run(W), int3(CODE)
    g.engine.write_memory(CODE, b"\x90")
    yield g.run(W | int(GuestDbg.INJECT_BP)), vector(3)
    yield g.frame(3), "back to +1"


def _handler_halts(g: Guest) -> Steps:
    """Where the engine steps a guest to find its INT3s, it must not step over the HLT."""
    g.load(b"\x0f\x0b")  # ud2
    yield g.run(W), vector(6)


def _prefixed_int3(g: Guest) -> Steps:
    g.load(b"\x2e\xcc\x90")  # cs int3; nop
    yield g.run(W), int3(CODE)


def _gate_refuses(g: Guest) -> Steps:
    gate = 0x1000 + 3 * (16 if g.mode.long else 8)
    g.engine.write_memory(gate + 5, b"\x8e")  # present, DPL 0, interrupt gate
    for code in (b"\xcc", b"\xcd\x03"):  # int3; int 3
        g.load(code)
        yield g.run(E), vector(GP)
        yield g.frame(GP), "back to +0"


def _two_watches(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90")  # mov [bx],al, or mov [rdi],al; nop
    dr7 = DR7 | 0x22 | 1 << 16 | 3 << 24
    yield g.run(H, dr=(DATA, 0, DATA), dr7=dr7), debug(CODE + 2, NONE | 5, dr7)


def _last_of_rep(g: Guest) -> Steps:
    g.load(b"\xf3\xaa\x90", rcx=2)  # rep stosb; nop
    dr7 = _G0 | 1 << 16
    yield g.run(H, dr=(DATA + 1,), dr7=dr7), debug(CODE + 2, B0, dr7)


def _watch_mapped_later(g: Guest) -> Steps:
    """MOV QWORD PTR [entry], the page of 2 MiB; MOV [RDI], AL; NOP."""
    entry = b"\x48\xc7\x04\x25" + (0x4008).to_bytes(4, "little") + (0xE7).to_bytes(4, "little")
    g.load(entry + b"\x88\x07\x90", rdi=0x200000 + DATA)
    dr7 = _G0 | 1 << 16
    place = CODE + len(entry) + 2
    yield g.run(H, dr=(0x200000 + DATA,), dr7=dr7), debug(place, B0, dr7)


# -- the guest's own -------------------------------------------------------------------------------


def _trap_behind_out(g: Guest) -> Steps:
    g.load(b"\xe6\x10\x90\x90", rflags=2 | TF)  # out 0x10,al; nop; nop
    yield g.run(OFF), io("out", 0x10)
    yield g.run(), vector(1)
    yield g.frame(1), "back to +2"


def _trap_behind_mov_ss(g: Guest) -> Steps:
    g.load(_MOV_SS + b"\x90\x90", rax=_stack_selector(g), rflags=2 | TF)
    yield g.run(OFF), vector(1)
    yield g.frame(1), "back to +3"


def _own_behind_mov_ss(g: Guest) -> Steps:
    g.load(_MOV_SS + b"\x90\x90", rax=_stack_selector(g))
    g.engine.set_debugregs(DebugRegs((CODE + 2, 0, 0, 0), dr7=_G0))
    yield g.run(OFF), END


def _own_under_step(g: Guest) -> Steps:
    g.load(b"\x90\x90\x90")
    g.engine.set_debugregs(DebugRegs((CODE + 1, 0, 0, 0), dr7=_G0))
    yield g.run(S), debug(CODE + 1, BS, _G0)
    yield g.run(S), debug(CODE + 1, B0, _G0)


def _own_detect_inert(g: Guest) -> Steps:
    g.load(b"\x0f\x21\xc0\x90")  # mov eax,dr0; nop
    g.engine.set_debugregs(DebugRegs(dr7=_DETECT))
    yield g.run(H), END


def _own_detect_under_step(g: Guest) -> Steps:
    g.load(b"\x0f\x21\xc0\x90")  # mov eax,dr0; nop
    g.engine.set_debugregs(DebugRegs(dr7=_DETECT))
    yield g.run(S), vector(1)
    yield g.dr6(), f"guest's DR6 {BD:#x}"


# -- events ----------------------------------------------------------------------------------------


def _interrupt_despite_blockirq(g: Guest) -> Steps:
    g.load(b"\x90\x90", rflags=2 | IF)
    g.engine.interrupt(_IRQ)
    yield g.run(K), vector(_IRQ)


def _interrupt_at_once(g: Guest) -> Steps:
    """Several times: where the guest is left only now and then, it happens to be so once."""
    for _ in range(10):
        g.load(b"\x90", rflags=2 | IF)
        g.engine.interrupt(_IRQ)
        yield g.run(E), vector(_IRQ)
        yield g.frame(_IRQ), "back to +0"


def _queued_is_busy(g: Guest) -> Steps:
    g.load(b"\x90")
    g.engine.set_vcpu_events(VcpuEvents(exception_nr=6, exception_injected=1))
    try:
        g.sgd(_ID)
    except IoctlError as error:
        yield str(error.errno), "16"
    else:
        yield "accepted", "EBUSY"


def _delivered_is_forgotten(g: Guest) -> Steps:
    g.load(b"\x90")
    yield g.run(_ID), vector(1)
    yield g.engine.get_vcpu_events(), VcpuEvents(exception_nr=0)


def _db_before_nmi(g: Guest) -> Steps:
    g.load(b"\x90")
    g.engine.nmi()
    yield g.run(_ID), vector(_NMI)
    yield g.frame(_NMI), "back to vector 1's handler"


def _has_clock(g: Guest) -> Steps:
    yield Capability.INSTRUCTION_CLOCK in g.engine.capabilities, True


PROBES: Final = (
    Probe("INT n", (180,), KERNEL, _int_n),
    Probe("IRET", (190,), KERNEL, _iret_back),
    Probe("RF loaded by IRET passes the host's breakpoint", (158,), KERNEL[1:], _iret_with_rf),
    Probe("RF loaded by IRET is seen at the next instruction", (159,), KERNEL[1:], _iret_shows_rf),
    Probe("SYSRET and SYSCALL", (189,), (LONG,), _syscall),
    Probe("task switch", (114,), (PROTECTED,), _task_switch),
    Probe("1-GiB pages", (), (LONG,), _high_mmio),
    Probe("a store whose second page is absent is a page fault", (85,), (LONG,), _faulting_store),
    Probe("#GP for the upper half of DR4", (133,), (LONG,), _wide_dr4),
    Probe("the handler of a stepped fault runs free", (178,), KERNEL, _fault_free),
    Probe("the handler of an interrupt in a step runs free", (182,), KERNEL, _interrupt_free),
    Probe("the handler of an injection in a step runs free", (127,), KERNEL, _injection_free),
    Probe("an emulated instruction ends stepping", (13,), KERNEL, _emulated_ends),
    Probe("a POPF that clears TF ends stepping", (20,), KERNEL, _popf_ends),
    Probe("RIP at the OUT in its exit", (165,), KERNEL, _at_out),
    Probe("TF hidden in exception frames", (178, 180), KERNEL, _tf_in_frame),
    Probe("TF hidden from SYSCALL", (189,), (LONG,), _tf_in_r11),
    Probe("step over OUT to port 0x7E", (169,), KERNEL, _port_7e),
    Probe("host's DR7 above 32 bits", (196,), KERNEL, _wide_dr7),
    Probe("dr7 of a step after the guest's MOV DR7", (24,), KERNEL, _dr7_changed),
    Probe(
        "the handler of the APIC's interrupt in a step runs free", (182,), (LONG,), _apic_in_step
    ),
    Probe("the APIC's interrupt behind an injected #DB", (128,), (LONG,), _apic_behind_injection),
    Probe("prefixed INT3 to the host", (33,), KERNEL, _prefixed_int3),
    Probe("a gate keeps CPL 3 from INT3", (39,), (PROTECTED_3, LONG_3), _gate_refuses),
    Probe("watchpoint in a page that the guest maps", (85,), (LONG,), _watch_mapped_later),
    Probe("INJECT_BP gives an INT3 back", (117,), MAIN, _int3_given_back),
    Probe("INJECT_BP gives a prefixed INT3 back", (117,), KERNEL, _prefixed_int3_given_back),
    Probe(
        "INJECT_BP gives an INT3 back that was removed", (117,), KERNEL, _removed_int3_given_back
    ),
    Probe("HLT at the start of a handler under USE_SW_BP", (26,), KERNEL, _handler_halts),
    Probe("two watchpoints in one exit", (81,), KERNEL, _two_watches),
    Probe("watchpoint in the last round of a REP", (84,), KERNEL, _last_of_rep),
    Probe("guest's TF behind OUT", (93,), KERNEL, _trap_behind_out),
    Probe("guest's TF over MOV SS", (147,), KERNEL, _trap_behind_mov_ss),
    Probe("guest's breakpoint behind MOV SS", (151,), KERNEL, _own_behind_mov_ss),
    Probe("guest's breakpoint under SINGLESTEP", (106,), KERNEL, _own_under_step),
    Probe("guest's general detect under USE_HW_BP", (144,), KERNEL, _own_detect_inert),
    Probe("guest's general detect under SINGLESTEP", (145,), KERNEL, _own_detect_under_step),
    Probe("KVM_INTERRUPT under BLOCKIRQ", (186,), KERNEL, _interrupt_despite_blockirq),
    Probe("KVM_INTERRUPT before the first instruction", (186,), KERNEL, _interrupt_at_once),
    Probe("a queued exception makes an injection EBUSY", (120,), KERNEL, _queued_is_busy),
    Probe("a delivered #DB is forgotten", (124,), KERNEL, _delivered_is_forgotten),
    Probe("an injected #DB comes before a pending NMI", (128,), KERNEL, _db_before_nmi),
    Probe("exact budget", (), KERNEL, _has_clock),
)
