"""An INT3 that is lifted, stepped off and planted again: the guest runs what is in its memory.

Translations are kept meanwhile; against that stands an engine that forgets all of them each time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdbg.engines import Engine
from kvmdbg.exits import DebugExit
from kvmdbg.uapi import GuestDbg
from tests.guests.bench import Bench

STEPPING = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
RUNNING = int(GuestDbg.ENABLE | GuestDbg.USE_SW_BP)
LOOP = "again: inc rax\n add rbx, rax\n mov [0x9000], rbx\n dec rbx\n jmp again"
INC_RAX, DEC_RAX = b"\x48\xff\xc0", b"\x48\xff\xc8"


class Breakpoint:
    """An INT3 at the loop's first instruction."""

    def __init__(self) -> None:
        self.bench = Bench(LOOP)
        self.vcpu = self.bench.vcpu
        self.at = self.bench["again"]
        self.byte = bytes(self.vcpu.ram[self.at : self.at + 1])
        self.plant()

    def plant(self) -> None:
        self.vcpu.write_memory(self.at, b"\xcc")

    def lift(self) -> None:
        self.vcpu.write_memory(self.at, self.byte)

    def step(self) -> None:
        self.vcpu.set_guest_debug(STEPPING)
        self.vcpu.run(timeout=5)

    def step_plainly(self) -> None:
        self.vcpu.set_guest_debug(STEPPING)
        self.vcpu.run()

    def step_again(self) -> None:
        self.vcpu.run(100)

    def run(self) -> None:
        self.vcpu.set_guest_debug(RUNNING)
        self.vcpu.run(20)

    def turn(self) -> None:
        """Another instruction there."""
        code = DEC_RAX if self.vcpu.ram[self.at + 2] == INC_RAX[2] else INC_RAX
        self.vcpu.write_memory(self.at + 2, code[2:])

    def back(self) -> None:
        """The guest is at the breakpoint."""
        self.vcpu.set_regs(self.vcpu.get_regs()._replace(rip=self.at))

    def restore(self) -> None:
        self.vcpu.restore(self.vcpu.snapshot())

    def seen(self) -> tuple[object, ...]:
        return self.vcpu.get_regs(), self.vcpu.clock, bytes(self.vcpu.ram[0x8000:0xA000])


DEEDS = ("plant", "lift", "step", "step_plainly", "step_again", "run", "turn", "back", "restore")
HIT = ["lift", "step_plainly", "plant", "run"]


def forget_all(vcpu: Engine) -> None:
    vcpu._core.machine.flush_translations()  # type: ignore[attr-defined]  # the embedded engine's
    vcpu._core.lifting.settle()  # type: ignore[attr-defined]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*DEEDS, HIT, ["lift", "step", "plant"]]), max_size=25))
def test_kept_translations_make_no_difference(deeds: list[str | list[str]]) -> None:
    kept, anew = Breakpoint(), Breakpoint()
    try:
        for deed in [one for some in deeds for one in ([some] if isinstance(some, str) else some)]:
            getattr(kept, deed)()
            forget_all(anew.vcpu)
            getattr(anew, deed)()
            assert kept.seen() == anew.seen()
    finally:
        kept.vcpu.close()
        anew.vcpu.close()


@pytest.fixture
def hit() -> Iterator[Breakpoint]:
    """After three hits, at the fourth."""
    there = Breakpoint()
    for deed in HIT * 3:
        getattr(there, deed)()
    yield there
    there.vcpu.close()


def test_a_breakpoint_is_hit_again_and_again(hit: Breakpoint) -> None:
    for deed in HIT[:-1]:
        getattr(hit, deed)()
    hit.vcpu.set_guest_debug(RUNNING)
    exit = hit.vcpu.run()
    assert isinstance(exit, DebugExit)
    assert (exit.exception, exit.pc) == (3, hit.at)


def test_nothing_is_translated_anew_at_a_hit(hit: Breakpoint) -> None:
    seen: list[int] = []
    hit.vcpu._core.lifting.translated = seen.append  # type: ignore[attr-defined]  # what it is told
    for deed in HIT * 3:
        getattr(hit, deed)()
    assert seen == []
