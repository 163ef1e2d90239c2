"""``%vm why``: an exception, a double or a triple fault as a chain of evidence.

Pure over a :class:`~.evidence.Scene`: the delivery is computed once more on the present tables, and
each of its steps is shown with what it looked at. Must not know: engines, or how anything looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from ..x86.decode import Instruction
from ..x86.delivery import Delivered, Event, EventKind, Part, Step, TripleFault, deliver
from ..x86.registers import RFLAGS, Regs, linear_pc
from ..x86.vectors import CONTRIBUTORY, HAS_ERROR_CODE, TITLES, Vector
from ..x86.vectors import name as vector_name
from . import evidence, raising
from .evidence import Evidence, Scene
from .examiners import entering, pages
from .examiners.case import UNSEEN

ONLY = "%vm why explains faults"
WIDTH = 100
"""Columns of the text form."""
SHUTDOWN = "triple fault: shutdown"
_SOFTWARE = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION)
_NOT_CHECKED = ("instruction", "error code", "CR2", "the walk", UNSEEN)
_FROM_OUTSIDE = {
    EventKind.NMI: "a non-maskable interrupt",
    EventKind.EXTERNAL: "an external interrupt",
}


@dataclass(frozen=True)
class ExplainedStep:
    """One exception on the way: what was raised, what was looked at, and what came of it."""

    title: str
    vector: int
    error_code: int | None
    evidence: tuple[Evidence, ...]
    outcome: str
    cause: str = ""
    """What raised it, in one sentence; what was checked, if nothing of that was wrong."""
    mends: tuple[str, ...] = ()
    """What would have helped: against the exception, and against its not being delivered."""

    def __str__(self) -> str:
        items = [f"because {self.cause}"] if self.cause else []
        items += [*map(str, self.evidence), self.outcome, *(f"to mend: {m}" for m in self.mends)]
        return "\n".join([folded(self.title), *(folded(item, 2) for item in items)])

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
        return "\n".join([folded(self.title), *map(str, self.steps)])


def folded(text: str, indent: int = 0) -> str:
    """``text`` in lines of at most ``WIDTH`` columns; all but the first are indented further."""
    first, more = " " * indent, " " * (indent + 4)
    lines = wrap(text, WIDTH, initial_indent=first, subsequent_indent=more, break_on_hyphens=False)
    return "\n".join(lines)


def nothing(last: str) -> Explanation:
    """No fault to explain; ``last`` is what happened instead."""
    return Explanation(f"nothing to explain: {last}; {ONLY}")


def explain(scene: Scene, event: Event) -> Explanation:
    """The delivery of ``event``, which the instruction at CS:RIP raises (or just raised)."""
    ins = scene.code(_pc(scene))
    outcome = deliver(event, pushing(scene, event, ins), scene.sregs, scene.read)
    steps = tuple(_steps(scene, event, ins, outcome))
    return Explanation(_title(scene, event, ins, outcome), steps)


def unexplained(scene: Scene, candidates: str) -> Explanation:
    """A shutdown that the instruction at hand does not raise: at least #DF could not be delivered.

    An interrupt, an NMI or an injected exception leaves no trace in the registers; ``candidates``
    says which of them it can have been.
    """
    outcome = deliver(Event(Vector.DF, EventKind.FAULT, 0), scene.regs, scene.sregs, scene.read)
    title = (
        f"{SHUTDOWN} at {scene.place(_pc(scene))}: the instruction there raises nothing, so the"
        f" first event was {candidates}; what can be seen is the last one"
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
    return vector_name(event.vector, event.kind in _SOFTWARE)


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
    trail, cause = outcome.trail, ""
    for number, step in enumerate(trail):
        first = event if number == 0 else None
        before = trail[number - 1].fault if number else None
        raised = tuple(_raised(scene, step, first, before, ins))
        entering = tuple(_entering(scene, step, outcome))
        if first is not None:
            cause = _cause(first, raised)
        name = _name(first) if first else vector_name(step.vector)
        title = _step_title(name, step, first is None, None if scene.real else step.error_code)
        came = _result(scene, outcome, number)
        mends = _mends(raised, entering)
        found = (*raised, *entering)
        yield ExplainedStep(title, step.vector, step.error_code, found, came, cause, mends)
        cause = _refused(step, entering)


def _entering(scene: Scene, step: Step, outcome: Delivered | TripleFault) -> Iterator[Evidence]:
    yield from entering.examine(scene, step)
    if step.fault is None and isinstance(outcome, Delivered):
        yield entering.frame(scene, step, outcome)


def _result(scene: Scene, outcome: Delivered | TripleFault, number: int) -> str:
    step, trail = outcome.trail[number], outcome.trail
    if step.fault is None and isinstance(outcome, Delivered):
        return f"delivered: the guest goes on in {_handler(scene, outcome)}"
    return _came(step, trail[number + 1].vector if number + 1 < len(trail) else None)


def _cause(event: Event, raised: tuple[Evidence, ...]) -> str:
    """Why the first event came, as far as that is proved."""
    wrong = [item.sentence for item in raised if item.wrong]
    if wrong:
        return "; ".join(wrong)
    if event.kind in _SOFTWARE:
        return "the instruction asks for it"
    if event.kind in _FROM_OUTSIDE:
        return f"it came from outside: {_FROM_OUTSIDE[event.kind]}"
    if event.kind is EventKind.TRAP:
        return "it is a trap, met after the instruction before"
    looked = dict.fromkeys(item.what for item in raised if item.what not in _NOT_CHECKED)
    if not looked:
        return "the cause is not proved: nothing that can be seen here says more"
    return f"the cause is not proved: nothing wrong was found in {', '.join(looked)}"


def _refused(step: Step, looked: tuple[Evidence, ...]) -> str:
    """Why the delivery of ``step`` raised the next one."""
    wrong = [item.sentence for item in looked if item.wrong]
    return f"{vector_name(step.vector)} could not be delivered: {'; '.join(wrong) or step.problem}"


def _mends(*looked: tuple[Evidence, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.mend for part in looked for item in part if item.mend))


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
        yield Evidence("error code", None, b"", pages.fault_words(code))
        yield Evidence("CR2", None, b"", f"{cr2:#x}: the linear address that faulted")
        yield from pages.page_walk(scene, cr2, code)
    elif step.error_code and step.vector in HAS_ERROR_CODE:
        yield Evidence("error code", None, b"", evidence.error_code_words(step.error_code))
    if first is not None and _is_examined(first):
        yield from raising.why(scene, ins, step.vector, step.error_code)


def _is_examined(event: Event) -> bool:
    """The instruction itself has reasons; #OF is INTO's."""
    return event.kind is EventKind.FAULT or event.vector == Vector.OF
