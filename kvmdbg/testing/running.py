"""The contract's chapter about ``run``: which exits there are, and every way to end a run.

Must not know: what a caller does with an exit.
"""

from __future__ import annotations

import errno
import signal
import threading
import time

from ..engines import Capability, Executed, Passing, Tracing, Writing
from ..errors import IoctlError
from ..exits import (
    ExceptionExit,
    Exit,
    HltExit,
    IntrExit,
    IoExit,
    MmioExit,
    ShutdownExit,
)
from .bench import (
    CODE,
    DATA,
    HANDLED,
    HLT,
    JMP_SELF,
    LOAD,
    MMIO,
    NOP,
    SECONDS,
    STORE,
    UD2,
    Bench,
    in_,
    mov_al,
    out,
)
from .contract import Broken, Chapter, describe, expect, refuses, require

CHAPTER = Chapter("running")
_UD = 6
_SHORT = 0.05
_SOON = 2.0
"""A stop comes within this many seconds, on a host that is busy elsewhere too."""


@CHAPTER.check()
def hlt_is_an_exit(b: Bench) -> None:
    """HLT ends ``run`` with HltExit, RIP after it, and the next run goes on from there."""
    b.boot(HLT + mov_al(4) + HLT)
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be", b.regs.rip, CODE + 1)
    expect("the second exit to be", b.run(), HltExit())
    expect("AL to be", b.al, 4)


@CHAPTER.check()
def out_gives_port_and_data(b: Bench) -> None:
    """OUT ends ``run`` with IoExit("out") with port, size and data; the next run goes on."""
    b.boot(mov_al(0x41) + out(0x80) + HLT)
    expect("the exit to be", b.run(), IoExit("out", 0x80, 1, b"A"))
    expect("the next exit to be", b.run(), HltExit())


@CHAPTER.check()
def in_takes_the_answer(b: Bench) -> None:
    """IN ends ``run`` with IoExit("in") of zeros; ``complete_io`` gives AL before the next run."""
    b.boot(in_(0x81) + HLT, rax=0xFF)
    expect("the exit to be", b.run(), IoExit("in", 0x81, 1, b"\0"))
    b.engine.complete_io(b"\x5c")
    expect("the next exit to be", b.run(), HltExit())
    expect("AL to be", b.al, 0x5C)


@CHAPTER.check(modes=())
def an_answer_nobody_waits_for_is_einval(b: Bench) -> None:
    """``complete_io`` is EINVAL when no IN and no MMIO read waits."""
    b.boot(HLT)
    refuses("complete_io", lambda: b.engine.complete_io(b"\0"), IoctlError, errno.EINVAL)


@CHAPTER.check()
def a_store_outside_ram_is_mmio(b: Bench) -> None:
    """A store outside RAM ends ``run`` with MmioExit: guest-physical address, data, is_write."""
    b.boot(mov_al(0x77) + STORE + HLT)
    b.point_at(MMIO)
    expect("the exit to be", b.run(), MmioExit(MMIO, b"\x77", True))
    expect("the next exit to be", b.run(), HltExit())


@CHAPTER.check()
def a_load_outside_ram_takes_the_answer(b: Bench) -> None:
    """A load outside RAM ends ``run`` with MmioExit; ``complete_io`` gives what it reads."""
    b.boot(LOAD + HLT)
    b.point_at(MMIO)
    expect("the exit to be", b.run(), MmioExit(MMIO, b"\0", False))
    b.engine.complete_io(b"\x33")
    expect("the next exit to be", b.run(), HltExit())
    expect("AL to be", b.al, 0x33)


@CHAPTER.check(modes=("protected", "long"))
def a_triple_fault_is_a_shutdown(b: Bench) -> None:
    """An exception for which there is no handler, nor for those that follow, is ShutdownExit."""
    b.boot(UD2)
    expect("the exit to be", b.run(), ShutdownExit())


@CHAPTER.check()
def run_of_nothing_only_finishes_an_access(b: Bench) -> None:
    """``run(0)`` finishes the access that the last exit told of, and executes nothing else."""
    b.boot(in_(0x81) + mov_al(1) + HLT)
    b.run()
    b.engine.complete_io(b"\x5c")
    for _ in range(2):
        expect("the exit to be", b.run(max_instructions=0), IntrExit("budget"))
        expect("(RIP, AL) to be", (b.regs.rip, b.al), (CODE + 2, 0x5C))


@CHAPTER.check(Capability.INSTRUCTION_CLOCK)
def a_budget_is_exact(b: Bench) -> None:
    """``max_instructions`` ends ``run`` with IntrExit("budget") after exactly so many."""
    b.boot(NOP * 64 + HLT)
    for budget in (1, 2, 7, 50):
        b.set(rip=CODE)
        expect("the exit to be", b.run(max_instructions=budget), IntrExit("budget"))
        expect("RIP to be", b.regs.rip, CODE + budget)


@CHAPTER.check()
def a_timeout_ends_the_run(b: Bench) -> None:
    """``timeout`` ends ``run`` with IntrExit("timeout") after so many seconds, not before."""
    b.boot(JMP_SELF)
    begin = time.monotonic()
    expect("the exit to be", b.run(timeout=_SHORT), IntrExit("timeout"))
    took = time.monotonic() - begin
    require(_SHORT <= took < _SHORT + _SOON, f"{_SHORT} s, and not much more", f"{took:.3f} s")
    expect("RIP to be", b.regs.rip, CODE)


@CHAPTER.check()
def another_thread_ends_the_run(b: Bench) -> None:
    """``request_stop`` from another thread ends the current run with IntrExit("request")."""
    b.boot(JMP_SELF)
    with b.running() as exits:
        time.sleep(_SHORT)
        begin = time.monotonic()
        b.engine.request_stop()
        _wait_for(exits)
    took = time.monotonic() - begin
    expect("the exits to be", exits, [IntrExit("request")])
    require(took < _SOON, f"an end within {_SOON} s", f"{took:.1f} s")


def _wait_for(exits: list[Exit]) -> None:
    end = time.monotonic() + SECONDS
    while not exits and time.monotonic() < end:
        time.sleep(0.001)


@CHAPTER.check(modes=())
def a_request_before_the_run_ends_the_next_one_only(b: Bench) -> None:
    """``request_stop`` before a run ends that run, before anything is executed, and no other."""
    b.boot(NOP + HLT)
    b.engine.request_stop()
    expect("the exit to be", b.run(), IntrExit("request"))
    expect("RIP to be", b.regs.rip, CODE)
    expect("the next exit to be", b.run(), HltExit())


@CHAPTER.check(modes=(), in_main_thread=True)
def ctrl_c_ends_the_run(b: Bench) -> None:
    """SIGINT raises KeyboardInterrupt from ``run`` where the guest can go on, and soon."""
    b.boot(JMP_SELF)
    main = threading.get_ident()
    timer = threading.Timer(_SHORT, lambda: signal.pthread_kill(main, signal.SIGINT))
    begin = time.monotonic()
    try:
        timer.start()
        exit = b.run()
    except KeyboardInterrupt as interrupt:
        got = describe(interrupt)
    else:
        raise Broken("KeyboardInterrupt from run()", repr(exit))
    finally:
        timer.join()
    took = time.monotonic() - begin
    require(took < _SHORT + _SOON, f"{got} within {_SOON} s", f"{took:.1f} s")
    expect("the exit of the next run to be", b.run(timeout=_SHORT), IntrExit("timeout"))


@CHAPTER.check(Capability.VECTOR_STOP)
def a_watched_vector_ends_the_run_before_it_is_taken(b: Bench) -> None:
    """A watched vector ends ``run`` with ExceptionExit before the guest takes it; then it does."""
    b.boot(NOP + UD2)
    b.gate(_UD)
    b.engine.watch_vectors({_UD})
    expect("the exit to be", b.run(), ExceptionExit(_UD, 0, CODE + 1, False))
    expect("RIP to be", b.regs.rip, CODE + 1)
    expect("the next exit to be", b.run(), HltExit())
    expect("RIP to be in the handler of #UD:", b.regs.rip, HANDLED + 16 * _UD)


@CHAPTER.check(modes=())
def any_vectors_can_be_watched(b: Bench) -> None:
    """``watch_vectors`` takes any collection of vectors, also where none is ever seen."""
    b.boot(NOP + HLT)
    for vectors in ((), [3], {1, 6}, frozenset(range(256))):
        b.engine.watch_vectors(vectors)
    expect("the exit to be", b.run(), HltExit())


@CHAPTER.check(Capability.OBSERVING)
def an_observer_is_told_what_ran(b: Bench) -> None:
    """``observe`` tells of every instruction with its linear address, of each time that one place
    is passed, and of stores to given bytes, before ``run`` comes back."""
    b.boot(NOP + STORE + JMP_SELF)
    b.point_at(DATA)
    told: list[Executed] = []
    passed: list[int] = []
    stores: list[int] = []
    begin = b.engine.clock
    b.engine.observe(
        Tracing(told.append),
        Passing(CODE + 1, passed.extend),
        Writing(DATA, 1, lambda clock, count: stores.append(clock)),
    )
    # One second: an engine that goes on tells hundreds of megabytes in it.
    expect("the exit to be", b.run(max_instructions=5, timeout=1), IntrExit("budget"))
    heads = [int(head) & 0xFFFF_FFFF_FFFF for stretch in told for head in stretch.heads]
    expect("the addresses to be", heads, [CODE, CODE + 1, *[CODE + 1 + len(STORE)] * 3])
    expect("the passings of the store to be", passed, [begin + 1])
    expect("a store to have been told", bool(stores), True)
    b.engine.observe()
    b.run(max_instructions=2)
    expect("the stretches to be no more", sum(len(stretch.heads) for stretch in told), 5)
