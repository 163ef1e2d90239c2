"""The contract's chapter about the instruction clock.

Must not know: what is counted how.
"""

from __future__ import annotations

from ..engines import Capability
from .bench import CODE, HLT, NOP, Bench, E, S
from .contract import Chapter, NotAsked, expect, require

CHAPTER = Chapter("clock")


@CHAPTER.check()
def the_clock_never_goes_back(b: Bench) -> None:
    """``clock`` is a number that no call but ``restore`` makes smaller."""
    b.boot(NOP * 3 + HLT)
    last = b.engine.clock
    for control in (0, E, 0):
        b.set(rip=CODE)
        b.run(control)
        now = b.engine.clock
        require(now >= last, f"a clock of at least {last}", now)
        last = now


@CHAPTER.check(modes=())
def virtual_time_never_goes_back(b: Bench) -> None:
    """``now`` rises or stands still; where there is no virtual time it is -1, always."""
    b.boot(NOP * 3 + HLT)
    last = b.engine.now
    for _ in range(3):
        b.set(rip=CODE)
        b.run()
        now = b.engine.now
        require(now >= last if last >= 0 else now == -1, f"a virtual time from {last} on", now)
        last = now


@CHAPTER.check(modes=())
def without_the_capability_it_is_minus_one(b: Bench) -> None:
    """Where instructions are not counted, ``clock`` is -1, always."""
    if b.counts:
        raise NotAsked("an engine without an instruction clock")
    b.boot(NOP + HLT)
    for _ in range(2):
        expect("the clock to be", b.engine.clock, -1)
        b.run()


@CHAPTER.check(Capability.INSTRUCTION_CLOCK)
def instructions_are_counted(b: Bench) -> None:
    """``clock`` counts each instruction that has retired, once."""
    b.boot(NOP * 9 + HLT)
    before = b.engine.clock
    b.run(max_instructions=9)
    expect("the clock after 9 instructions to have risen by", b.engine.clock - before, 9)


@CHAPTER.check(Capability.INSTRUCTION_CLOCK, Capability.SINGLESTEP)
def a_step_counts_as_one(b: Bench) -> None:
    """A single step makes ``clock`` one larger."""
    b.boot(NOP * 3 + HLT)
    before = b.engine.clock
    for steps in (1, 2, 3):
        b.run(E | S)
        expect("the clock to have risen by", b.engine.clock - before, steps)
