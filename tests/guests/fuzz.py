"""Runs thousands of wild guests on the embedded engine: it must survive all of them.

    python -m tests.guests.fuzz --guests 100000 --seed 1

Each guest runs a thousand instructions at most and must end in exits of kvmdbg.exits. The guests
run in a child process: should a guest kill it, hang it, or raise anything, the guest's number, kind
and bytes are reported with the command that runs it alone, and the next child goes on behind it.
Must not know: what a guest is made of (wild.py, nasty.py).
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, get_args

from kvmdbg.engines import Engine, open_engine
from kvmdbg.errors import IoctlError
from kvmdbg.exits import (
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    MmioExit,
    ShutdownExit,
)
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.registers import DebugRegs
from tests.guests.wild import KINDS, RAM, WildGuest, wild_guest

ROOT = Path(__file__).parents[2]
CHILD = (sys.executable, "-m", "tests.guests.fuzz", "--child")
INSTRUCTIONS = 1000
_ROUNDS = 40
_TIMEOUT = 0.05
"""Seconds for one run: a guest whose every instruction faults retires none."""
_TIME_IS_UP = "time is up"
PATIENCE = 20.0
"""Seconds after which a silent child is taken to hang."""

_TYPES = get_args(Exit)
ENDS = (ShutdownExit, InternalErrorExit, FailEntryExit)
_E, _S = GuestDbg.ENABLE, GuestDbg.SINGLESTEP
_W, _H, _K = GuestDbg.USE_SW_BP, GuestDbg.USE_HW_BP, GuestDbg.BLOCKIRQ
_INJECT = (GuestDbg.INJECT_DB, GuestDbg.INJECT_BP)
_CONTROLS = (0, 0, _E | _S, _E | _W, _E | _H, _E | _S | _H, _E | _W | _H, _E | _S | _W | _K)
_NEAR = (0x8000, 0x8000, 0x9000, 0x6FF8, 0x600)
_DR7S = (0x401, 0x4FF, 0x2401, 0xD0402, 0xF0402, 0xDDDD04AA, 0xFFFF27FF, 0x20455, 0x10408)


def guest_of(seed: int, number: int) -> tuple[WildGuest, random.Random]:
    """The guest with this number, and the dice for what is done to it."""
    dice = random.Random(f"{seed}:{number}")
    return wild_guest(dice, KINDS[number % len(KINDS)]), dice


# -- one guest -------------------------------------------------------------------------------------


def run_guest(guest: WildGuest, dice: random.Random) -> list[str]:
    """Run one guest in an engine of its own; the names of its exits."""
    engine = open_engine("unicorn", RAM)
    try:
        set_up(engine, guest, dice)
        return [type(exit_).__name__ for exit_ in _exits(engine, guest, dice)]
    finally:
        engine.close()


def set_up(engine: Engine, guest: WildGuest, dice: random.Random) -> None:
    for address, data in guest.memory:
        engine.write_memory(address, data)
    engine.set_sregs(guest.sregs)
    engine.set_regs(guest.regs)
    draw = dice.random()
    if draw < 0.4:
        _debug(engine, dice.choice(_CONTROLS), dice)
    elif draw < 0.6:
        engine.set_debugregs(DebugRegs(_places(dice), dr7=dice.choice(_DR7S)))
    if dice.random() < 0.1:
        engine.watch_vectors(range(32))


def _places(dice: random.Random) -> tuple[int, int, int, int]:
    """Where breakpoints go: in the code, in its data, on its stack, on its tables."""
    a, b, c, d = (dice.choice(_NEAR) + dice.randrange(32) for _ in range(4))
    return a, b, c, d


def _debug(engine: Engine, control: int, dice: random.Random) -> None:
    with suppress(IoctlError):  # EBUSY: an exception waits already
        engine.set_guest_debug(control, (*_places(dice), 0, 0, 0, dice.choice(_DR7S)))


def _exits(engine: Engine, guest: WildGuest, dice: random.Random) -> Iterator[Exit]:
    for _ in range(_ROUNDS):
        left = INSTRUCTIONS - engine.clock
        if left <= 0:
            return
        exit_ = engine.run(max_instructions=left, timeout=_TIMEOUT)
        if not isinstance(exit_, _TYPES):
            raise TypeError(f"run() returned {exit_!r}")
        yield exit_
        if isinstance(exit_, ENDS) or exit_ == IntrExit("timeout"):
            return
        _answer(engine, exit_, dice)


def _asks(exit_: IoExit | MmioExit) -> bool:
    return exit_.direction == "in" if isinstance(exit_, IoExit) else not exit_.is_write


def _answer(engine: Engine, exit_: Exit, dice: random.Random) -> None:
    """What a host does after an exit: zeros for a read, now and then an NMI or other settings."""
    if isinstance(exit_, HltExit) and dice.random() < 0.3:
        engine.nmi()
    elif isinstance(exit_, IoExit | MmioExit) and _asks(exit_):
        engine.complete_io(bytes(len(exit_.data)))
    elif isinstance(exit_, DebugExit) and dice.random() < 0.2:
        again = dice.choice(_INJECT) if dice.random() < 0.4 else 0
        _debug(engine, dice.choice(_CONTROLS) | again, dice)


# -- the child -------------------------------------------------------------------------------------


def child(seed: int, first: int, end: int) -> None:
    """Run guests and tell the parent: the number before each, its exits after it."""
    faulthandler.enable()
    for number in range(first, end):
        os.write(1, b"%d\n" % number)
        guest, dice = guest_of(seed, number)
        exits = run_guest(guest, dice)
        os.write(1, b"=%s\n" % ",".join(exits).encode())


# -- the parent ------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of all guests."""

    guests: int = 0
    seconds: float = 0.0
    exits: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def take(self, exits: list[str]) -> None:
        """One guest ended, with these exits."""
        self.guests += 1
        self.exits.update(exits)
        self.ends[exits[-1] if exits else "none"] += 1

    def __str__(self) -> str:
        rate = self.guests / self.seconds if self.seconds else 0.0
        lines = [f"{self.guests} guests in {self.seconds:.1f} s ({rate:.0f} per second)"]
        lines += [f"  {count:8} {name}" for name, count in self.exits.most_common()]
        lines.append(f"{len(self.failures)} failures")
        return "\n".join([*lines, *self.failures])


def fuzz(
    guests: int,
    seed: int,
    first: int = 0,
    seconds: float | None = None,
    *,
    talk: bool = False,
    command: Sequence[str] = CHILD,
    patience: float = PATIENCE,
) -> Outcome:
    """Run guests ``first`` to ``first + guests``, or for ``seconds``, whatever ends first."""
    began = time.monotonic()
    until = None if seconds is None else began + seconds
    outcome, at = Outcome(), first
    while at < first + guests and (until is None or time.monotonic() < until):
        run = _ChildRun(command, patience, talk, outcome)
        at = run.follow(seed, at, first + guests, until) + 1
    outcome.seconds = time.monotonic() - began
    return outcome


class _ChildRun:
    """One child process from its start to its end, good or bad."""

    def __init__(
        self, command: Sequence[str], patience: float, talk: bool, outcome: Outcome
    ) -> None:
        self._command = command
        self._patience = patience
        self._talk = talk
        self._outcome = outcome
        self._at = 0
        self._buffer = b""

    def follow(self, seed: int, first: int, end: int, until: float | None) -> int:
        """The number of the last guest that is dealt with."""
        self._at = first
        numbers = ("--seed", f"{seed}", "--first", f"{first}", "--end", f"{end}")
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                [*self._command, *numbers], cwd=ROOT, stdout=subprocess.PIPE, stderr=said
            ) as process,
        ):
            assert process.stdout is not None
            problem = self._watch(process.stdout, until)
            if problem is not None:
                process.kill()
            code = process.wait()
            if problem == _TIME_IS_UP or (problem is None and code == 0):
                return end
            said.seek(0)
            text = said.read().decode(errors="replace")
        self._report(seed, problem or f"exit status {code}", text)
        return self._at

    def _watch(self, pipe: IO[bytes], until: float | None) -> str | None:
        """Read until the child ends (None), hangs, or the time is up."""
        told = time.monotonic()
        while True:
            ready, _, _ = select.select([pipe], [], [], self._patience)
            if not ready:
                return f"hangs: nothing for {self._patience} s"
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                return None
            self._read(data)
            now = time.monotonic()
            if self._talk and now - told > 1:
                told = now
                print(f"\r{self._at} ", end="", file=sys.stderr, flush=True)
            if until is not None and now > until:
                return _TIME_IS_UP

    def _read(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line.startswith(b"="):
                self._outcome.take(line[1:].decode().split(",") if line[1:] else [])
            else:
                self._at = int(line)

    def _report(self, seed: int, problem: str, said: str) -> None:
        guest, _ = guest_of(seed, self._at)
        self._outcome.failures.append(
            f"guest {self._at} ({guest.kind}): {problem}\n"
            f"  code: {guest.code.hex()}\n"
            f"  again: python -m tests.guests.fuzz --seed {seed} --only {self._at}\n"
            f"  it said: {said.strip()[-1500:]}"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--guests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first guest")
    parser.add_argument("--seconds", type=float, help="stop after this long")
    parser.add_argument("--only", type=int, help="run one guest in this process")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--end", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.seed, chosen.first, chosen.end)
        return 0
    if chosen.only is not None:
        guest, dice = guest_of(chosen.seed, chosen.only)
        print(guest.kind, guest.code.hex(), flush=True)
        print(*run_guest(guest, dice), sep="\n")
        return 0
    outcome = fuzz(chosen.guests, chosen.seed, chosen.first, chosen.seconds, talk=True)
    print(file=sys.stderr)  # behind the progress
    print(outcome)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
