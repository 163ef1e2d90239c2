"""The embedded engine's dirty log: no page that was written may be missing in it.

What was written is found by comparing all of RAM; random guests write in every way there is.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import MemoryChange
from kvmdbg.engines.unicorn import UnicornEngine
from kvmdbg.exits import IntrExit
from kvmdbg.machine.layout import PD
from kvmdbg.uapi import GuestDbg
from tests.guests.bench import Bench
from tests.guests.fuzz import ENDS, _answer, set_up
from tests.guests.wild import KINDS, RAM, wild_guest

PAGE = 4096
STEPPING = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
STORES = "again: inc rax\n mov [0x9008], rax\n push rax\n pop rbx\n jmp again"


def written(before: bytes, after: bytes) -> set[int]:
    pages = range(len(before) // PAGE)
    return {n for n in pages if before[n * PAGE :][:PAGE] != after[n * PAGE :][:PAGE]}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(KINDS), st.booleans())
def test_no_page_that_any_guest_wrote_is_missing(seed: int, kind: str, stepped: bool) -> None:
    dice = random.Random(seed)
    guest = wild_guest(dice, kind)
    engine = UnicornEngine(RAM)
    try:
        set_up(engine, guest, dice)
        if stepped:
            engine.set_guest_debug(STEPPING)
        token, _ = engine.get_dirty_log(-1)
        for _ in range(20):
            before = bytes(engine.ram)
            exit = engine.run(dice.choice((3, 50, 500)), 0.05)
            token, pages = engine.get_dirty_log(token)
            assert pages is None or written(before, bytes(engine.ram)) <= pages
            if isinstance(exit, ENDS) or exit == IntrExit("timeout"):
                return
            _answer(engine, exit, dice)
    finally:
        engine.close()


@pytest.fixture
def vcpu() -> Any:
    """A guest in real mode, which has no tables of its own, with its log begun."""
    with Bench(STORES.replace("r", "e"), mode="real") as bench:
        bench.vcpu.get_dirty_log(-1)
        yield bench.vcpu


def test_a_short_run_has_the_pages_that_it_stored_to(vcpu: Any) -> None:
    vcpu.run(100)
    assert vcpu.get_dirty_log(1)[1] == {6, 9}


def test_what_was_told_is_not_told_again(vcpu: Any) -> None:
    vcpu.run(100)
    vcpu.get_dirty_log(1)
    assert vcpu.get_dirty_log(2) == (3, frozenset())


def test_plain_steps_have_the_pages_that_they_stored_to(vcpu: Any) -> None:
    vcpu.set_guest_debug(STEPPING)
    for _ in range(4):
        vcpu.run()
    assert vcpu.get_dirty_log(1)[1] == {6, 9}


def test_a_page_that_the_host_wrote_is_in_it(vcpu: Any) -> None:
    vcpu.write_memory(0x5FFF, b"ab")
    assert vcpu.get_dirty_log(1)[1] == {5, 6}


def test_a_long_run_may_have_written_any_page(vcpu: Any) -> None:
    vcpu.run(200_000)
    assert vcpu.get_dirty_log(1)[1] is None


def test_the_run_after_a_long_one_is_told_again(vcpu: Any) -> None:
    vcpu.run(200_000)
    vcpu.get_dirty_log(1)
    vcpu.run(100)
    assert vcpu.get_dirty_log(2)[1] == {6, 9}


def test_a_snapshot_put_back_may_have_written_any_page(vcpu: Any) -> None:
    vcpu.restore(vcpu.snapshot())
    assert vcpu.get_dirty_log(1)[1] is None


def test_who_did_not_ask_last_is_told_nothing(vcpu: Any) -> None:
    vcpu.get_dirty_log(1)
    assert vcpu.get_dirty_log(1)[1] is None


def test_a_stop_shows_an_accessed_bit_that_the_processor_set_in_a_paging_entry() -> None:
    with Vm(mode="long") as vm:
        vm.load(assemble("nop\n mov rax, [0x600000]\n hlt"))
        vm.memory[PD + 3 * 8] = 0x87  # present, writable, user, large: not accessed yet
        vm.step()
        assert vm.step().changes.memory == (MemoryChange(PD + 3 * 8, b"\x87", b"\xa7"),)
