"""Sessions in one process: what a student's function does to a VM, handed in and made again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kvmdbg import assemble
from kvmdbg.errors import BadInput
from kvmdbg.lab import Lab
from kvmdbg.lab.answers import MIME, given, received, sent
from kvmdbg.lab.driving import Line
from kvmdbg.lab.sessions import Call, Session, SessionVm

GUEST = """
start: mov cx, 3
again: add ax, cx
       loop again
       mov al, 'k'
       out 0xe9, al
       hlt
"""
PROGRAM = assemble(GUEST, mode="real")
ENABLE, STEP, SW = 1, 2, 0x10000


def stepping(vm: Line) -> list[tuple[str, int]]:
    """INT3 at a label, taken away for one step each time."""
    byte, hits = vm.read("again", 1), []
    vm.write("again", b"\xcc")
    vm.debug(ENABLE | SW)
    while (exit := vm.enter()).reason.name != "HLT":
        if exit.reason.name == "DEBUG":
            hits.append((vm.label(vm.regs().rip), vm.regs().rcx))
            vm.write("again", byte)
            vm.debug(ENABLE | STEP)
            vm.enter()
            vm.write("again", b"\xcc")
            vm.debug(ENABLE | SW)
    vm.write("again", byte)
    return hits


@pytest.fixture
def lab() -> Iterator[Lab]:
    one = Lab("sessions", seed="ada")
    yield one
    one.close()


def over(session: Any) -> Any:
    """A session as it arrives at the grader."""
    names: dict[str, Any] = {}
    text = sent({"session": session}, ["session"])._repr_mimebundle_()[MIME]
    given(names, received(text, ["session"]))
    return names["session"]


def played(lab: Lab, debugger: Callable[[Line], Any], **limits: Any) -> SessionVm:
    """What the grader gets to see of a function."""
    session = over(lab.session(PROGRAM, debugger, **limits))
    return lab.task("replayed", points=1).replay(session, PROGRAM)


def as_json(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        sent({"session": session}, ["session"])._repr_mimebundle_()[MIME]
    )
    return found


# -- What goes over --------------------------------------------------------------------------------


def test_a_session_arrives_as_it_was(lab: Lab) -> None:
    session = lab.session(PROGRAM, stepping)
    assert over(session) == session
    assert len(session.calls) == 23


def test_what_the_function_returned_arrives_as_data(lab: Lab) -> None:
    assert lab.session(PROGRAM, stepping).result == [["again", 3], ["again", 2], ["again", 1]]


def test_made_again_its_calls_give_the_same_exits(lab: Lab) -> None:
    reasons = [row.reason.name for row in played(lab, stepping).timeline]
    assert reasons == ["DEBUG"] * 6 + ["IO", "HLT"]


HOLDS: list[Any] = [
    lambda c: c.exits(cause="INT3", pc="again") == 3,
    lambda c: c.exits(cause="step", pc="again+2") == 3,
    lambda c: c.order("debug", "io", "hlt"),
    lambda c: c.ends("HLT"),
    lambda c: c.calls("write", where="again", data=b"\xcc") == 4,
    lambda c: c.calls("debug", control=lambda control: control & STEP) == 3,
    lambda c: c.calls("set_regs") == 0,
    lambda c: c.console == "k",
    lambda c: c.memory("again", 2) == PROGRAM.code[3:5],
    lambda c: c.reg("cx") == 0,
    lambda c: c.times("again+2") == 3,
]


@pytest.mark.parametrize("ask", HOLDS)
def test_what_holds_of_a_session_passes(lab: Lab, ask: Any) -> None:
    assert ask(lab.task("one", points=1).check(played(lab, stepping)))


FAILS: list[Any] = [
    lambda c: c.ends("SHUTDOWN"),
    lambda c: c.calls("write", data=b"\x90") == 1,
    lambda c: c.exits(cause="INT3") == 2,
]


@pytest.mark.parametrize("ask", FAILS)
def test_what_does_not_hold_of_a_session_fails(lab: Lab, ask: Any) -> None:
    assert not ask(lab.task("one", points=1).check(played(lab, stepping)))


def test_only_a_session_has_calls(lab: Lab) -> None:
    task = lab.task("one", points=1)
    with pytest.raises(BadInput, match="only a session"):
        task.check(task.run(PROGRAM)).calls("write")


def test_a_call_that_there_is_not_is_named(lab: Lab) -> None:
    with pytest.raises(BadInput, match="no such calls"):
        lab.task("one", points=1).check(played(lab, stepping)).calls("poke")


def test_a_labs_vms_follow_its_profile() -> None:
    flags = assemble("pushf\npop bx\nhlt", mode="real")

    def step(vm: Line) -> int:
        vm.debug(ENABLE | STEP)
        vm.enter()
        vm.enter()
        return vm.regs().rbx & 0x100

    assert [
        Lab("profiles", profile=name).session(flags, step).result for name in (None, "vmx")
    ] == [0, 0x100]


# -- What a function does wrong --------------------------------------------------------------------


def raises(vm: Line) -> None:
    vm.enter()
    raise ZeroDivisionError("why")


def asks_too_much(vm: Line) -> None:
    vm.reset()


def writes_outside(vm: Line) -> None:
    vm.write(1 << 24, b"x")


def writes_much(vm: Line) -> None:
    for _ in range(10):
        vm.write(0x1000, bytes(1 << 16))


def returns_no_data(vm: Line) -> object:
    return vm


def never_moves(vm: Line) -> None:
    vm.write("again", b"\xcc")
    vm.debug(ENABLE | SW)
    while True:
        vm.enter()


def swallows_all(vm: Line) -> None:
    for _ in range(6000):
        try:
            vm.debug(0)
        except Exception:
            continue


PROBLEMS: list[Any] = [
    (raises, r"line \d+ of the cell: ZeroDivisionError: why"),
    (asks_too_much, r"line \d+ of the cell: UnknownName: a session has no vm.reset"),
    (writes_outside, r"line \d+ of the cell: AddressError"),
    (writes_much, "it wrote more than 256 KiB"),
    (returns_no_data, "Line is no data"),
    (never_moves, "its 5,000 calls were used up"),
    (swallows_all, "its 5,000 calls were used up"),
]


@pytest.mark.parametrize(
    ("debugger", "words"), PROBLEMS, ids=lambda one: getattr(one, "__name__", "")
)
def test_what_a_function_does_wrong_is_one_sentence_and_passes_no_check(
    lab: Lab, debugger: Any, words: str
) -> None:
    session = lab.session(PROGRAM, debugger)
    assert re.search(words, session.problem)
    assert "\n" not in session.problem
    assert session.problem in repr(session)
    item = lab.task("one", points=1).check(played(lab, debugger)).exits() >= 0
    assert (item.passed, session.problem in item.message) == (False, True)


def test_a_guest_that_never_ends_uses_up_the_sessions_instructions(lab: Lab) -> None:
    spin = assemble("jmp $", mode="real")
    session = lab.session(spin, lambda vm: vm.enter(), instructions=1000)
    assert session.problem == "its budget of 1,000 instructions was used up"


def test_many_short_entries_use_up_the_same_instructions(lab: Lab) -> None:
    spin = assemble("jmp $", mode="real")

    def slices(vm: Line) -> None:
        while True:
            vm.enter(300)

    session = lab.session(spin, slices, instructions=1000)
    assert session.problem == "its budget of 1,000 instructions was used up"
    assert len(session.calls) == 4


def test_a_session_has_a_limit_of_seconds(lab: Lab) -> None:
    session = lab.session(PROGRAM, stepping, seconds=0)
    assert session.problem == "its 0 seconds were over"


def test_a_line_that_was_kept_makes_no_call_any_more(lab: Lab) -> None:
    kept: list[Line] = []
    lab.session(PROGRAM, kept.append)
    with pytest.raises(Exception, match="the session is over"):
        kept[0].debug(0)


def test_a_session_takes_a_function(lab: Lab) -> None:
    with pytest.raises(BadInput, match="takes a function"):
        lab.session(PROGRAM, ...)  # type: ignore[arg-type]  # a student's placeholder


# -- What is handed in by a cheat ------------------------------------------------------------------


def test_a_session_that_stops_in_the_middle_of_a_run_passes_nothing(lab: Lab) -> None:
    vm = played(lab, lambda vm: [vm.enter(2)][:0])
    item = lab.task("one", points=1).check(vm).exits() == 1
    assert "in the middle of a run" in item.message


def test_a_session_of_another_program_is_refused(lab: Lab) -> None:
    other = assemble(GUEST.replace("cx, 3", "cx, 4"), mode="real")
    session = over(lab.session(other, stepping))
    with pytest.raises(BadInput, match="another program"):
        lab.task("one", points=1).replay(session, PROGRAM)


EDITS: list[Callable[[tuple[Call, ...]], tuple[Call, ...]]] = [
    lambda calls: calls[:-1],
    lambda calls: (*calls[:-1], Call("write", {"where": 0x8003, "data": b"\x90"})),
    lambda calls: (),
    lambda calls: (*calls, Call("set_regs", {"rax": 5})),
    lambda calls: (Call("write", {"where": 1 << 24, "data": b"x"}), *calls),
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_session_with_other_calls_is_refused(lab: Lab, edit: Any) -> None:
    session = lab.session(PROGRAM, stepping)
    edited = over(replace(session, calls=edit(session.calls)))
    with pytest.raises(BadInput, match="edited"):
        lab.task("one", points=1).replay(edited, PROGRAM)


def test_a_session_without_its_problem_still_passes_nothing(lab: Lab) -> None:
    spin = assemble("jmp $", mode="real")
    session = lab.session(spin, lambda vm: vm.enter(), instructions=1000)
    task = lab.task("one", points=1)
    vm = task.replay(over(replace(session, problem="")), spin)
    assert not (task.check(vm).exits() == 1).passed


def test_a_replay_has_the_lecturers_budget(lab: Lab) -> None:
    task = lab.task("one", points=1)
    vm = task.replay(lab.session(PROGRAM, stepping), PROGRAM, instructions=5)
    assert "its budget of 5 instructions" in (task.check(vm).ends("HLT")).message


@pytest.mark.parametrize("answer", [..., 5, "session", None])
def test_what_is_no_session_is_one_line(lab: Lab, answer: Any) -> None:
    with pytest.raises(BadInput, match="there is no session yet"):
        lab.task("one", points=1).replay(answer, PROGRAM)


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    lambda session: session.pop("state"),
    lambda session: session.update(problem=5),
    lambda session: session.update(problem="x" * 3000),
    lambda session: session.update(calls="enter"),
    lambda session: session.update(calls=[["enter"]]),
    lambda session: session.update(calls=[["enter", {}]]),
    lambda session: session.update(calls=[["enter", {"max_instructions": -1}]]),
    lambda session: session.update(calls=[["enter", {"max_instructions": True}]]),
    lambda session: session.update(calls=[["enter", {"max_instructions": 1, "seconds": 1}]]),
    lambda session: session.update(calls=[["close", {}]]),
    lambda session: session.update(calls=[["write", {"where": 0, "data": "no"}]]),
    lambda session: session.update(calls=[["write", {"where": 0, "data": "00" * (1 << 19)}]]),
    lambda session: session.update(calls=[["debug", {"control": 1 << 32, "debugreg": [0] * 8}]]),
    lambda session: session.update(calls=[["debug", {"control": 1, "debugreg": [0] * 9}]]),
    lambda session: session.update(calls=[["set_regs", {"rax": 0.5}]]),
    lambda session: session.update(calls=[["set_regs", {"cr0": 1}]]),
    lambda session: session.update(calls=[["debug", {"control": 0, "debugreg": [0] * 8}]] * 5001),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_session_is_refused_as_no_data(lab: Lab, damage: Any) -> None:
    content = as_json(lab.session(PROGRAM, stepping))
    damage(content["session"]["session"])
    with pytest.raises(BadInput, match="no data that kvmdbg has written"):
        received(json.dumps(content), ["session"])


def test_a_truncated_session_is_refused(lab: Lab) -> None:
    text = json.dumps(as_json(lab.session(PROGRAM, stepping)))
    with pytest.raises(BadInput, match="no data that kvmdbg has written"):
        received(text[:-20], ["session"])
