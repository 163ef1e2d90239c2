"""The loops that are measured, and the two who run them: kvmdbg's Vm, and Unicorn without hooks.

Must not know: what is armed, recorded or asked while they run.
"""

from __future__ import annotations

import unicorn
from unicorn import x86_const

from benchmarks.measure import Rate, rate
from kvmdbg import Program, Vm, assemble

RAM = 1 << 22

# Nine instructions with a load and a store in the loop; then 104 places that never run.
LOOP = """
start:  mov rcx, {rounds}
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

CALLS = """
start:  mov rcx, {rounds}
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

# A block of two instructions: the most that a hook per block can cost.
SHORT = """
start:  mov rcx, {rounds}
again:  dec rcx
        jnz again
done:   hlt
"""

# Nearly every page of a 16 MiB guest's upper half is written every 10,000 instructions or so.
WIDE = """
start:  mov rcx, {rounds}
        mov rdi, 0x800000
again:  mov [rdi], rcx
        add rdi, 0x1008
        and rdi, 0xffffff
        or  rdi, 0x800000
        loop again
done:   hlt
"""

ROUNDS_OF = {LOOP: 12_000_000, CALLS: 3_000_000, SHORT: 30_000_000}
"""How often a loop is gone through in one round of a measurement: some 0.1 to 0.5 s."""

FOREVER = 1 << 40
"""For a loop that something else ends."""


def program(text: str, rounds: int) -> Program:
    """One of the loops, to be gone through so many times."""
    return assemble(text.format(rounds=rounds))


def loaded(text: str, rounds: int = FOREVER, record: bool = True, ram: int = RAM) -> Vm:
    """A Vm in long mode, ready to run one of the loops."""
    vm = Vm(mode="long", ram=ram, record=record)
    vm.load(program(text, rounds))
    return vm


def bare(image: Program) -> unicorn.Uc:
    """Unicorn alone, with the memory and registers of kvmdbg's default long-mode guest."""
    with Vm(mode="long", ram=RAM) as vm:
        vm.load(image)
        memory = bytes(vm.vcpu.ram)
        sregs = vm.sregs()
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0, len(memory))
    uc.mem_write(0, memory)
    uc.reg_write(x86_const.UC_X86_REG_CR4, sregs.cr4)
    uc.reg_write(x86_const.UC_X86_REG_CR3, sregs.cr3)
    uc.reg_write(x86_const.UC_X86_REG_CR0, sregs.cr0)
    uc.reg_write(x86_const.UC_X86_REG_RSP, 0x7000)
    return uc


def bare_run(text: str) -> Rate:
    """Unicorn runs a loop to its end without any hook; rounds of the loop per second."""
    image = program(text, ROUNDS_OF[text])
    uc = bare(image)
    end = image.symbols["done"]

    def once() -> int:
        uc.emu_start(image.origin, end)
        return ROUNDS_OF[text]

    return lambda: rate(once)


def finite(text: str, record: bool = True) -> Vm:
    """A Vm with a loop that ends, for :func:`vm_run`."""
    return loaded(text, ROUNDS_OF[text], record)


def vm_run(vm: Vm, text: str) -> int:
    """The loaded loop once more, to its HLT; how many rounds of it."""
    vm.set_regs(rip=vm.address("start"))
    vm.cont()
    return ROUNDS_OF[text]
