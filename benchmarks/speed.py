"""Speed: free run with breakpoints armed, single steps from Python, exceptions delivered."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import unicorn
from unicorn import x86_const

from benchmarks.measure import ROUNDS, Figure, at_least, rate, ratio
from kvmdbg import Program, Vm, assemble
from kvmdbg.uapi import GuestDbg

ROUNDS_OF_LOOP = 3_000_000
STEPS = 20_000

# Nine instructions with a load and a store in the loop; then 100 places for INT3 that never run.
LOOP = f"""
start:  mov rcx, {ROUNDS_OF_LOOP}
again:  mov rax, [0x9000]
        add rax, rcx
        mov [0x9008], rax
        lea rbx, [rax + 8]
        xor rdx, rbx
        add rsi, 1
        add rdi, rsi
        dec rcx
        jnz again
done:   hlt
idle:   .fill 104, 1, 0x90
"""

CALLS = f"""
start:  mov rcx, {ROUNDS_OF_LOOP}
again:  call work
        call more
        dec rcx
        jnz again
done:   hlt
work:   push rax
        add rax, rcx
        pop rax
        ret
more:   add rdx, 1
        ret
idle:   .fill 104, 1, 0x90
"""


def bare(program: Program) -> unicorn.Uc:
    """Unicorn alone, with the memory and registers of kvmdbg's default long-mode guest."""
    with Vm(mode="long", ram=1 << 22) as vm:
        vm.load(program)
        image = bytes(vm.vcpu.ram)
        sregs = vm.sregs()
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0, len(image))
    uc.mem_write(0, image)
    uc.reg_write(x86_const.UC_X86_REG_CR4, sregs.cr4)
    uc.reg_write(x86_const.UC_X86_REG_CR3, sregs.cr3)
    uc.reg_write(x86_const.UC_X86_REG_CR0, sregs.cr0)
    uc.reg_write(x86_const.UC_X86_REG_RSP, 0x7000)
    return uc


def bare_run(program: Program) -> Callable[[], float]:
    """Run the program to its HLT without any hook; loop rounds per second."""
    uc = bare(program)
    end = program.symbols["done"]

    def once() -> int:
        uc.emu_start(program.origin, end)
        return ROUNDS_OF_LOOP

    return lambda: rate(once)


def armed_run(program: Program) -> Callable[[], float]:
    """The same through ``Vm.cont`` with 4 debug registers and 100 INT3 armed."""
    vm = Vm(mode="long", ram=1 << 22)
    vm.load(program)
    idle = program.symbols["idle"]
    for n in range(100):
        vm.bp(idle + n)
    for n in range(100, 104):
        vm.bp(idle + n, kind="hw")

    def once() -> int:
        vm.set_regs(rip=program.origin)
        vm.cont()
        return ROUNDS_OF_LOOP

    return lambda: rate(once)


def free_run_armed() -> list[Figure]:
    """Breakpoints that are not hit must not be felt.

    What is felt is the instruction clock, once per block. The call/ret loop has blocks of two or
    three instructions, where even an empty hook costs 8 %: it is shown with the clock's own target.
    """
    figures = []
    for name, text, target in (("9-instruction loop", LOOP, 0.9), ("call/ret loop", CALLS, 0.75)):
        program = assemble(text)
        value, detail = ratio(armed_run(program), bare_run(program))
        title = f"free run, 4 DR + 100 INT3 armed, not hit: {name}"
        figures.append(at_least(title, value, target, detail))
    return figures


def _bare_steps(program: Program) -> Callable[[], float]:
    """Unicorn's own single step from Python: ``emu_start(count=1)`` plus one ``reg_read``."""
    uc = bare(program)
    rip = program.origin

    def once() -> int:
        nonlocal rip
        for _ in range(STEPS):
            uc.emu_start(rip, 0, count=1)
            rip = uc.reg_read(x86_const.UC_X86_REG_RIP)
        return STEPS

    return lambda: rate(once)


def _ioctl_steps(program: Program) -> Callable[[], float]:
    """``vcpu.run()`` under KVM_GUESTDBG_SINGLESTEP plus ``get_regs()``."""
    vm = Vm(mode="long", ram=1 << 22)
    vm.load(program)
    vcpu = vm.vcpu
    vcpu.set_guest_debug(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)

    def once() -> int:
        run, get_regs = vcpu.run, vcpu.get_regs
        for _ in range(STEPS):
            run()
            get_regs()
        return STEPS

    return lambda: rate(once)


def _vm_steps(program: Program) -> Callable[[], float]:
    """``vm.step(n)``, each step a row of the timeline."""
    vm = Vm(mode="long", ram=1 << 22)
    vm.load(program)

    def once() -> int:
        vm.step(STEPS)
        return STEPS

    return lambda: rate(once)


def single_steps() -> list[Figure]:
    """Single steps from Python, on the ioctl line and through the debugger."""
    program = assemble(LOOP)
    line, on_line = ratio(_ioctl_steps(program), _bare_steps(program))
    command, on_command = ratio(_vm_steps(program), _bare_steps(program))
    return [
        at_least("single steps with all registers", line, 1.0, on_line),
        at_least("vm.step(n), each step in the timeline", command, 0.2, on_command),
    ]


HITS = 2_000


def breakpoint_hits() -> list[Figure]:
    """``vm.cont()`` from hit to hit: step off the INT3, nine instructions, a Stop."""
    vm = Vm(mode="long", ram=1 << 22)
    vm.load(assemble(LOOP))
    vm.bp("again")

    def once() -> int:
        for _ in range(HITS):
            vm.cont()
        return HITS

    rates = [rate(once) for _ in range(ROUNDS)]
    detail = f"INT3 hit and continued from, each a Stop, median of {ROUNDS} rounds"
    return [at_least("breakpoint hits", statistics.median(rates), 4_000, detail, "per s")]


EXCEPTIONS = 20_000
UD2 = f"""
start:   mov ecx, {EXCEPTIONS}
again:   ud2
         dec ecx
         jnz again
done:    hlt
handler: add qword ptr [rsp], 2
         iretq
"""


def delivered_exceptions() -> list[Figure]:
    """A guest that takes faults in its own handler, without any debugging."""
    vm = Vm(mode="long", ram=1 << 22)
    program = assemble(UD2)
    vm.load(program)
    vm.set_gate(6, program.symbols["handler"])

    def once() -> int:
        vm.set_regs(rip=program.origin)
        vm.cont()
        return EXCEPTIONS

    rates = [rate(once) for _ in range(ROUNDS)]
    detail = f"#UD to the guest's handler and IRETQ, median of {ROUNDS} rounds"
    return [
        at_least("guest exceptions delivered", statistics.median(rates), 20_000, detail, "per s")
    ]
