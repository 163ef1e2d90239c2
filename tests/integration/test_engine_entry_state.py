"""States in which no processor would enter the guest, and code that wraps at 4 GiB.

KVM lets a host set nearly anything with KVM_SET_SREGS and refuses at KVM_RUN; the embedded engine
may run such a guest, but must neither die nor raise. What could end the process runs in another.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit, ShutdownExit
from kvmdbg.machine.layout import GDT, TSS, Selector
from kvmdbg.x86.registers import DescriptorTable, Segment, Sregs
from tests.guests.bench import B, Bench, E, H

ROOT = Path(__file__).parents[2]
SPARE = GDT + 0x58
GATE = 0x58 | 3
CALL32 = f"lcall {GATE}, 0"
CALL64 = f"mov dword ptr [0x9004], {GATE}\nlcall [0x9000]"
SVME, TOP = 1 << 12, 1 << 63
NO_TSS = [Segment(TSS, 0x67, 0x30, kind, 1) for kind in (0, 2, 8, 15)]
NO_TSS += [Segment(TSS, 0x67, 0x30, 11, 0), Segment(TSS, 0x67, 0x30, 11, 1, unusable=1)]


def user_mode(sregs: Sregs, bits: int) -> Sregs:
    """CPL 3 in code of this size, with a GDT long enough for a gate behind the default ones."""
    code = Selector.USER_CODE32 if bits == 32 else Selector.USER_CODE64
    db, long = int(bits == 32), int(bits == 64)
    cs = Segment(0, 0xFFFFFFFF, code | 3, 11, 1, 3, db=db, s=1, l=long, g=1)
    data = Segment(0, 0xFFFFFFFF, Selector.USER_DATA | 3, 3, 1, 3, db=1, s=1, g=1)
    return sregs._replace(cs=cs, ds=data, es=data, ss=data, gdt=DescriptorTable(GDT, 0xFF))


def call_through_a_gate(mode: str, tr: Segment) -> Exit:
    """CPL 3 calls through a call gate into CPL 0, while TR holds this."""
    with Bench(CALL32 if mode == "protected" else CALL64, mode) as b:
        gate = Selector.CODE << 16 | 0xEC << 40 | 0x8100
        b.vcpu.write_memory(SPARE, gate.to_bytes(16, "little"))
        sregs = user_mode(b.vcpu.get_sregs(), 32 if mode == "protected" else 64)
        b.vcpu.set_sregs(sregs._replace(tr=tr))
        return b.run()


def call_with_every_bad_tr(mode: str) -> None:
    """What the child process does."""
    for tr in NO_TSS:
        print(f"TR of type {tr.type}, present={tr.present}", flush=True)
        assert isinstance(call_through_a_gate(mode, tr), get_args(Exit))


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_call_gate_without_a_tss_does_not_end_the_process(mode: str) -> None:
    code = f"import {__name__} as this; this.{call_with_every_bad_tr.__name__}({mode!r})"
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stdout


@pytest.mark.parametrize("mode", ["real", "protected"])
@pytest.mark.parametrize("text", ["in al, 0x80", "out 0x80, al", "insb", "int3", "pushf", "ud2"])
def test_a_rip_above_4_gib_outside_64_bit_code_ends_in_an_exit(mode: str, text: str) -> None:
    with Bench(f"{text}\nhlt", mode) as b:
        b.set(rip=0x8000 + TOP)
        assert isinstance(b.run(), get_args(Exit))


@pytest.mark.parametrize("mode", ["real", "protected"])
@pytest.mark.parametrize("text", ["in al, 0x80", "out 0x80, al", "insb", "int3", "pushf", "ud2"])
def test_a_code_base_above_4_gib_outside_64_bit_code_ends_in_an_exit(mode: str, text: str) -> None:
    with Bench(f"{text}\nhlt", mode) as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=TOP)))
        assert isinstance(b.run(), get_args(Exit))


def wrapped(b: Bench) -> Bench:
    """Let CS begin one page below 4 GiB, and EIP a page further: the same linear addresses."""
    sregs = b.vcpu.get_sregs()
    b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0xFFFFF000)))
    b.set(rip=b.reg("rip") + 0x1000)
    return b


def test_code_that_wraps_at_4_gib_meets_its_execution_breakpoints() -> None:
    with Bench("nop\nhere: nop\nhlt", "protected") as b:
        wrapped(b).sgd(E | H, dr0=b["here"], dr7=0x401)
        assert b.run() == DebugExit(1, b["here"], B(0), 0x401)


def test_code_that_wraps_at_4_gib_reports_each_port_read() -> None:
    with Bench("again: in al, 0x80\njmp again", "protected") as b:
        wrapped(b)
        assert [b.run() for _ in range(3)] == [IoExit("in", 0x80, 1, b"\0")] * 3


def test_an_int3_in_code_that_wraps_at_4_gib_leaves_rip_where_it_was() -> None:
    with Bench("nop\nhere: int3\nhlt", "protected") as b:
        wrapped(b)
        assert b.run() == ShutdownExit()
        assert b.reg("rip") == b["here"] + 0x1000


def test_a_guest_gets_no_amd_virtualization_by_efer() -> None:
    text = """
        mov ecx, 0xc0000080
        rdmsr
        wrmsr
        jmp 1f
    1:  clgi
        hlt
    """
    with Bench(text) as b:
        sregs = b.vcpu.get_sregs()
        with suppress(IoctlError):
            b.vcpu.set_sregs(sregs._replace(efer=sregs.efer | SVME))
        assert b.run() == ShutdownExit()  # #UD without a handler


def test_the_base_of_64_bit_code_counts_for_nothing() -> None:
    with Bench("out 0x80, al\nnop\nhlt") as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=3)))
        assert b.run() == IoExit("out", 0x80, 1, b"\0")
        assert b.run() == HltExit()


def test_a_far_jump_to_64_bit_code_with_a_base_comes_to_an_exit() -> None:
    text = """
            mov dword ptr [0x9000], offset over
            mov word ptr [0x9004], 0x58
            jmp fword ptr [0x9000]
    over:   out 0x80, al
            nop
            hlt
    """
    with Bench(text) as b:
        code = 0x00AF9A000003FFFF  # as the default guest's, with a base of 3
        b.vcpu.write_memory(SPARE, code.to_bytes(8, "little"))
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(gdt=DescriptorTable(GDT, 0xFF)))
        assert isinstance(b.run(), get_args(Exit))
