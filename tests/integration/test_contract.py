"""Both engines keep the contract; engines that break it in one point are found out in one line.

docs/engine-contract.md is written from the checks: ``KVMDBG_WRITE_DOCS=1 pytest
tests/integration/test_contract.py`` writes it anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from kvmdbg.engines import Capability, Engine, Observation, Snapshot, Steps, open_engine
from kvmdbg.engines.unicorn.engine import UnicornEngine
from kvmdbg.errors import EngineUnavailable, UnknownName
from kvmdbg.exits import Exit, HltExit
from kvmdbg.testing import (
    CHAPTERS,
    ContractBroken,
    Factory,
    Outcome,
    Result,
    check_engine,
    every_check,
)
from kvmdbg.testing.contract import ANY_MODE
from kvmdbg.uapi import MpState
from kvmdbg.x86.registers import DebugRegs, Regs
from tests.committed import committed

PAGE = Path(__file__).parents[2] / "docs" / "engine-contract.md"


def factory(name: str) -> Factory:
    return lambda ram: open_engine(name, ram)


def usable(name: str) -> str:
    """The engine's name; skips where it cannot run, with the engine's own line."""
    try:
        open_engine(name, 0x10000).close()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    return name


# Ours


@pytest.mark.parametrize("name", ["unicorn", "kvm"])
def test_our_engine_keeps_the_contract(name: str) -> None:
    report = check_engine(factory(usable(name)))
    report.raise_if_broken()
    assert report.ok
    assert any(each.outcome is Outcome.HELD for each in report.results)


def test_the_embedded_engine_is_asked_everything_that_an_engine_with_a_clock_can_be() -> None:
    report = check_engine(factory("unicorn"))
    left = [each.name for each in report.results if each.outcome is Outcome.NOT_ASKED]
    assert left == ["without the capability it is minus one"]


def test_every_check_is_asked_in_each_of_its_modes() -> None:
    report = check_engine(factory("unicorn"), chapters=["debugging"])
    expected = [
        (check.name, mode)
        for check in every_check()
        if check.chapter == "debugging"
        for mode in check.modes
    ]
    assert [(each.name, each.mode) for each in report.results] == expected


# Engines that break it. Each differs from the embedded one in one point.


class ForgetsDr7(UnicornEngine):
    def restore(self, snapshot: Snapshot) -> None:
        super().restore(snapshot)
        self.set_debugregs(self.get_debugregs()._replace(dr7=0x400))


class IgnoresTheBudget(UnicornEngine):
    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        return super().run(None if max_instructions else max_instructions, timeout)


class CopiesRam(UnicornEngine):
    @property
    def ram(self) -> memoryview:
        return memoryview(bytes(super().ram))


class GivesRamAway(UnicornEngine):
    @property
    def ram(self) -> memoryview:
        return memoryview(self._core.machine.ram)


class ClosesOnce(UnicornEngine):
    def close(self) -> None:
        if self._closed:
            raise OSError("already closed")
        super().close()


class RunsAfterItsEnd(UnicornEngine):
    def get_regs(self) -> Regs:
        return Regs() if self._closed else super().get_regs()


class ShowsTheHost(UnicornEngine):
    def get_debugregs(self) -> DebugRegs:
        debug = self._vcpu.debug
        return super().get_debugregs()._replace(db=debug.effective_db)


class ForgetsToDrop(UnicornEngine):
    def set_regs(self, regs: Regs) -> None:
        debug = self._vcpu.debug
        super().set_regs(regs)
        self._vcpu.debug = debug


class RefusesUnknownBits(UnicornEngine):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        if control & ~0x1F0003:
            raise ValueError("control")
        super().set_guest_debug(control, debugreg)


class TakesASecondInjection(UnicornEngine):
    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        pending = self._vcpu.debug.pending
        if pending is not None:
            control &= ~0xC0000
        super().set_guest_debug(control, debugreg)


class NeverStops(UnicornEngine):
    def request_stop(self) -> None:
        pass


class TellsInWords(UnicornEngine):
    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        exit = super().run(max_instructions, timeout)
        return "halted" if exit == HltExit() else exit  # type: ignore[return-value]


class WritesOutside(UnicornEngine):
    def write_memory(self, address: int, data: bytes) -> None:
        super().write_memory(address % self._ram_size, data)


class RestoresAnything(UnicornEngine):
    def restore(self, snapshot: Snapshot) -> None:
        if not isinstance(snapshot, str) and hasattr(snapshot, "ram"):
            super().restore(snapshot)


class Unowned(UnicornEngine):
    def set_regs(self, regs: Regs) -> None:
        if not self._owner.locked():
            super().set_regs(regs)


class CountsTwice(UnicornEngine):
    @property
    def clock(self) -> int:
        return 2 * super().clock


class LeaksFiles(UnicornEngine):
    left: list[int] = []  # noqa: RUF012 - it is the leak

    def close(self) -> None:
        if not self._closed:
            self.left.append(os.open(os.devnull, os.O_RDONLY))
        super().close()


class LeaksMemory(UnicornEngine):
    left: list[bytes] = []  # noqa: RUF012 - it is the leak

    def close(self) -> None:
        if not self._closed and self._ram_size > 0x10000:
            self.left.append(bytes(super().ram))
        super().close()


class WatchesNothing(UnicornEngine):
    def watch_vectors(self, vectors: Collection[int]) -> None:
        pass


class StepsTwice(UnicornEngine):
    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        if self._vcpu.debug.singlestep and max_instructions is None:
            super().run()
        return super().run(max_instructions, timeout)


class StepsPastItsStops(UnicornEngine):
    def run_steps(self, count: int, stops: AbstractSet[int] = frozenset()) -> Steps | None:
        return super().run_steps(count)


class TellsNothing(UnicornEngine):
    def observe(self, *observations: Observation) -> None:
        pass


class HandlesTheRestOfIn(UnicornEngine):
    def complete_io(self, data: bytes) -> None:
        if self._vcpu.transfer is not None:
            super().complete_io(data)


class ForgetsIf(UnicornEngine):
    def interrupt(self, vector: int) -> None:
        self.set_regs(self.get_regs()._replace(rflags=0x202))
        super().interrupt(vector)


class QueuesTwo(UnicornEngine):
    def interrupt(self, vector: int) -> None:
        self._vcpu.interrupts.irq = None
        super().interrupt(vector)


class SleepsOn(UnicornEngine):
    def set_mp_state(self, mp_state: MpState) -> None:
        pass


class TellsNoWindow(UnicornEngine):
    def request_interrupt_window(self, wanted: bool = True) -> None:
        pass


BROKEN = [
    (ForgetsIf, "interrupts", "expected the exit with IF=0 to be IntrExit(cause='timeout'), got H"),
    (QueuesTwo, "interrupts", "expected a second one to raise IoctlError with errno 17, got the"),
    (SleepsOn, "interrupts", "expected the exit to be IoExit(direction='out', port=0x82"),
    (TellsNoWindow, "interrupts", "expected the exit with IF=1 to be IrqWindowOpenExit(), got"),
    (ForgetsDr7, "snapshots", "expected get_debugregs() after restore() to be DebugRegs("),
    (IgnoresTheBudget, "running", "expected the exit to be IntrExit(cause='budget'), got HltExit"),
    (CopiesRam, "memory", "expected ram to show what the host wrote: b'\\xb0Z', got b'\\x00\\x00'"),
    (GivesRamAway, "memory", "expected ram[0] = 1 to raise TypeError, got the value None"),
    (ClosesOnce, "life", "expected no error, got OSError: already closed in ClosesOnce.close"),
    (RunsAfterItsEnd, "life", "expected get_regs() after close() to raise VmClosed, got the value"),
    (ShowsTheHost, "debugging", "expected get_debugregs() to give DebugRegs(db=(0x1111, 0x2222"),
    (ForgetsToDrop, "registers", "expected RIP to be behind the program, not in the handler:"),
    (RefusesUnknownBits, "debugging", "expected no error, got ValueError: control in Refuses"),
    (TakesASecondInjection, "debugging", "expected a second injection to raise IoctlError with"),
    (NeverStops, "running", "expected the exits to be [IntrExit(cause='request')], got [IntrExit("),
    (TellsInWords, "running", "expected run() to return an exit of kvmdbg.exits, got 'halted'"),
    (WritesOutside, "memory", "expected writing 1 bytes at 0x10000 to raise AddressError, got"),
    (RestoresAnything, "snapshots", "expected restore(object()) to raise BadInput, got the value"),
    (Unowned, "life", "expected set_regs() from another thread to raise VmBusy, got the value"),
    (CountsTwice, "clock", "expected the clock after 9 instructions to have risen by 9, got 0x12"),
    (LeaksFiles, "life", "expected about "),
    (LeaksMemory, "life", "expected less than 64 MiB more, got "),
    (WatchesNothing, "running", "expected the exit to be ExceptionExit(exception=6, error_code=0"),
    (StepsTwice, "debugging", "expected the exit to be DebugExit(exception=1, pc=0x8001, dr6=0xff"),
    (StepsPastItsStops, "debugging", "expected the steps to a stop to be [32"),
    (TellsNothing, "running", "expected the addresses to be [32768, 32769, 32771, 32771, 32771]"),
    (HandlesTheRestOfIn, "running", "expected complete_io to raise IoctlError with errno 22, got"),
]


@pytest.mark.parametrize(
    ("engine", "chapter", "message"), BROKEN, ids=[engine.__name__ for engine, *_ in BROKEN]
)
def test_an_engine_that_breaks_one_clause_is_found_out_in_one_line(
    engine: type[UnicornEngine], chapter: str, message: str
) -> None:
    report = check_engine(engine, chapters=[chapter], modes=["long"])
    assert not report.ok
    assert any(each.why.startswith(message) for each in report.broken), report.summary
    assert all("\n" not in each.why for each in report.broken)


class Hangs(UnicornEngine):
    """Does not come back from ``snapshot`` until it is asked to."""

    def __init__(self, ram: int) -> None:
        super().__init__(ram)
        self.let_go = threading.Event()

    def snapshot(self) -> object:  # type: ignore[override]
        self.let_go.wait(60)
        return super().snapshot()

    def request_stop(self) -> None:
        self.let_go.set()


def test_an_engine_that_does_not_come_back_is_broken_and_the_next_check_is_asked() -> None:
    begin = time.monotonic()
    report = check_engine(Hangs, chapters=["snapshots"], modes=["long"], seconds=0.1)
    assert time.monotonic() - begin < 30
    assert len(report.results) == len(report.broken) > 3
    assert report.broken[0].why == (
        "expected an answer within 0.1 s, got none, after request_stop()"
    )


class Bare(UnicornEngine):
    """An engine without any capability."""

    capabilities = frozenset()


def test_what_needs_a_capability_that_is_missing_is_not_asked_and_says_so() -> None:
    report = check_engine(Bare, chapters=["debugging"], modes=["long"])
    assert report.ok
    asked = {each.name: str(each) for each in report.results}
    assert asked["a step executes one instruction"] == "not asked: needs single-step"
    assert asked["unknown control bits do nothing"] == "held"


def test_only_the_main_thread_can_be_interrupted() -> None:
    reports = []
    ask = threading.Thread(
        target=lambda: reports.append(check_engine(factory("unicorn"), chapters=["running"]))
    )
    ask.start()
    ask.join(60)
    (result,) = (each for each in reports[0].results if each.name == "ctrl c ends the run")
    assert str(result) == "not asked: needs the main thread"


# The report


def test_the_report_is_a_table_with_a_summary() -> None:
    lines = str(check_engine(ForgetsDr7, chapters=["snapshots"], modes=["long"])).splitlines()
    assert lines[0].startswith("snapshots  restoring brings everything back    long  broken: ")
    assert lines[-1] == 'engine "unicorn": 5 held, 1 broken, 0 not asked'


def test_raise_if_broken_names_each_broken_check() -> None:
    report = check_engine(ForgetsDr7, chapters=["snapshots"], modes=["long", "real"])
    with pytest.raises(ContractBroken) as broken:
        report.raise_if_broken()
    first, *rest = str(broken.value).splitlines()
    assert first == 'engine "unicorn" breaks its contract'
    assert [line.partition(":")[0] for line in rest] == [
        f"snapshots, restoring brings everything back ({mode})" for mode in ("real", "long")
    ]


def test_progress_is_told_each_result_at_once() -> None:
    told: list[Result] = []
    report = check_engine(factory("unicorn"), chapters=["clock"], progress=told.append)
    assert tuple(told) == report.results


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modes": ["lnog"]}, 'unknown mode "lnog"; choose real, protected, long'),
        ({"chapters": ["time"]}, 'unknown chapter "time"; choose memory, registers'),
    ],
)
def test_an_unknown_mode_or_chapter_is_refused(wrong: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UnknownName) as refused:
        check_engine(factory("unicorn"), **wrong)  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)


def test_an_engine_that_cannot_be_opened_at_all_is_the_callers_error() -> None:
    def none(ram: int) -> Engine:
        raise EngineUnavailable("no such machine")

    with pytest.raises(EngineUnavailable, match="no such machine"):
        check_engine(none)


def test_the_checker_needs_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from kvmdbg.testing import check_engine\n"
        "from kvmdbg.engines import open_engine\n"
        "print(check_engine(lambda ram: open_engine('unicorn', ram), chapters=['clock']).ok)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert (answer.stdout, answer.stderr) == ("True\n", "")


# The page

HEAD = """# The contract of an engine

An engine is one VM with one vCPU that does what KVM does, under KVM's names: the protocol
[`kvmdbg.engines.Engine`](../kvmdbg/engines/__init__.py). What it has to do beyond having those
methods is listed here, and can be asked of any engine:

```python
from kvmdbg.engines import open_engine
from kvmdbg.testing import check_engine

report = check_engine(lambda ram: open_engine("unicorn", ram))
print(report)
report.raise_if_broken()
```

The argument is a function that opens one engine with so many bytes of zeroed guest RAM. Each check
gets a fresh engine with the default guest of [machine/layout.py](../kvmdbg/machine/layout.py), in
each of the modes that it names, and 20 seconds. Its answer is `held`, `broken` with what was
expected and what came, or `not asked` with what it needs: mostly a
`kvmdbg.engines.Capability` that the engine has not. The rules of guest debugging themselves are in
[guest-debug.md](guest-debug.md); this contract asks only for those that every engine has to keep.

This page is written by the test run, from the checks themselves.
"""


def page() -> str:
    return HEAD + "".join(f"\n## {c.title.capitalize()}\n\n{table(c.title)}" for c in CHAPTERS)


def table(chapter: str) -> str:
    rows = ["| check | what every engine does | modes | needs |", "|---|---|---|---|"]
    for check in every_check():
        if check.chapter == chapter:
            modes = "" if check.modes == (ANY_MODE,) else ", ".join(check.modes)
            clause = check.clause.replace("``", "`")
            needs = ", ".join(f"`{need.name}`" for need in check.needs)
            rows.append(f"| {check.name} | {clause} | {modes} | {needs} |")
    return "\n".join(rows) + "\n"


def test_the_page_says_what_is_checked() -> None:
    assert committed(PAGE, page()) == page()


def test_every_check_has_a_clause_of_its_own() -> None:
    clauses = [check.clause for check in every_check()]
    assert all(clause.endswith(".") for clause in clauses)
    assert len(set(clauses)) == len(clauses)


def test_every_capability_is_asked_for_by_some_check() -> None:
    assert {need for check in every_check() for need in check.needs} == set(Capability)
