"""Rows 216-221: the rules of 2008 (commit d0bfb940), where they differ from today's.

All of them need a second :class:`~kvmdbg.guestdebug.Profile`. The reference profile says the
opposite of each, so nothing of it shows here.
"""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.x86.registers import DebugRegs
from tests.conformance.rows import row
from tests.guests.bench import ID, NONE, Bench, E, H, S

needs_k08 = pytest.mark.skip(reason="needs the k08 profile: not there yet")


@row(216)
@needs_k08
def test_get_regs_hid_tf_and_rf_under_single_step() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=0x10002)
        b.sgd(E | S)
        assert b.reg("rflags") == 2


@row(217)
@needs_k08
def test_a_second_injection_was_accepted() -> None:
    with Bench("nop") as b:
        b.sgd(ID)
        b.sgd(ID)


@row(218)
@needs_k08
def test_the_flags_were_applied_before_the_injection_was_queued() -> None:
    with Bench("nop\nhandler: nop\nhlt") as b:
        b.gate(1, "handler")
        b.sgd(ID)
        b.sgd(E | S | ID)
        assert b.vcpu.get_vcpu_events().exception_pending == 1
        assert isinstance(b.vcpu.run(), DebugExit)


@row(219)
@needs_k08
def test_use_hw_bp_loaded_no_debug_register() -> None:
    with Bench("nop\nhere: nop\nhlt") as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == HltExit()


@row(220)
@needs_k08
def test_the_guest_read_constants_from_its_debug_registers() -> None:
    with Bench("mov dr0, rdi\nmov rax, dr0\nmov rbx, dr6\nmov rcx, dr7\nhlt") as b:
        b.set(rdi=0x1234)
        b.vcpu.run()
        assert (b.reg("rax"), b.reg("rbx"), b.reg("rcx")) == (0, NONE, 0x400)


@row(221)
@needs_k08
def test_a_debug_exit_carried_neither_dr6_nor_dr7() -> None:
    with Bench("nop\nnext: nop") as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x455))
        assert b.run(E | S) == DebugExit(1, b["next"], 0, 0)
