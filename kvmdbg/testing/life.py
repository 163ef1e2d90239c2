"""The contract's chapter about an engine's life: who may use it, and what is left when it is gone.

Must not know: where memory comes from. Leaks are looked for in /proc, where there is one.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

from ..engines import Capability
from ..errors import VmBusy, VmClosed
from ..uapi import MpState
from ..x86.registers import DebugRegs, Regs, Sregs, VcpuEvents
from .bench import HLT, JMP_SELF, RAM, Bench
from .contract import Chapter, NotAsked, expect, refuses, require

CHAPTER = Chapter("life")
_OPENS = 50
_LEAK_RAM = 4 << 20
_MOST_LEFT = 64 << 20
"""Bytes by which the process may have grown after fifty engines of 4 MiB each: an allocator keeps
some for the next one."""

_DESCRIPTORS, _STATM = Path("/proc/self/fd"), Path("/proc/self/statm")


@CHAPTER.check(modes=())
def it_has_a_name_and_capabilities(b: Bench) -> None:
    """``name`` is a string, ``capabilities`` a frozenset of Capability."""
    require(isinstance(b.engine.name, str) and b.engine.name != "", "a name", b.engine.name)
    capabilities = b.engine.capabilities
    require(isinstance(capabilities, frozenset), "a frozenset", type(capabilities).__name__)
    strange = [each for each in capabilities if not isinstance(each, Capability)]
    expect("what is no Capability to be", strange, [])


@CHAPTER.check(modes=())
def closing_twice_is_harmless(b: Bench) -> None:
    """``close`` can be called again and again, and ``request_stop`` after it."""
    for _ in range(3):
        b.engine.close()
        b.engine.request_stop()


@CHAPTER.check(modes=())
def a_closed_engine_says_so(b: Bench) -> None:
    """After ``close`` every method but ``close`` and ``request_stop`` raises VmClosed."""
    b.boot(HLT)
    snapshot = b.engine.snapshot()
    b.engine.close()
    for name, call in {**_looking(b), **_changing(b, snapshot)}.items():
        refuses(f"{name} after close()", call, VmClosed)


@CHAPTER.check(modes=())
def a_second_thread_is_refused(b: Bench) -> None:
    """While ``run`` is under way, a call that changes anything raises VmBusy in other threads."""
    b.boot(JMP_SELF)
    snapshot = b.engine.snapshot()
    with b.running() as exits:
        for name, call in {**_changing(b, snapshot), "close()": b.engine.close}.items():
            expect("the exits so far to be", exits, [])
            refuses(f"{name} from another thread", call, VmBusy)
    expect("the number of exits to be", len(exits), 1)
    b.engine.write_memory(0, b"\1")


@CHAPTER.check(modes=())
def an_engine_may_change_threads(b: Bench) -> None:
    """One thread after the other may use it: what was opened in one runs in another."""
    b.boot(JMP_SELF)
    for _ in range(2):
        with b.running() as exits:
            pass
        expect("the number of exits to be", len(exits), 1)
    b.engine.set_regs(b.engine.get_regs())


@CHAPTER.check(modes=())
def two_engines_know_nothing_of_each_other(b: Bench) -> None:
    """What is done to one engine is not seen in another, nor does its end disturb the other."""
    other = b.open(RAM)
    try:
        b.boot(HLT)
        expect("the other's RAM to be", any(other.ram), False)
        b.boot(HLT, other, rax=5)
        expect("AL to be", b.al, 0)
    finally:
        other.close()
    b.run()


@CHAPTER.check(modes=())
def no_file_is_left_open(b: Bench) -> None:
    """Fifty engines that were opened, used and closed leave no file descriptor behind."""
    _need(_DESCRIPTORS)
    _live(b, 3)
    before = len(os.listdir(_DESCRIPTORS))
    _live(b, _OPENS)
    now = len(os.listdir(_DESCRIPTORS))
    require(now < before + _OPENS // 2, f"about {before} open files", now)


@CHAPTER.check(modes=())
def no_memory_is_left(b: Bench) -> None:
    """Fifty engines that were opened, used and closed give their guests' RAM back."""
    _need(_STATM)
    _live(b, 10)
    before = _resident()
    _live(b, _OPENS)
    grown = _resident() - before
    require(grown < _MOST_LEFT, f"less than {_MOST_LEFT >> 20} MiB more", f"{grown >> 20} MiB")


def _need(path: Path) -> None:
    if not path.exists():
        raise NotAsked(str(path))


def _live(b: Bench, engines: int) -> None:
    """So many whole lives, one after the other, of guests whose RAM was touched."""
    for _ in range(engines):
        engine = b.open(_LEAK_RAM)
        engine.write_memory(0, b"\xff" * _LEAK_RAM)
        b.boot(HLT, engine)
        engine.run(timeout=1)
        engine.close()
    gc.collect()


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _looking(b: Bench) -> dict[str, Callable[[], object]]:
    engine = b.engine
    return {
        "ram": lambda: engine.ram,
        "read_memory()": lambda: engine.read_memory(0, 1),
        "get_regs()": engine.get_regs,
        "get_sregs()": engine.get_sregs,
        "get_debugregs()": engine.get_debugregs,
        "get_vcpu_events()": engine.get_vcpu_events,
        "get_mp_state()": engine.get_mp_state,
    }


def _changing(b: Bench, snapshot: object) -> dict[str, Callable[[], object]]:
    engine = b.engine
    return {
        "write_memory()": lambda: engine.write_memory(0, b"\0"),
        "set_regs()": lambda: engine.set_regs(Regs()),
        "set_sregs()": lambda: engine.set_sregs(Sregs()),
        "set_debugregs()": lambda: engine.set_debugregs(DebugRegs()),
        "set_vcpu_events()": lambda: engine.set_vcpu_events(VcpuEvents()),
        "set_guest_debug()": lambda: engine.set_guest_debug(0),
        "watch_vectors()": lambda: engine.watch_vectors(()),
        "run()": lambda: engine.run(timeout=0.0),
        "complete_io()": lambda: engine.complete_io(b"\0"),
        "interrupt()": lambda: engine.interrupt(0x20),
        "nmi()": engine.nmi,
        "request_interrupt_window()": engine.request_interrupt_window,
        "create_irqchip()": engine.create_irqchip,
        "irq_line()": lambda: engine.irq_line(1, True),
        "set_mp_state()": lambda: engine.set_mp_state(MpState.RUNNABLE),
        "snapshot()": engine.snapshot,
        "restore()": lambda: engine.restore(snapshot),
    }
