"""The replay engine: what it follows, what it refuses, and that it keeps the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.engines import Engine, open_engine, trial
from kvmdbg.engines.replay import ReplayEngine
from kvmdbg.errors import AddressError, BadInput, EngineBroken, IoctlError, NotRecorded
from kvmdbg.exits import DebugExit, HltExit, IntrExit, IoExit
from kvmdbg.history import recording, recording_file
from kvmdbg.history.journal import Journal
from kvmdbg.history.recorded import Recorded
from kvmdbg.history.recording_file import Contents, Shape
from kvmdbg.machine.layout import default_guest
from kvmdbg.testing import ContractReport, Outcome, check_engine
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.registers import DebugRegs

RAM = 1 << 16
CODE = 0x8000
E, S = int(GuestDbg.ENABLE), int(GuestDbg.SINGLESTEP)
_SHAPE = Shape(recording.JOURNAL, ())


def boot(engine: Engine, code: bytes) -> None:
    guest = default_guest("long", RAM, CODE)
    for address, data in (*guest.memory, (CODE, code)):
        engine.write_memory(address, data)
    engine.set_sregs(guest.sregs)
    engine.set_regs(guest.regs)


def replay(recorded: Recorded) -> ReplayEngine:
    """The engine that goes the same way; the recorded one is closed."""
    columns, begin = recording.put(recorded.kept())
    recorded.close()
    return ReplayEngine(open_engine("unicorn", RAM), recording.take(columns, begin, RAM)[1])


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    engine = Recorded(open_engine("unicorn", RAM))
    yield engine
    engine.close()


# The contract

FROM_OUTSIDE = "how long a run took, and when another thread came, is in no recording"
GIVEN_UP = "what was done before an older snapshot was put back is given up, and in no recording"
UNANSWERED = {
    "a timeout ends the run": FROM_OUTSIDE,
    "another thread ends the run": FROM_OUTSIDE,
    "a second thread is refused": FROM_OUTSIDE,
    "an engine may change threads": FROM_OUTSIDE,
    "restoring brings everything back": GIVEN_UP,
    "a snapshot stays what it was": GIVEN_UP,
    "code that is restored is executed": GIVEN_UP,
    "the hosts stepping is restored": GIVEN_UP,
    "the hosts breakpoints are restored": GIVEN_UP,
}
"""Checks that a recording cannot answer, and why."""


class Saving(Recorded):
    """Writes its recording to a file when it is closed."""

    def __init__(self, ram: int, file: Path) -> None:
        super().__init__(open_engine("unicorn", ram))
        self._file = file

    def close(self) -> None:
        kept = self.kept()
        super().close()
        if not self._file.exists():
            columns, begin = recording.put(kept)
            recording_file.save(self._file, Contents({"begin": begin}, columns, {}))


def asked(factory: Callable[[int], Engine]) -> ContractReport:
    """In another thread: nothing in a replay waits for the SIGINT that the main thread gets."""
    reports: list[ContractReport] = []
    thread = threading.Thread(target=lambda: reports.append(check_engine(factory)))
    thread.start()
    thread.join()
    return reports[0]


@pytest.mark.filterwarnings(  # a run in another thread may be one that is not in the recording
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
def test_a_replay_of_every_check_keeps_the_contract(tmp_path: Path) -> None:
    opened: list[int] = []

    def record(ram: int) -> Engine:
        opened.append(ram)
        return Saving(ram, tmp_path / f"{len(opened)}.kvmdbg")

    def again(ram: int) -> Engine:
        again_opened.append(ram)
        file = tmp_path / f"{len(again_opened)}.kvmdbg"
        facts, columns, _ = recording_file.load(file, _SHAPE)
        _, way = recording.take(columns, facts["begin"], ram)
        return ReplayEngine(open_engine("unicorn", ram), way)

    again_opened: list[int] = []
    first = asked(record)
    first.raise_if_broken()
    report = asked(again)
    assert opened == again_opened
    assert {result.name for result in report.broken} <= UNANSWERED.keys(), report
    held = [result for result in report.results if result.outcome is Outcome.HELD]
    assert len(held) > 140
    assert report.engine == "replay"


# Following


def test_the_same_calls_get_the_same_answers(recorded: Recorded) -> None:
    def live(engine: Engine) -> list[object]:
        boot(engine, b"\xe4\x60\x90\x90\x90\xf4")  # in al,60h; nop...; hlt
        answers: list[object] = [engine.run()]
        engine.complete_io(b"\x5a")
        engine.set_guest_debug(E | S)
        answers += [engine.run() for _ in range(3)]
        engine.set_guest_debug(0)
        answers += [engine.run(1), engine.run(), engine.get_regs(), engine.clock, engine.now]
        return answers

    answers = live(recorded)
    with closing(replay(recorded)) as engine:
        assert live(engine) == answers
    assert answers[0] == IoExit("in", 0x60, 1, b"\0")
    assert isinstance(answers[1], DebugExit)
    assert HltExit() in answers


def test_a_vm_on_a_replay_does_the_same_work_again() -> None:
    program = assemble("mov ecx, 3\nl: mov al, 65\nout 0xe9, al\ndec ecx\njnz l\nhlt")

    def live(vm: Vm) -> tuple[object, ...]:
        vm.write(CODE, program.code)
        vm.bp(program.symbols["l"])
        stops = [vm.cont().cause, vm.step(2).cause, vm.cont().cause]
        return *stops, vm.console, vm.regs(), vm.memory[:]

    with Vm(ram=RAM) as vm:
        was = live(vm)
        kept = vm.vcpu.kept()  # type: ignore[attr-defined]  # it is recorded
        columns, begin = recording.put(kept)
    _, way = recording.take(columns, begin, RAM)
    with Vm(ram=RAM, engine=lambda ram: ReplayEngine(open_engine("unicorn", ram), way)) as vm:
        assert vm.engine_name == "replay"
        assert live(vm) == was


def test_the_guest_may_be_looked_at_inside_a_recorded_run(recorded: Recorded) -> None:
    boot(recorded, b"\x90" * 100 + b"\xf4")
    recorded.run()
    with closing(replay(recorded)) as engine:
        boot(engine, b"\x90" * 100 + b"\xf4")
        for clock in (1, 50, 99):
            assert engine.run(clock - engine.clock) == IntrExit("budget")
            assert engine.get_regs().rip == CODE + clock
        assert engine.run() == HltExit()


def test_runs_that_were_ended_from_outside_end_where_they_did(recorded: Recorded) -> None:
    boot(recorded, b"\xeb\xfe")
    assert recorded.run(timeout=0.12) == IntrExit("timeout")
    clock = recorded.clock
    assert recorded.run(timeout=0.01) == IntrExit("timeout")
    with closing(replay(recorded)) as engine:
        boot(engine, b"\xeb\xfe")
        assert engine.run(timeout=0.001) == IntrExit("timeout")
        assert engine.clock == clock
        assert engine.run() == IntrExit("timeout")


def test_a_stop_that_is_asked_for_ends_a_replayed_run(recorded: Recorded) -> None:
    boot(recorded, b"\x90\xf4")
    recorded.run()
    with closing(replay(recorded)) as engine:
        boot(engine, b"\x90\xf4")
        engine.request_stop()
        assert engine.run() == IntrExit("request")
        assert engine.run() == HltExit()


def test_a_snapshot_knows_its_place(recorded: Recorded) -> None:
    boot(recorded, b"\x90\x90\xf4")
    recorded.run(1)
    recorded.set_regs(recorded.get_regs()._replace(rax=5))
    recorded.run()
    with closing(replay(recorded)) as engine:
        boot(engine, b"\x90\x90\xf4")
        engine.run(1)
        snapshot = engine.snapshot()
        for _ in range(2):
            engine.set_regs(engine.get_regs()._replace(rax=5))
            assert engine.run() == HltExit()
            engine.restore(snapshot)
            assert (engine.clock, engine.get_regs().rax) == (1, 0)
        with pytest.raises(BadInput, match="another engine or of another recording"):
            engine.restore(object())


def test_an_irqchip_is_part_of_the_way(recorded: Recorded) -> None:
    boot(recorded, b"\xf4")
    recorded.create_irqchip()
    recorded.irq_line(1, True)
    with closing(replay(recorded)) as engine:
        boot(engine, b"\xf4")
        assert engine.irqchip is None
        engine.create_irqchip()
        assert engine.irqchip is not None
        engine.irq_line(1, True)


def test_what_is_tried_on_a_replay_is_put_back(recorded: Recorded) -> None:
    boot(recorded, b"\x90\xf4")
    recorded.run()
    with closing(replay(recorded)) as engine:
        boot(engine, b"\x90\xf4")
        with trial(engine):
            engine.write_memory(CODE, b"\xf4")
            engine.nmi()
            engine.set_guest_debug(E | S)
            engine.run(1)
        assert engine.run() == HltExit()
        assert engine.clock == 2


# Refusing


@pytest.fixture
def short(recorded: Recorded) -> Iterator[ReplayEngine]:
    """Booted; the recording goes on with a run."""
    boot(recorded, b"\x90\x90\xf4")
    recorded.run()
    engine = replay(recorded)
    boot(engine, b"\x90\x90\xf4")
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("write_memory()", lambda e: e.write_memory(0x9000, b"x")),
        ("set_regs()", lambda e: e.set_regs(e.get_regs())),
        ("set_sregs()", lambda e: e.set_sregs(e.get_sregs())),
        ("set_debugregs()", lambda e: e.set_debugregs(DebugRegs((1, 2, 3, 4)))),
        ("set_guest_debug()", lambda e: e.set_guest_debug(E | S)),
        ("nmi()", lambda e: e.nmi()),
        ("interrupt()", lambda e: e.interrupt(0x20)),
        ("create_irqchip()", lambda e: e.create_irqchip()),
        ("run(0)", lambda e: e.run(0)),
    ],
)
def test_a_call_that_departs_is_refused_and_nothing_happens(
    short: ReplayEngine, what: str, call: Callable[[Engine], None]
) -> None:
    before = recording.digest(short)
    with pytest.raises(NotRecorded) as refused:
        call(short)
    assert str(refused.value) == (
        f"{what} is not in the recording, which goes on with run() at clock 0; "
        "this is a replay and goes nowhere else"
    )
    assert recording.digest(short) == before
    assert short.run() == HltExit()


def test_at_the_end_of_the_recording_that_is_said(short: ReplayEngine) -> None:
    short.run()
    for call, what in ((short.run, "run()"), (short.nmi, "nmi()")):
        with pytest.raises(NotRecorded) as refused:
            call()
        assert str(refused.value).startswith(f"the recording ends here, at clock 3: no {what}; ")


def test_calls_that_change_nothing_may_be_made(short: ReplayEngine) -> None:
    short.set_guest_debug(0)
    short.watch_vectors({3})
    short.watch_vectors(())
    assert short.run() == HltExit()


def test_a_run_with_other_vectors_watched_departs(short: ReplayEngine) -> None:
    short.watch_vectors({6})
    with pytest.raises(NotRecorded, match="with other vectors watched"):
        short.run()


def test_what_the_machine_would_not_take_is_refused_in_its_own_words(short: ReplayEngine) -> None:
    with pytest.raises(IoctlError, match="EINVAL"):
        short.set_debugregs(DebugRegs(flags=1))
    with pytest.raises(AddressError):
        short.write_memory(RAM, b"x")
    assert short.run() == HltExit()


@pytest.mark.parametrize("after", [2, 4])
def test_a_guest_that_goes_another_way_is_a_broken_engine(after: int) -> None:
    way = Journal()
    with closing(Recorded(open_engine("unicorn", RAM))) as recorded:
        boot(recorded, b"\x90\x90\xf4")
        for index in range(len(recorded.journal)):
            entry = recorded.journal[index]
            way.add(entry.call, entry.arguments, 0)
    way.add("run", (None,), after)
    with closing(ReplayEngine(open_engine("unicorn", RAM), way)) as engine:
        boot(engine, b"\x90\x90\xf4")
        with pytest.raises(EngineBroken, match=f"3 instead of {after}"):
            engine.run()


def test_a_guest_that_never_comes_back_is_left() -> None:
    way = Journal()
    with closing(Recorded(open_engine("unicorn", RAM))) as recorded:
        boot(recorded, b"\xeb\xfe")
        for index in range(len(recorded.journal)):
            entry = recorded.journal[index]
            way.add(entry.call, entry.arguments, 0)
    way.add("run", (None,), 5)
    with closing(ReplayEngine(open_engine("unicorn", RAM), way)) as engine:
        boot(engine, b"\xeb\xfe")
        with pytest.raises(EngineBroken, match="instead of 5"):
            engine.run()
