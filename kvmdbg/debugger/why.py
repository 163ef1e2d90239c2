"""What there is to explain at a stop: a pending vector, a triple fault, or a handler just entered.

A handler's frame is believed only if the delivery, computed once more, leads exactly there. Must
not know: how the guest is run, how an explanation looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from ..exits import ExceptionExit, Exit, ShutdownExit
from ..x86.debugreg import DR6_B, DR6_BD, DR6_BS
from ..x86.delivery import Delivered, Event, EventKind, TripleFault, deliver
from ..x86.registers import MASK64, RFLAGS, Regs, Segment, Sregs, linear_pc
from ..x86.vectors import HAS_ERROR_CODE, Vector
from . import evidence
from .evidence import Scene
from .examiners.entering import frame_width
from .explain import Explanation, explain, nothing, pushing, unexplained
from .guest import Guest
from .handlers import tried_again
from .stop import Stop

_RF, _TF = int(RFLAGS.RF), int(RFLAGS.TF)
_SOFTWARE = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION, EventKind.PRIVILEGED_SOFTWARE)
_INT = 0xCD
_SHORT = {3: b"\xcc", 4: b"\xce"}
"""INT3 and INTO."""


def why(guest: Guest, stop: Stop | None, last: Exit | None) -> Explanation:
    """The explanation of the last stop, or of the exit ``last`` if somebody ran the guest since.

    The caller sets again which vectors the engine watches.
    """
    if last is None:
        return nothing("the guest has not run yet")
    if stop is not None and stop.exit is last:
        scene, dr6 = _scene(guest, stop.regs, stop.sregs), stop.debugregs.dr6
    else:
        engine = guest.engine
        scene = _scene(guest, engine.get_regs(), engine.get_sregs())
        dr6 = engine.get_debugregs().dr6
    found = _explained(guest, scene, last, dr6)
    if found is not None:
        return found
    if stop is None or stop.exit is not last:
        return nothing(f"the last exit was {last!r}")
    return nothing(f"the last stop was at {scene.place(stop.pc)}: {stop.cause}")


def _explained(guest: Guest, scene: Scene, exit: Exit, dr6: int) -> Explanation | None:
    if isinstance(exit, ExceptionExit):
        return explain(scene, _event(scene, exit, scene.sregs.cr2))
    if isinstance(exit, ShutdownExit):
        return _shutdown(guest, scene, dr6)
    found = _entered(guest, scene)
    return None if found is None else explain(*found)


def _scene(guest: Guest, regs: Regs, sregs: Sregs) -> Scene:
    return Scene(regs, sregs, guest.memory.read, guest.place, guest.instruction)


def _event(scene: Scene, exit: ExceptionExit, cr2: int) -> Event:
    """The event that an exit announces."""
    vector = exit.exception
    if exit.software:
        ins = scene.code(exit.pc)
        by_number = ins is not None and ins.opcode == "int"
        kind = EventKind.SOFTWARE if by_number else EventKind.SOFTWARE_EXCEPTION
        return Event(vector, kind, instruction_rip=scene.regs.rip)
    has_code = vector in HAS_ERROR_CODE and not scene.real
    code = exit.error_code if has_code else None
    return Event(vector, EventKind.FAULT, code, cr2 if vector == Vector.PF else None)


def _shutdown(guest: Guest, scene: Scene, dr6: int) -> Explanation:
    """What the engine remembers; else the instruction at which the guest stands is tried again."""
    remembered = _remembered(guest, scene)
    if remembered is not None:
        return explain(scene, remembered)
    exit, cr2 = tried_again(guest, scene.regs, scene.sregs)
    if exit is not None:
        return explain(scene, _event(scene, exit, cr2))
    trap = Event(Vector.DB, EventKind.TRAP)
    traced = scene.regs.rflags & _TF or dr6 & (DR6_B | DR6_BD | DR6_BS)
    if traced and isinstance(deliver(trap, scene.regs, scene.sregs, scene.read), TripleFault):
        return explain(scene, trap)
    return unexplained(scene, _candidates(guest, scene))


def _remembered(guest: Guest, scene: Scene) -> Event | None:
    """The event with which the shutdown began, from an engine that kept its steps."""
    trail = guest.engine.trail
    if not trail or trail[-1].fault is None:
        return None
    first = trail[0]
    rip = scene.regs.rip if first.kind in _SOFTWARE else None
    return Event(first.vector, first.kind, first.error_code, first.cr2, rip)


def _candidates(guest: Guest, scene: Scene) -> str:
    """Which events from outside can have come: an NMI blocks the next one, IF=0 an interrupt."""
    words = ["an exception that the host injected"]
    if guest.engine.get_vcpu_events().nmi_masked:
        words.insert(0, "an NMI (NMIs are blocked now)")
    if scene.regs.rflags & RFLAGS.IF:
        words.insert(0, "an external interrupt (IF is 1)")
    return " or ".join(words)


# Inside a handler


def _entered(guest: Guest, scene: Scene) -> tuple[Scene, Event] | None:
    """The moment before the handler, at whose first instruction the guest stands, and the event.

    None unless exactly one event leads here with exactly this frame.
    """
    found = [pair for vector in _vectors_to(scene) for pair in _before(guest, scene, vector)]
    if len({event.vector for _, event in found}) > 1:
        moment = found[0][0]
        exit, _ = tried_again(guest, moment.regs, moment.sregs)
        raised = None if exit is None else exit.exception
        found = [pair for pair in found if pair[1].vector == raised]
    return found[0] if found else None


def _vectors_to(scene: Scene) -> list[int]:
    """The vectors whose handler begins where the guest stands."""
    size = evidence.gate_place(scene, 0)[2]
    count = min(256, (scene.sregs.idt.limit + 1) // size)
    return [vector for vector in range(count) if _leads_here(scene, vector)]


def _leads_here(scene: Scene, vector: int) -> bool:
    if scene.real:
        _, address, size = evidence.gate_place(scene, vector)
        raw, _ = scene.load(address, size)
        here = (scene.regs.rip & 0xFFFF) | scene.sregs.cs.selector << 16
        return int.from_bytes(raw, "little") == here
    gate = evidence.read_gate(scene, vector)
    return (
        gate is not None
        and bool(gate.present)
        and gate.offset == scene.regs.rip
        and gate.selector & 0xFFFC == scene.sregs.cs.selector & 0xFFFC
    )


def _before(guest: Guest, scene: Scene, vector: int) -> Iterator[tuple[Scene, Event]]:
    """The moments from which this vector leads to the present one."""
    width = frame_width(scene, vector)
    words = _words(scene, width)
    has_code = vector in HAS_ERROR_CODE and not scene.real
    for code in (words[0], None) if has_code and words else (None,):
        frame = words[1:] if code is not None else words
        pushed = 3 * width + (0 if code is None else width)
        moment = _interrupted(guest, scene, frame, width, pushed) if len(frame) > 2 else None
        if moment is None:
            continue
        for before, event in _events(moment, scene, vector, code, has_code):
            if _arrives(before, event, scene):
                yield before, event


def _words(scene: Scene, width: int) -> list[int]:
    """The stack from its top, as far as it can be read, up to a whole frame with an error code."""
    base, offset, mask = evidence.stack(scene.sregs, scene.regs.rsp)
    places = (base + (offset + n * width & mask) for n in range(6))
    found = (scene.load(place, width)[0] for place in places)
    return [int.from_bytes(raw, "little") for raw in takewhile(bool, found)]


def _interrupted(
    guest: Guest, scene: Scene, frame: list[int], width: int, pushed: int
) -> Scene | None:
    """The registers before the frame was pushed: all others are still as they were."""
    rip, cs, flags, sp, ss = (*frame, 0, 0)[:5]
    code, now = _segment(scene, cs, scene.sregs.cs), scene.sregs
    if code is None:
        return None
    inner = not scene.real and cs & 3 > now.cs.selector & 3
    if scene.long or inner:
        stack, rsp = _segment(scene, ss, now.ss), sp
    else:
        _, offset, mask = evidence.stack(now, scene.regs.rsp)
        stack, rsp = now.ss, scene.regs.rsp & ~mask | offset + pushed & mask
    if stack is None:
        return None
    rflags = flags if width > 2 else scene.regs.rflags & ~0xFFFF | flags
    regs = scene.regs._replace(rip=rip, rsp=rsp, rflags=rflags & ~_RF)
    return _scene(guest, regs, now._replace(cs=code, ss=stack))


def _segment(scene: Scene, selector: int, present: Segment) -> Segment | None:
    """What a pushed selector stands for."""
    selector &= 0xFFFF
    if selector == present.selector:
        return present
    if scene.real:
        return present._replace(selector=selector, base=selector << 4)
    segment, _ = evidence.read_descriptor(scene, selector)
    return None if segment is None or not segment.s else segment


def _events(
    moment: Scene, scene: Scene, vector: int, code: int | None, has_code: bool
) -> Iterator[tuple[Scene, Event]]:
    """The kinds of events of this vector that push this much, with the registers each had."""
    if code is None:
        yield from _software(moment, vector)
        if vector >= 32:
            yield moment, Event(vector, EventKind.EXTERNAL)
        if vector == Vector.NMI:
            yield moment, Event(vector, EventKind.NMI)
    if vector < 32 and vector != Vector.NMI and (code is not None) == has_code:
        cr2 = scene.sregs.cr2 if vector == Vector.PF else None
        kind = EventKind.TRAP if vector in (Vector.DB, Vector.BP, Vector.OF) else EventKind.FAULT
        yield moment, Event(vector, kind, code, cr2)


def _software(moment: Scene, vector: int) -> Iterator[tuple[Scene, Event]]:
    """INT n, INT3 or INTO, if the bytes before the pushed address say so."""
    pc, rip = linear_pc(moment.regs.rip, moment.sregs), moment.regs.rip
    raw, _ = moment.load(pc - 2, 2)
    if raw == bytes((_INT, vector)):
        kind, size = EventKind.SOFTWARE, 2
    elif raw and raw[1:] == _SHORT.get(vector):
        kind, size = EventKind.SOFTWARE_EXCEPTION, 1
    else:
        return
    start = rip - size & MASK64
    event = Event(vector, kind, instruction_rip=start)
    yield moment._replace(regs=moment.regs._replace(rip=start)), event


def _arrives(before: Scene, event: Event, here: Scene) -> bool:
    """Whether this event leads to the present place, stack and frame."""
    regs = pushing(before, event, before.code(linear_pc(before.regs.rip, before.sregs)))
    outcome = deliver(event, regs, before.sregs, before.read)
    if not isinstance(outcome, Delivered) or len(outcome.trail) > 1:
        return False
    same = outcome.regs.rip == here.regs.rip and outcome.regs.rsp == here.regs.rsp
    same &= outcome.sregs.cs.selector == here.sregs.cs.selector
    return same and all(here.read(at, len(raw)) == raw for at, raw in outcome.writes)
