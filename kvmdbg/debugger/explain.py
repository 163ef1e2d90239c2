"""``%vm why``: an exception, a double or a triple fault as a chain of evidence.

Pure over a :class:`~.evidence.Scene`: the delivery is computed once more on the present tables, and
each of its steps is shown with what it looked at. Must not know: engines, or how anything looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..x86.decode import Instruction
from ..x86.delivery import Delivered, Event, EventKind, Part, Step, TripleFault, deliver
from ..x86.registers import RFLAGS, Regs, Segment, linear_pc
from ..x86.vectors import CONTRIBUTORY, HAS_ERROR_CODE, TITLES, Vector
from ..x86.vectors import name as vector_name
from . import evidence, raising
from .evidence import Evidence, Scene

ONLY = "%vm why explains an exception, a double or a triple fault"
SHUTDOWN = "triple fault: shutdown"
_SOFTWARE = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION)


@dataclass(frozen=True)
class ExplainedStep:
    """One exception on the way: what was raised, what was looked at, and what came of it."""

    title: str
    vector: int
    error_code: int | None
    evidence: tuple[Evidence, ...]
    outcome: str

    def __str__(self) -> str:
        return "\n".join(
            [self.title, *(f"  {item}" for item in self.evidence), f"  {self.outcome}"]
        )

    @property
    def wrong(self) -> tuple[Evidence, ...]:
        """What was found to be wrong."""
        return tuple(item for item in self.evidence if item.wrong)


@dataclass(frozen=True)
class Explanation:
    """Why the guest stands where it stands; without ``steps`` there was nothing to explain."""

    title: str
    steps: tuple[ExplainedStep, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.title, *map(str, self.steps)])


def nothing(last: str) -> Explanation:
    """No fault to explain; ``last`` is what happened instead."""
    return Explanation(f"nothing to explain: {last}; {ONLY}")


def explain(scene: Scene, event: Event) -> Explanation:
    """The delivery of ``event``, which the instruction at CS:RIP raises (or just raised)."""
    ins = scene.code(_pc(scene))
    outcome = deliver(event, pushing(scene, event, ins), scene.sregs, scene.read)
    steps = tuple(_steps(scene, event, ins, outcome))
    return Explanation(_title(scene, event, ins, outcome), steps)


def unexplained(scene: Scene) -> Explanation:
    """A shutdown that the instruction at hand does not raise: at least #DF could not be delivered.

    An interrupt, an NMI or an injected exception leaves no trace in the registers.
    """
    outcome = deliver(Event(Vector.DF, EventKind.FAULT, 0), scene.regs, scene.sregs, scene.read)
    title = (
        f"{SHUTDOWN} at {scene.place(_pc(scene))}: the instruction there raises nothing, so the"
        " first event was an interrupt, an NMI or a trap; what can be seen is the last one"
    )
    if not isinstance(outcome, TripleFault):
        return Explanation(
            title + ", and #DF could be delivered now: the tables were changed since"
        )
    return Explanation(title, tuple(_steps(scene, None, None, outcome)))


def _pc(scene: Scene) -> int:
    return linear_pc(scene.regs.rip, scene.sregs)


def pushing(scene: Scene, event: Event, ins: Instruction | None) -> Regs:
    """The registers of a delivery: INT n pushes the address behind it."""
    if event.kind not in _SOFTWARE or ins is None:
        return scene.regs
    return scene.regs._replace(rip=scene.regs.rip + ins.size)


# The sentence


def _title(
    scene: Scene, event: Event, ins: Instruction | None, outcome: Delivered | TripleFault
) -> str:
    trail, pc = outcome.trail, _pc(scene)
    text = "an instruction that cannot be read" if ins is None else ins.text
    names = [_name(event), *(vector_name(step.vector) for step in trail[1:])]
    first = f"{names[0]} {_when(event)} {scene.place(pc)}: {text}"
    if isinstance(outcome, TripleFault):
        return " -> ".join([f"{first}; {_short(scene, trail[0])}", *names[1:], SHUTDOWN])
    if len(trail) == 1:
        return f"{first}; {_name(event)} has a handler, {_handler(scene, outcome)}"
    chain = " -> ".join([f"{first}; {_short(scene, trail[0])}", *names[1:]])
    return f"{chain}, whose handler is {_handler(scene, outcome)}"


def _when(event: Event) -> str:
    """A fault is the instruction's own; traps and interrupts come before the next one."""
    own = event.kind is EventKind.FAULT or event.kind in _SOFTWARE
    return "at" if own else "before"


def _name(event: Event) -> str:
    return f"INT {event.vector:02X}h" if event.kind in _SOFTWARE else vector_name(event.vector)


def _short(scene: Scene, step: Step) -> str:
    """Why the first event was refused, in a few words."""
    entry = evidence.gate_place(scene, step.vector)[0]
    if step.part is Part.GATE and "empty" in step.problem:
        return f"no handler in {entry}"
    return f"{entry}: {step.problem}" if step.part is Part.GATE else step.problem


def _handler(scene: Scene, outcome: Delivered) -> str:
    return scene.place(linear_pc(outcome.regs.rip, outcome.sregs))


# The steps


def _steps(
    scene: Scene, event: Event | None, ins: Instruction | None, outcome: Delivered | TripleFault
) -> Iterator[ExplainedStep]:
    trail = outcome.trail
    for number, step in enumerate(trail):
        first = event if number == 0 else None
        before = trail[number - 1].fault if number else None
        found = [*_raised(scene, step, first, before, ins), *_entering(scene, step)]
        if step.fault is None and isinstance(outcome, Delivered):
            found += _frame(scene, step, outcome)
            came = f"delivered: the guest goes on in {_handler(scene, outcome)}"
        else:
            following = trail[number + 1].vector if number + 1 < len(trail) else None
            came = _came(step, following)
        name = _name(first) if first else vector_name(step.vector)
        title = _step_title(name, step, first is None, None if scene.real else step.error_code)
        yield ExplainedStep(title, step.vector, step.error_code, tuple(found), came)


def _step_title(name: str, step: Step, nested: bool, error_code: int | None) -> str:
    own = name == vector_name(step.vector) and step.vector in TITLES
    what = f" ({TITLES[step.vector]})" if own else ""
    code = "" if error_code is None else f", error code {error_code:#x}"
    return f"{name}{what}{code}{', raised by the delivery' if nested else ''}"


def _came(step: Step, following: int | None) -> str:
    """What the processor raises instead, and which rule makes it that (SDM vol. 3, table 6-5)."""
    fault = step.fault
    if fault is None:
        return ""
    code = "" if fault.error_code is None else f"({fault.error_code:#x})"
    raised = f"not delivered: {step.problem}; that raises {vector_name(fault.vector)}{code}"
    if following is None:
        return f"{raised}; a fault while #DF is delivered shuts the processor down"
    if following != fault.vector:
        return f"{raised}; {_two(step.vector)} and {_two(fault.vector)} together are #DF"
    return raised


def _two(vector: int) -> str:
    kind = "contributory " if vector in CONTRIBUTORY else ""
    return f"the {kind}{vector_name(vector)}"


def _raised(
    scene: Scene, step: Step, first: Event | None, before: Event | None, ins: Instruction | None
) -> Iterator[Evidence]:
    """What raised this: the instruction, or the delivery before; with the walk of a #PF."""
    if first is not None and ins is not None:
        what = "instruction" if _when(first) == "at" else "next"
        yield Evidence(what, ins.address, ins.raw, ins.text)
    if first is not None and first.kind is EventKind.TRAP and scene.regs.rflags & RFLAGS.TF:
        words = f"{scene.regs.rflags:#x}: TF=1, a trap after each instruction"
        yield Evidence("RFLAGS", None, b"", words)
    cr2 = first.cr2 if first else before.cr2 if before else None
    if step.vector == Vector.PF and cr2 is not None:
        code = step.error_code or 0
        yield Evidence("error code", None, b"", evidence.page_fault_words(code))
        yield Evidence("CR2", None, b"", f"{cr2:#x}: the linear address that faulted")
        yield from evidence.page_walk(scene, cr2, code)
    elif step.error_code and step.vector in HAS_ERROR_CODE:
        yield Evidence("error code", None, b"", evidence.error_code_words(step.error_code))
    if first is not None and ins is not None and first.kind is EventKind.FAULT:
        yield from raising.why(scene, ins, step.vector, step.error_code)


def _entering(scene: Scene, step: Step) -> Iterator[Evidence]:
    """Gate, code segment and stack, as far as the delivery came."""
    yield evidence.gate(scene, step.vector, _wrong(step, Part.GATE))
    if step.part is not Part.GATE and not scene.real:
        gate = evidence.read_gate(scene, step.vector)
        if gate is not None:
            segment, found = evidence.read_descriptor(scene, gate.selector)
            yield found._replace(wrong=_wrong(step, Part.CODE))
            if segment is not None and step.part is not Part.CODE:
                yield from _stack(scene, step, segment, gate.ist)
    if step.part is Part.ENTRY:
        yield Evidence("entry point", None, b"", "the gate's offset", step.problem)
    if scene.real and step.part is Part.STACK:
        yield Evidence("stack", None, b"", f"SS:SP, SP={scene.regs.rsp & 0xFFFF:#x}", step.problem)
    fault = step.fault
    if fault is not None and fault.vector == Vector.PF and fault.cr2 is not None:
        yield from evidence.page_walk(scene, fault.cr2, fault.error_code or 0)


def _wrong(step: Step, part: Part) -> str:
    return step.problem if step.part is part else ""


def _stack(scene: Scene, step: Step, code: Segment, ist: int) -> Iterator[Evidence]:
    """Which stack the handler gets (SDM vol. 3, 6.12.1, 6.14.5); its TSS field if it is another."""
    wrong, v86 = _wrong(step, Part.STACK), bool(scene.regs.rflags & RFLAGS.VM)
    cpl = 3 if v86 else scene.sregs.ss.dpl
    inner = not code.type & 4 and code.dpl < cpl
    if not (inner or (scene.long and ist)):
        if wrong:
            yield Evidence("stack", None, b"", f"the present one, RSP={scene.regs.rsp:#x}", wrong)
        return
    tr = scene.sregs.tr
    words = evidence.segment_fields(tr) + (", unusable" if tr.unusable else "")
    bad_tss = "TSS's limit" in wrong or wrong.startswith("TR ")
    what = f"TR {tr.selector:#06x}"
    yield Evidence(what, None, b"", words, wrong if bad_tss else "")
    yield from _tss_field(scene, code.dpl, ist, "" if bad_tss else wrong)


def _tss_field(scene: Scene, level: int, ist: int, wrong: str) -> Iterator[Evidence]:
    """The stack pointer in the TSS (SDM vol. 3, 7.2.1, 7.2.2, 7.7)."""
    tr = scene.sregs.tr
    if scene.long:
        name, slot, size = (
            (f"TSS.IST{ist}", ist * 8 + 28, 8) if ist else (f"TSS.RSP{level}", level * 8 + 4, 8)
        )
    elif tr.type & 8:
        name, slot, size = f"TSS.ESP{level}, SS{level}", level * 8 + 4, 6
    else:
        name, slot, size = f"TSS.SP{level}, SS{level}", level * 4 + 2, 4
    raw, unread = scene.load(tr.base + slot, size)
    if slot + size - 1 > tr.limit or not raw:
        words = unread or f"offset {slot:#x} is beyond the TSS's limit {tr.limit:#x}"
        yield Evidence(name, tr.base + slot, b"", words, wrong)
        return
    pointer = int.from_bytes(raw if scene.long else raw[:-2], "little")
    if scene.long:
        yield Evidence(name, tr.base + slot, raw, f"{pointer:#x}", wrong)
        return
    selector = int.from_bytes(raw[-2:], "little")
    yield Evidence(name, tr.base + slot, raw, f"{selector:#06x}:{pointer:#x}", wrong)
    yield evidence.read_descriptor(scene, selector)[1]._replace(wrong="")


def _frame(scene: Scene, step: Step, outcome: Delivered) -> Iterator[Evidence]:
    """What was pushed, lowest address first."""
    gate = evidence.read_gate(scene, step.vector)
    width = frame_width(scene, step.vector)
    pushed = dict(outcome.writes)
    raw = b"".join(pushed[address] for address in sorted(pushed))
    base, offset, _ = evidence.stack(outcome.sregs, outcome.regs.rsp)
    has_code = gate is not None and step.error_code is not None
    yield evidence.frame(base + offset, raw, width, has_code)


def frame_width(scene: Scene, vector: int) -> int:
    """Bytes per item of a vector's frame."""
    gate = evidence.read_gate(scene, vector)
    if scene.real or (not scene.long and gate is not None and gate.is_16bit):
        return 2
    return 8 if scene.long else 4
